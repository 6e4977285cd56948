"""What nbgrader's formgrader shows in addition: the rubric beside each written answer.

The settings that `vaelab build --nbgrader` writes name this module. They also let formgrader load
MathJax from its own server, by the template in `formgrader_paths`.
"""

from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from autograder.course.locate import CourseError
from autograder.marking.answers import Question, questions


class ShowRubrics(Preprocessor):
    """Adds the rubric and the model answer below each written answer, on formgrader's page only.

    Students' feedback has no rubric: nbgrader makes it with the same settings, but not with the
    resources of formgrader's page.
    """

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Return the notebook with the rubrics, and the resources."""
        if "submission_id" not in resources:
            return nb, resources
        try:
            asked = {one.task: one for one in questions(resources["assignment_id"])}
        except CourseError:  # an assignment that is not of this course
            return nb, resources
        cells = []
        for cell in nb.cells:
            cells.append(cell)
            question = asked.get(cell.metadata.get("nbgrader", {}).get("grade_id", ""))
            if question:
                cells.append(new_markdown_cell(_shown(question)))
        nb.cells = cells
        return nb, resources


def _shown(question: Question) -> str:
    parts = ["**Rubric (students do not see it)**", question.rubric]
    if question.model_answer:
        parts += ["**A model answer**", question.model_answer]
    return "\n\n".join(parts)
