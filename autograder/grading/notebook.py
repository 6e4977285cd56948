"""Opens an untrusted notebook: caps its size, reads its JSON, and picks the cells to run.

Nothing in the file is believed except the text of the student's own cells. Given cells come from
the course's source; checks and figures of the submission are never run.
"""

import errno
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.course.regions import left_to_do
from autograder.course.sources import Source, load_source
from autograder.records.text import shown

MAX_BYTES = 20 << 20
MAX_CELLS = 2000
# In characters; what crosses to the worker as JSON may take six bytes for each.
MAX_SOURCE = 150_000
NBFORMAT = 4
KINDS = ("code", "markdown", "raw")
EXTRA_CELL_SECONDS = 5.0


class UnreadableError(Exception):
    """The file is not a notebook; the message says how."""


@dataclass(frozen=True)
class ToRun:
    """A cell for the worker.

    Attributes:
        name: The cell's id, or "your cell 7" for one that the student added.
        source: Its text.
        seconds: A limit for a cell that nobody asked for; None for the others.
    """

    name: str
    source: str
    seconds: float | None = None


@dataclass(frozen=True)
class Opened:
    """A submission's notebook, ready to judge.

    Attributes:
        cells: What to run, in order: given cells from the source, the student's between them.
        notes: What was found different from the starter.
        answers: The text of each written answer, by id; None if it is untouched or gone.
    """

    cells: tuple[ToRun, ...]
    notes: tuple[str, ...]
    answers: dict[str, str | None]


def open_notebook(path: Path, assignment: str) -> Opened:
    """Read a submission.

    Raises:
        UnreadableError: If the file is no regular file, too large, or not a notebook.
        FileNotFoundError: If there is none.
    """
    return parse_notebook(read_bytes(path), assignment)


def parse_notebook(raw: bytes, assignment: str) -> Opened:
    """Read a submission from its bytes.

    Raises:
        UnreadableError: If they are no notebook.
    """
    body = _parse(raw)
    cells = list(_cells(body))
    source = load_source(assignment)
    notes = [*_about_the_file(body), *_differences(cells, source)]
    to_run = []
    for cell in _to_run(cells, source):
        if len(cell.source) <= MAX_SOURCE:
            to_run.append(cell)
        else:
            notes.append(f"`{cell.name}` has over {MAX_SOURCE:,} characters and was not run.")
        notes += _about_magic(cell)
    return Opened(tuple(to_run), tuple(notes), _answers(cells, source))


def _to_run(cells: list[tuple[str, str, str]], source: Source) -> Iterator[ToRun]:
    """Yield the student's cells where they stand, the given ones from the source between them.

    A given cell that follows a solution in the source waits for the last copy of it, and for its
    own place in the notebook; the others come first, whatever the notebook looks like.
    """
    places = {name: number for number, (_, name, _) in enumerate(cells, 1)}
    waiting: list[tuple[int, ToRun]] = []
    place, solutions = 0, set()
    for cell in source.of("setup", "solution"):
        if cell.role == "solution":
            solutions.add(cell.id)
        elif solutions:
            place = max(place, *(places.get(name, 0) for name in (cell.id, *solutions)))
            waiting.append((place, ToRun(cell.id, cell.source)))
        else:
            waiting.append((0, ToRun(cell.id, cell.source)))
    known = {cell.id for cell in source.cells if cell.role != "text"}
    for number, (kind, name, text) in enumerate([("", "", ""), *cells]):
        if name in solutions:
            yield ToRun(name, text)
        elif kind == "code" and name not in known and text.strip():
            yield ToRun(f"your cell {number}", text, EXTRA_CELL_SECONDS)
        yield from (given for place, given in waiting if place == number)


