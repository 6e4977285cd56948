"""Reads the questions of an assignment and the students' written answers to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.build.notebooks import reference
from autograder.course.sources import load_source
from autograder.grading.batch import Entry
from autograder.grading.notebook import UnreadableError, open_notebook
from autograder.records.results import answer_digest

MODEL_ANSWER = "**A model answer.**"
RUBRIC = "**Rubric**"


@dataclass(frozen=True)
class Question:
    """A question that a person marks.

    Attributes:
        task: The task's id.
        title: A short title.
        points: The largest number of points.
        text: The question, in Markdown.
        rubric: What earns how many points, in Markdown.
        model_answer: An answer that earns all points, in Markdown; "" if the source has none.
    """

    task: str
    title: str
    points: float
    text: str
    rubric: str
    model_answer: str


@dataclass(frozen=True)
class Answer:
    """A student's answer to one question.

    Attributes:
        student: The student's name.
        task: The question's task id.
        text: The answer; "" if there is none.
        problem: Why the notebook could not be read; "" if it could.
    """

    student: str
    task: str
    text: str
    problem: str = ""

    @property
    def digest(self) -> str:
        """A digest of the text: it tells whether an answer has changed since it was marked."""
        return answer_digest(self.text)


def questions(assignment: str) -> list[Question]:
    """Return the questions of an assignment, in order, with the course's values in their texts."""
    cells = load_source(assignment).cells
    texts = [cell.source for cell in reference(assignment).cells]
    found = []
    for number, cell in enumerate(cells):
        if cell.role == "answer":
            first = number
            while first and (cells[first - 1].role, cells[first - 1].kind) == ("text", "markdown"):
                first -= 1
            asked = "\n\n".join(texts[first:number]).strip()
            rubric, _, model_answer = texts[number].partition(MODEL_ANSWER)
            rubric = rubric.strip().removeprefix(RUBRIC).strip()
            found.append(
                Question(cell.id, cell.title, cell.points, asked, rubric, model_answer.strip())
            )
    return found


def answers(entries: Sequence[Entry], assignment: str) -> dict[tuple[str, str], Answer]:
    """Read the written answers of all submissions.

    Returns:
        The answers by student and task. A student without a readable notebook has empty answers,
        each with the reason.
    """
    found = {}
    tasks = [question.task for question in questions(assignment)]
    for entry in entries:
        texts, problem = _texts(entry.path, assignment)
        for task in tasks:
            found[entry.student, task] = Answer(entry.student, task, texts.get(task) or "", problem)
    return found


def _texts(path: Path, assignment: str) -> tuple[dict[str, str | None], str]:
    try:
        return open_notebook(path, assignment).answers, ""
    except FileNotFoundError:
        return {}, f"There is no file {path.name}."
    except (UnreadableError, OSError) as error:
        return {}, str(error)
