"""Makes the notebook that nbgrader keeps of a graded submission, for formgrader and feedback."""

import re
from collections.abc import Iterator
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.build.notebooks import starter
from autograder.grading.notebook import grade_id, read_json
from autograder.records.causes import shown_messages
from autograder.records.results import Result
from autograder.records.text import SIGNS, printable

# Of the outputs of a student's cell, only texts and images are kept: HTML could run scripts in the
# browser of who grades.
IMAGES = ("image/png", "image/jpeg")
MAX_TEXT = 10_000
ATTACHED = re.compile(r"attachment:([^)\s\"']+)")


def autograded(raw: bytes, result: Result) -> NotebookNode:
    """Return a submission as nbgrader's autograder would leave it.

    Test and given cells have the course's text, whatever the student made of them. Missing cells
    are added at the end. The output of each test cell lists the checks.

    Args:
        raw: The submission's bytes. If they are not a notebook, all cells are those of the starter.
        result: Its result.
    """
    notebook = starter(result.assignment)
    known = {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if _marked(cell)}
    used, cells = set[str](), []
    for number, cell in enumerate(_cells(raw)):
        name = grade_id(cell)
        if name in known and name not in used:
            used.add(name)
            made = known[name]
            if made.metadata.nbgrader.solution:
                made.source = printable(_text(cell), keep="\n\t")
        else:
            make = nbformat.v4.new_markdown_cell
            if cell.get("cell_type") == "code":
                make = nbformat.v4.new_code_cell
            made = make(printable(_text(cell), keep="\n\t"))
            made.id = f"own-{number}"
        if made.cell_type == "code":
            made.outputs = list(_outputs(cell))
        else:
            _attach(made, cell.get("attachments"))
        cells.append(made)
    cells += [cell for name, cell in known.items() if name not in used]
    for cell in cells:
        if _marked(cell) and cell.metadata.nbgrader.grade and cell.cell_type == "code":
            text = check_lines(result, cell.metadata.nbgrader.grade_id)
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
    notebook.cells = cells
    nbformat.validate(notebook)
    return notebook


def check_lines(result: Result, task: str) -> str:
    """Return the checks of a task as text: one line for each, and its message below it."""
    messages = shown_messages(result.checks)
    lines = []
    for check, message in zip(result.checks, messages, strict=True):
        if check.task == task:
            lines.append(f"{SIGNS[check.outcome]} {check.sentence}")
            lines += [f"  {message}"] * bool(message)
    return printable("\n".join(lines), keep="\n") + "\n"


def _marked(cell: NotebookNode) -> bool:
    return "nbgrader" in cell.metadata


def _cells(raw: bytes) -> list[dict[str, Any]]:
    try:
        body = read_json(raw)
    except (ValueError, RecursionError):
        return []
    cells = body.get("cells") if isinstance(body, dict) else None
    return [cell for cell in cells if isinstance(cell, dict)] if isinstance(cells, list) else []


def _text(part: dict[str, Any], key: str = "source") -> str:
    text = part.get(key, "")
    if isinstance(text, list):
        text = "".join(line for line in text if isinstance(line, str))
    return text if isinstance(text, str) else ""


def _attach(made: NotebookNode, attachments: Any) -> None:
    """Add a cell's images; nbgrader makes no feedback if one that the text names is missing."""
    kept = {}
    for name, data in attachments.items() if isinstance(attachments, dict) else ():
        images = {k: v for k, v in _dict(data).items() if k in IMAGES and isinstance(v, str)}
        if images:
            kept[name] = images
    if kept:
        made.attachments = kept
    made.source = ATTACHED.sub(lambda m: m[0] if m[1] in kept else m[1], made.source)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _outputs(cell: dict[str, Any]) -> Iterator[NotebookNode]:
    outputs = cell.get("outputs")
    for output in outputs if isinstance(outputs, list) else ():
        if not isinstance(output, dict):
            continue
        data = _dict(output.get("data"))
        image = next((kind for kind in IMAGES if isinstance(data.get(kind), str)), "")
        text = _text(output, "text") or _text(data, "text/plain")
        if image:
            # An image without a text for screen readers gets a red border in formgrader.
            told = {image: {"alt": "A figure that the student's notebook shows"}}
            yield nbformat.v4.new_output("display_data", {image: data[image]}, metadata=told)
        elif text:
            shown = printable(text, MAX_TEXT, keep="\n\t")
            yield nbformat.v4.new_output("stream", name="stdout", text=shown)
