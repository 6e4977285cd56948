"""A step of nbgrader's autograde: gives a submission the cells without which nbgrader stops.

nbgrader's own step `OverwriteCells` raises KeyError in two cases: if the cell before a missing test
cell is missing too or is a given cell, and if a cell occurs twice.
"""

from nbformat.notebooknode import NotebookNode, from_dict
from nbgrader.api import Gradebook
from nbgrader.nbgraderformat import MetadataValidator
from nbgrader.preprocessors import NbGraderPreprocessor, OverwriteCells

NOTE = "This cell was missing from the submission. The grader added it as in the starter."


class RestoreCells(NbGraderPreprocessor):
    """Adds missing cells as in the starter, in their places; clears the marks of repeated ones.

    It must run after `DeduplicateIds` and before `OverwriteCells`.
    """

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Return the notebook with all cells of the student and all tests, and the resources."""
        known = resources["nbgrader"]
        for cell in nb.cells:
            if "nbgrader" in cell.metadata and "grade_id" not in cell.metadata.nbgrader:
                del cell.metadata["nbgrader"]  # DeduplicateIds leaves {}
        with Gradebook(known["db_url"]) as gradebook:
            source = gradebook.find_notebook(known["notebook"], known["assignment"])
            own = {cell.name for cell in source.solution_cells}
            graded = {cell.name: cell.max_score for cell in source.grade_cells}
            steps = OverwriteCells(parent=self)
            place = 0
            for cell in source.source_cells:
                places = {c.metadata.nbgrader.grade_id: n for n, c in enumerate(nb.cells) if _id(c)}
                if cell.name in places:
                    place = places[cell.name] + 1
                elif cell.name in graded:
                    known_cell = (cell, graded[cell.name], cell.name in own)
                    nb.cells.insert(place, from_dict(steps.missing_cell_transform(*known_cell)))
                    place += 1
                elif cell.name in own:
                    nb.cells.insert(place, _added(cell))
                    place += 1
        return nb, resources


def _id(cell: NotebookNode) -> bool:
    return "grade_id" in cell.metadata.get("nbgrader", {})


def _added(source: object) -> NotebookNode:
    """Return the cell of the starter that a source cell of the gradebook describes."""
    kind = source.cell_type  # type: ignore[attr-defined]
    note = f"# {NOTE}\n" if kind == "code" else f"{NOTE}\n\n"
    cell = NotebookNode(
        cell_type=kind,
        metadata=NotebookNode(
            nbgrader=NotebookNode(
                grade=False,
                solution=True,
                locked=False,
                task=False,
                grade_id=source.name,  # type: ignore[attr-defined]
                cell_type=kind,
                checksum=source.checksum,  # type: ignore[attr-defined]
                schema_version=3,
            )
        ),
        source=note + source.source,  # type: ignore[attr-defined]
    )
    if kind == "code":
        cell.update(execution_count=None, outputs=[])
    return MetadataValidator().upgrade_cell_metadata(cell)
