"""What a marker sees: the answers to each question in an order of its own, without names."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autograder.marking.answers import Answer, Question


@dataclass(frozen=True)
class Mark:
    """The points that a person gave.

    Attributes:
        points: From 0 to the question's points.
        comment: A text for the student.
        author: Who gave them.
        time: When, in UTC, as in `2026-11-30T09:00:00Z`.
        answer: The digest of the marked answer; "" if it is not known.
    """

    points: float
    comment: str
    author: str
    time: str
    answer: str = ""


@dataclass(frozen=True)
class Desk:
    """The answers of a class, ready for marking.

    Attributes:
        assignment: The assignment's name.
        questions: Its questions, in order.
        answers: The answers, by student and task.
        order: The students, for each task in an order of its own: the order of one question must
            not tell whose answer another one is.
        marks: Returns all marks, by student and task.
        save: Keeps the points and the comment for an answer.
    """

    assignment: str
    questions: tuple[Question, ...]
    answers: Mapping[tuple[str, str], Answer]
    order: Mapping[str, tuple[str, ...]]
    marks: Callable[[], Mapping[tuple[str, str], Mark]]
    save: Callable[[Answer, float, str], None]

    def question(self, task: str) -> Question | None:
        """Return the question of a task; None if there is none."""
        return next((one for one in self.questions if one.task == task), None)

    def answer(self, task: str, number: int) -> Answer | None:
        """Return the answer with this number, counted from 1; None if there is none."""
        students = self.order.get(task, ())
        return self.answers[students[number - 1], task] if 1 <= number <= len(students) else None

    def marked(self, task: str) -> int:
        """Return how many answers of a task are marked, and not open."""
        marks = self.marks()
        of_task = [self.answers[student, task] for student in self.order[task]]
        return sum(bool(one.text) and not is_open(one, marks) for one in of_task)

    def next_open(self, task: str, number: int) -> int | None:
        """Return the number of the next open answer, after `number` and then from 1."""
        marks = self.marks()
        students = self.order[task]
        for step in range(1, len(students) + 1):
            place = (number + step - 1) % len(students)
            if is_open(self.answers[students[place], task], marks):
                return place + 1
        return None


def is_open(answer: Answer, marks: Mapping[tuple[str, str], Mark]) -> bool:
    """Return whether there is an answer that has no mark, or has changed since it got one."""
    if not answer.text:
        return False
    mark = marks.get((answer.student, answer.task))
    return mark is None or has_changed(answer, mark)


def has_changed(answer: Answer, mark: Mark) -> bool:
    """Return whether the answer is not the one that was marked."""
    return bool(mark.answer) and mark.answer != answer.digest


def shuffled(students: Sequence[str], task: str, secret: bytes) -> tuple[str, ...]:
    """Return the students in an order that the secret and the task determine."""

    def key(student: str) -> bytes:
        name = f"{task}\0{student}".encode("utf-8", "surrogatepass")
        return hmac.digest(secret, b"order of marking\0" + name, "sha256")

    return tuple(sorted(students, key=key))


def parsed_points(text: str, most: float) -> float:
    """Return the points that a person typed.

    Raises:
        ValueError: If the text is not a number from 0 to `most`; the message says so.
    """
    try:
        points = float(text.strip().replace(",", "."))
    except ValueError:
        raise ValueError(f"“{text[:20]}” is not a number. Give 0 to {most:g} points.") from None
    if not 0 <= points <= most:
        raise ValueError(f"{points:g} is not possible. Give 0 to {most:g} points.")
    return points
