"""Packs the feedback as learning platforms take it back: one ZIP archive for the class.

Moodle finds the student by the name of the folder, Canvas by the name of the file. Both must be
those of the download, which the table of `vaelab collect` has.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import nbformat

from autograder.build.notebooks import to_text
from autograder.collecting.arrivals import ZIP
from autograder.collecting.collected import HandedIn
from autograder.collecting.owners import CANVAS, MOODLE
from autograder.course.sources import load_source
from autograder.records.causes import grouped
from autograder.records.results import STATUSES, Result
from autograder.records.text import SIGNS, file_name, marked, printable, sentence
from autograder.reports.pages import feedback_page, late_line

PAGE = "feedback.html"
NOTEBOOK = ".ipynb"
# A fixed time: the same results give the same archive.
DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Packed:
    """The archive.

    Attributes:
        content: Its bytes.
        files: The names of the files, sorted.
        left_out: The students without a file: the platform has nothing to attach feedback to.
    """

    content: bytes
    files: tuple[str, ...]
    left_out: tuple[str, ...]


def pack_feedback(results: Sequence[Result], collected: Mapping[str, HandedIn]) -> Packed:
    """Pack the feedback of a class.

    Args:
        results: The results.
        collected: How each student handed in. Without it, each student gets a folder with the name
            of the submission's folder.
    """
    platform = any(_place(one.file) for one in collected.values())
    files, left_out = {}, []
    for result in results:
        handed_in = collected.get(result.student)
        place = _place(handed_in.file) if handed_in else ""
        if platform and not place:
            left_out.append(result.student)
            continue
        name = place or f"{file_name(result.student)}/{PAGE}"
        files[name] = _content(name, result, handed_in.sentence if handed_in else "")
    return Packed(_zipped(files), tuple(sorted(files)), tuple(left_out))


def _place(path: str) -> str:
    """Return the name that a platform expects for a file of the download; "" if it is none's."""
    for part in PurePosixPath(path).parts:
        if found := MOODLE.fullmatch(part):
            # Moodle splits the name at each underscore; only the number must be right.
            return f"{found['name'].replace('_', ' ')}_{found['id']}_assignsubmission_file_/{PAGE}"
        if CANVAS.fullmatch(part):
            return part
    return ""


def _content(name: str, result: Result, handed_in: str) -> bytes:
    """Return the feedback in the format that the file's name says.

    Canvas shows an uploaded file under the name of the student's file. So a notebook's feedback is
    a notebook too.
    """
    if name.lower().endswith(NOTEBOOK):
        return feedback_notebook(result, handed_in).encode("utf-8", "backslashreplace")
    page = feedback_page(result, handed_in).encode("utf-8", "backslashreplace")
    return _zipped({PAGE: page}) if name.lower().endswith(ZIP) else page


def _zipped(files: Mapping[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(
                zipfile.ZipInfo(name, DATE), files[name], compress_type=zipfile.ZIP_DEFLATED
            )
    return memory.getvalue()


def feedback_notebook(result: Result, handed_in: str = "") -> str:
    """Return a student's feedback as a notebook with one cell."""
    lines = [f"<h1>{_html(load_source(result.assignment).title)}</h1>"]
    lines.append(f"<p><b>{result.score:g} of {result.max_score:g} points</b></p>")
    told = (late_line(result), handed_in, *result.notes)
    lines += [f"<p>{_html(text)}</p>" for text in told if text]
    if result.status != "graded":
        lines.append(f"<p>{_html(sentence(result.message or STATUSES[result.status]))}</p>")
    for task, groups in grouped(result).items():
        score = next(one for one in result.tasks if one.task == task)
        got = "not graded yet" if score.pending or score.not_graded else f"{score.points:g}"
        lines.append(f"<h3>{_html(score.title)}: {got} of {score.max_points:g}</h3><ul>")
        for group in groups if result.status == "graded" else ():
            message = f"The same cause as in “{group.known_from}”."
            message = message if group.known_from else group.message
            lines += [f"<li>{SIGNS[c.outcome]} {_html(c.sentence)}</li>" for c in group.checks]
            lines += [f"<p>{_html(message)}</p>"] * bool(message)
        lines.append("</ul>")
        reasons = [one.reason for one in result.overrides if one.task == task and one.tell]
        lines += [f"<p>{_html(reason)}</p>" for reason in reasons if reason]
    notebook = nbformat.v4.new_notebook()
    # Without an empty line, Markdown takes all of it as HTML.
    notebook.cells = [nbformat.v4.new_markdown_cell("<div>\n" + "\n".join(lines) + "\n</div>")]
    notebook.cells[0].id = "feedback"
    return to_text(notebook)


def _html(text: str) -> str:
    return marked(printable(" ".join(text.split())))