def read_bytes(path: Path) -> bytes:
    """Read a file's bytes, if it is a regular file and not too large; no link is followed.

    Raises:
        UnreadableError: If it isn't.
        FileNotFoundError: If there is none.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        link = error.errno in (errno.ELOOP, errno.EMLINK)
        why = "a link to another file" if link else f"not to be opened ({error.strerror})"
        raise UnreadableError(f"The file is {why}.") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("It is no regular file.")
        if status.st_size > MAX_BYTES:
            size, cap = status.st_size >> 20, MAX_BYTES >> 20
            raise UnreadableError(
                f"The file has {size} MiB; at most {cap} MiB are read. Clear its outputs and save."
            )
        return file.read(MAX_BYTES)


def _parse(raw: bytes) -> Any:
    if not raw.strip():
        raise UnreadableError("The file is empty.")
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except RecursionError as error:
        raise UnreadableError("The file is nested too deeply to be a notebook.") from error
    except ValueError as error:
        raise UnreadableError(f"The file is not JSON: {str(error)[:200]}.") from error


def _about_the_file(body: dict[str, Any]) -> Iterator[str]:
    """Say what is odd about the notebook as a whole: its format, its language."""
    version = body.get("nbformat")
    if version != NBFORMAT:
        said = version if isinstance(version, int | float) and abs(version) < 1e6 else "no number"
        yield f"The notebook calls its format {said}; it was read as format {NBFORMAT}."
    metadata = body.get("metadata")
    for key, name in (("kernelspec", "language"), ("language_info", "name")):
        part = metadata.get(key) if isinstance(metadata, dict) else None
        language = part.get(name) if isinstance(part, dict) else None
        if isinstance(language, str) and language.lower() not in ("python", "python3", "ipython"):
            yield f"The notebook calls its language {shown(language, 40)}; it was run as Python."
            return


def _about_magic(cell: ToRun) -> Iterator[str]:
    """Say what of a cell is for a shell or for IPython, and so is left out."""
    if cell.source.lstrip().startswith("%%"):
        yield f"`{cell.name}` begins with `%%`, which is no Python: it was left out."
    elif any(line.lstrip().startswith("!") for line in cell.source.splitlines()):
        yield f"In `{cell.name}`, lines that begin with `!` were left out: there is no shell here."


def _cells(body: Any) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, id, text) of each cell; the id is "" where there is none."""
    if isinstance(body, dict) and isinstance(body.get("worksheets"), list):
        raise UnreadableError(
            "The file is a notebook of format 3, from before 2015: open it in JupyterLab, save "
            "it, and hand it in again."
        )
    if not isinstance(body, dict) or not isinstance(body.get("cells"), list):
        raise UnreadableError("The file is JSON, but it has no list of cells: is it a notebook?")
    if len(body["cells"]) > MAX_CELLS:
        raise UnreadableError(f"The notebook has more than {MAX_CELLS} cells.")
    for cell in body["cells"]:
        if not isinstance(cell, dict):
            raise UnreadableError("One of the notebook's cells is no cell.")
        text = cell.get("source", "")
        if isinstance(text, list) and all(isinstance(line, str) for line in text):
            text = "".join(text)
        if not isinstance(text, str):
            raise UnreadableError("One of the notebook's cells has no text.")
        metadata = cell.get("metadata")
        marks = metadata.get("nbgrader") if isinstance(metadata, dict) else None
        name = marks.get("grade_id") if isinstance(marks, dict) else None
        kind = cell.get("cell_type")
        yield (kind if kind in KINDS else "code"), name if isinstance(name, str) else "", text


def _differences(cells: list[tuple[str, str, str]], source: Source) -> Iterator[str]:
    """Say what is missing, doubled or changed, and what was done about it."""
    found = [name for _, name, _ in cells]
    kinds = {name: kind for kind, name, _ in cells}
    texts = {name: text for _, name, text in cells}
    judged = "It was judged from the course's own copy."
    for cell in source.cells:
        if cell.role == "text":
            continue
        count = found.count(cell.id)
        what = f"The {'test' if cell.role == 'test' else 'given'} cell `{cell.id}`"
        if cell.role in ("solution", "answer"):
            what = f"Your cell `{cell.id}`"
        if count == 0 and cell.role in ("setup", "test"):
            yield f"{what} is missing. {judged}"
        elif count == 0 and cell.role in ("solution", "answer"):
            yield f"{what} is missing."
        elif count > 1:
            yield f"{what} is there {count} times." + (
                " All of them were run, in order." if cell.role == "solution" else f" {judged}"
            )
        elif cell.role == "solution" and kinds[cell.id] != "code":
            yield f"{what} is a {kinds[cell.id]} cell. It was run as code."
        elif cell.role in ("setup", "test") and texts[cell.id].strip() != cell.source.strip():
            yield f"{what} was changed. {judged}"
    known = {cell.id for cell in source.cells if cell.role != "text"}
    own = sum(
        kind == "code" and name not in known and bool(text.strip()) for kind, name, text in cells
    )
    if own:
        yield f"You added {own} code cell{'s' * (own > 1)} of your own: run, but given no points."


def _answers(cells: list[tuple[str, str, str]], source: Source) -> dict[str, str | None]:
    texts = {name: text.strip() for _, name, text in cells}
    untouched = {cell.id: left_to_do(cell).strip() for cell in source.of("answer")}
    return {
        name: texts[name] if texts.get(name) not in (None, "", start) else None
        for name, start in untouched.items()
    }
