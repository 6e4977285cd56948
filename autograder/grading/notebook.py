"""Opens an untrusted notebook: limits its size, reads its JSON, and selects the cells to run.

Only the text of the student's own cells is used. Given cells are taken from the course's source.
Test cells and figure cells of the submission are never run.
"""

import errno
import gc
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autograder.course.additions import added_modules
from autograder.course.regions import without_solution
from autograder.course.sources import KIT_CELL, Source, assignments, load_source
from autograder.grading.files import IrregularError, open_regular
from autograder.grading.helpers import defining, read_helpers, written_file
from autograder.records.text import printable
from autograder.worker.additions import added
from autograder.worker.magics import skipped_magic

# Outputs count too, though they are not used: they are part of the file's JSON.
MAX_BYTES = 64 << 20
MAX_CELLS = 2000
# In characters. In the JSON that is sent to the worker, one character takes up to six bytes.
MAX_SOURCE = 150_000
# Bytes of all cells together, compressed: several thousand lines of code, but fewer than 1,000
# images. The cells run where a trained model is confirmed, so images in them could be looked up.
MAX_CONTENT = 64 << 10
MAX_NOTES = 60
NBFORMAT = 4
KINDS = ("code", "markdown", "raw")
# CPU seconds of a cell that the student added, and of the student's own cells. A limit on a cell
# ends the cell only; both are below the limit of one call, which ends the submission.
EXTRA_CELL_SECONDS = 5.0
CELL_SECONDS = 20.0


class UnreadableError(Exception):
    """The file is not a readable notebook; the message gives the reason."""


@dataclass(frozen=True)
class ToRun:
    """A cell that the worker runs.

    Attributes:
        name: The cell's id, or "your cell 7" for a cell that the student added.
        source: The cell's text.
        seconds: The limit of the student's cells, in CPU seconds; None for given cells.
        own: Whether the student added it: the submission may be right without it.
        given: The text of the given cell that `source` is a changed copy of. Only the student's
            additions are run. None for the other cells.
        module: The name of the module that `source` is the text of; "" for a cell.
    """

    name: str
    source: str
    seconds: float | None = None
    own: bool = False
    given: str | None = None
    module: str = ""

    @property
    def is_added(self) -> bool:
        """Whether it is a module that the course adds; see `course.additions`."""
        return bool(self.module) and not self.own


@dataclass(frozen=True)
class Opened:
    """A submission's notebook, ready for grading.

    Attributes:
        cells: The cells to run, in order: given cells from the source and the student's cells.
        notes: The differences from the starter.
        answers: The text of each written answer, by id; None if it is unchanged or missing.
        look: Those of the notes that can be the reason for lost points.
        modules: The names of the modules that it defines itself.
    """

    cells: tuple[ToRun, ...]
    notes: tuple[str, ...]
    answers: dict[str, str | None]
    look: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    def without(self, name: str, why: str) -> "Opened":
        """Return it without a cell, with a note that says why."""
        cells = tuple(cell for cell in self.cells if cell.name != name)
        return replace(self, cells=cells, notes=(*self.notes, why), look=(*self.look, why))


def open_notebook(path: Path, assignment: str) -> Opened:
    """Read a submission from its file and from the Python files beside it.

    Raises:
        UnreadableError: If the file is not a regular file, is too large, or is not a notebook.
        FileNotFoundError: If the file does not exist.
    """
    raw = read_bytes(path)
    return parse_notebook(raw, assignment, helpers_of(path, raw))


def helpers_of(path: Path, raw: bytes) -> dict[str, str]:
    """Return the texts of the Python files that a notebook uses; see `helpers.read_helpers`."""
    return read_helpers(path, raw, MAX_SOURCE, added_modules())


def parse_notebook(
    raw: bytes,
    assignment: str,
    helpers: Mapping[str, str] = MappingProxyType({}),
    *,
    runs: bool = False,
) -> Opened:
    """Read a submission from its bytes.

    Args:
        raw: The notebook's bytes.
        assignment: The assignment's name.
        helpers: The texts of the Python files that it uses, by the names of their modules.
        runs: Whether to run the given `run` cells too, such as the training. The judge does not.

    Raises:
        UnreadableError: If the bytes are not a notebook.
    """
    body = _parse(raw)
    cells = list(_cells(body))
    source = load_source(assignment)
    _expect_assignment(body, assignment)
    notes, look, to_run = list(_about_the_file(body)), list(_missing(cells, source)), []
    content = _Content()
    for cell in (*_modules(helpers), *_to_run(cells, source, runs)):
        if len(cell.source) > MAX_SOURCE:
            look.append(f"`{cell.name}` has over {MAX_SOURCE:,} characters and was not run.")
        elif cell.seconds is None or content.takes(cell.source):
            to_run.append(cell)
        else:
            look.append(
                f"The cells contain more than {MAX_CONTENT >> 10} KiB of text, counted compressed. "
                f"So `{cell.name}` was not run. Data do not belong in cells."
            )
        look += _about_magic(cell)
    own = [name for name in helpers if name not in added_modules()]
    notes += [f"`{name}.py` beside your notebook was run." for name in own]
    every = _shortened([*notes, *_differences(cells, source), *look])
    modules = (*helpers, *(made[0] for _, _, text in cells if (made := written_file(text))))
    return Opened(tuple(to_run), every, _answers(cells, source), _shortened(look), modules)


def _shortened(notes: list[str]) -> tuple[str, ...]:
    more = len(notes) - MAX_NOTES
    return (*notes[:MAX_NOTES], *([f"There are {more} more notes."] if more > 0 else []))


class _Content:
    """Measures the text of all cells together, compressed: code is small, images are large."""

    def __init__(self) -> None:
        self.size = 0
        self._compressor = zlib.compressobj()

    def takes(self, text: str) -> bool:
        """Add a text; return whether all together is within the limit."""
        raw = text.encode("utf-8", "surrogatepass")
        self.size += len(self._compressor.compress(raw))
        self.size += len(self._compressor.flush(zlib.Z_SYNC_FLUSH))
        return self.size <= MAX_CONTENT


def _modules(helpers: Mapping[str, str]) -> Iterator[ToRun]:
    """Yield a cell for each Python file that the notebook uses: the course's have no limits."""
    given = added_modules()
    for name, text in helpers.items():
        own = name not in given
        seconds = EXTRA_CELL_SECONDS if own else None
        yield ToRun(f"{name}.py", text, seconds, own=own, module=name)


def _to_run(cells: list[tuple[str, str, str]], source: Source, runs: bool) -> Iterator[ToRun]:
    """Yield the student's cells in the notebook's order, and the given cells between them.

    Given cells that precede all solutions in the source come first. Any other given cell comes
    after the last copy of each solution that precedes it in the source, and not before its own
    place in the notebook. What the student added to a given cell comes after it.
    """
    places = {name: number for number, (_, name, _) in enumerate(cells, 1)}
    texts = {name: text for kind, name, text in cells if kind == "code"}
    waiting: list[tuple[int, ToRun]] = []
    place, solutions = 0, set()
    for cell in source.of("setup", "solution"):
        if cell.role == "solution":
            solutions.add(cell.id)
            continue
        if solutions:
            place = max(place, *(places.get(name, 0) for name in (cell.id, *solutions)))
        waiting.append((place, ToRun(cell.id, cell.source)))
        if texts.get(cell.id, "").strip() and _is_changed(texts[cell.id], cell.source):
            name, text = f"your lines in {cell.id}", texts[cell.id]
            own = ToRun(name, text, EXTRA_CELL_SECONDS, own=True, given=cell.source)
            waiting.append((place, own))
    known = known_ids(source)
    given_runs = {cell.id: cell.source for cell in source.of("run")} if runs else {}
    for number, (kind, name, text) in enumerate([("", "", ""), *cells]):
        if name in solutions:
            yield ToRun(name, text, CELL_SECONDS)
        elif name in given_runs:
            yield ToRun(name, given_runs[name])
        elif kind == "code" and name not in known and text.strip():
            module, text = written_file(text) or ("", text)
            yield ToRun(f"your cell {number}", text, EXTRA_CELL_SECONDS, own=True, module=module)
        yield from (given for place, given in waiting if place == number)


def known_ids(source: Source) -> set[str]:
    """Return the ids of the cells that no student wrote; the kit adds a cell to the source's."""
    return {cell.id for cell in source.cells if cell.role != "text"} | {KIT_CELL}


def _is_changed(text: str, given: str) -> bool:
    return text.strip() != given.strip()


def as_run(cell: ToRun) -> ToRun:
    """Return a cell with the text that was run, as one that is no changed copy and no module.

    This parses the student's text: do it in a process that may fail.
    """
    if cell.module:
        return replace(cell, source=defining(cell.module, cell.source), module="")
    if cell.given is None:
        return cell
    try:
        text = added(cell.source, cell.given)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        text = ""
    return replace(cell, source=text, given=None)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a regular file that is not too large. Links are not followed.

    Raises:
        UnreadableError: If the file is a link, not a regular file, or larger than `MAX_BYTES`.
        FileNotFoundError: If the file does not exist.
    """
    try:
        opened = open_regular(path)
    except FileNotFoundError:
        raise
    except IrregularError as error:
        raise UnreadableError("The path is no regular file.") from error
    except OSError as error:
        link = error.errno in (errno.ELOOP, errno.EMLINK)
        why = "a link to another file" if link else f"not to be opened ({error.strerror})"
        raise UnreadableError(f"The file is {why}.") from error
    with opened as file:
        bytes_there = os.fstat(file.fileno()).st_size
        if bytes_there > MAX_BYTES:
            size, cap = bytes_there >> 20, MAX_BYTES >> 20
            raise UnreadableError(
                f"The file has {size} MiB; at most {cap} MiB are read. Clear the outputs of "
                "all cells, save the notebook, and hand it in again."
            )
        return file.read(MAX_BYTES)


def _parse(raw: bytes) -> Any:
    if not raw.strip():
        raise UnreadableError("The file is empty.")
    gc.disable()  # JSON has no cycles, and millions of lists make each collection slow
    try:
        return read_json(raw)
    except RecursionError as error:
        raise UnreadableError("The file's JSON is nested too deeply for a notebook.") from error
    except ValueError as error:
        raise UnreadableError(
            _what_it_is(raw) or f"The file is not JSON: {str(error)[:200]}."
        ) from error
    finally:
        gc.enable()


# How files begin that are handed in in the place of a notebook, and what they are.
BEGINNINGS = (
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"%pdf", "a PDF file"),
    (b"pk\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a compressed file"),
    (b"rar!", "an archive"),
    (b"7z", "an archive"),
)
CONFLICT = b"<<<<<<< "


def _what_it_is(raw: bytes) -> str:
    """Return a sentence about a file that is no notebook; "" if its kind is unknown."""
    start = raw[:100].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    kind = next((kind for begins, kind in BEGINNINGS if start.startswith(begins)), "")
    if kind:
        return f"The file is {kind}, not a notebook, and so it is not JSON. Hand in the notebook."
    if any(line.startswith(CONFLICT) for line in raw.splitlines()):
        return (
            "The file is not JSON: it contains the marks of a merge conflict, `<<<<<<<`. Resolve "
            "the conflict, open the notebook in JupyterLab, save it, and hand it in again."
        )
    return ""


def read_json(raw: bytes) -> Any:
    """Return the JSON of a notebook's bytes, in any encoding of Unicode.

    Raises:
        ValueError: If the bytes are not JSON.
        RecursionError: If the JSON is nested too deeply.
    """
    encoding = json.detect_encoding(raw).replace("utf-8-sig", "utf-8")
    return json.loads(raw.decode(encoding).removeprefix("\ufeff"))


def claimed_assignment(body: Any) -> str:
    """Return the assignment of the course that a notebook's metadata name; "" if they name none."""
    marks = body.get("metadata") if isinstance(body, dict) else None
    mark = marks.get("vaelab") if isinstance(marks, dict) else None
    name = mark.get("assignment") if isinstance(mark, dict) else None
    return name if isinstance(name, str) and name in assignments() else ""


def grade_id(cell: dict[str, Any]) -> str:
    """Return the id that nbgrader's metadata give a cell; "" if it has none.

    The cell that the kit for students adds has the id `KIT_CELL`.
    """
    metadata = cell.get("metadata")
    if isinstance(metadata, dict) and metadata.get("vaelab") == {"cell": KIT_CELL}:
        return KIT_CELL
    marks = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    name = marks.get("grade_id") if isinstance(marks, dict) else None
    return name if isinstance(name, str) else ""


def _expect_assignment(body: Any, assignment: str) -> None:
    """Expect that a notebook does not say that it belongs to another assignment.

    Raises:
        UnreadableError: If it does.
    """
    name = claimed_assignment(body)
    if name not in (assignment, ""):
        raise UnreadableError(
            f"This is the notebook of another assignment, `{name}`; expected `{assignment}`. Hand "
            "in the right notebook."
        )


def _about_the_file(body: dict[str, Any]) -> Iterator[str]:
    """Yield a note if the notebook's format or language is not the expected one."""
    version = body.get("nbformat")
    if version != NBFORMAT:
        found = version if isinstance(version, int | float) and abs(version) < 1e6 else "no number"
        yield f"The notebook calls its format {found}; it was read as format {NBFORMAT}."
    metadata = body.get("metadata")
    for key, name in (("kernelspec", "language"), ("language_info", "name")):
        part = metadata.get(key) if isinstance(metadata, dict) else None
        language = part.get(name) if isinstance(part, dict) else None
        if isinstance(language, str) and language.lower() not in ("python", "python3", "ipython"):
            named = printable(language, 40)
            yield f"The notebook calls its language {named}; it was run as Python."
            return


def _about_magic(cell: ToRun) -> Iterator[str]:
    """Yield a note about lines for a shell or for IPython, which are not run."""
    if magic := skipped_magic(cell.source):
        shown = printable(magic, 40)
        yield (
            f"`{cell.name}` begins with `{shown}`, so its text is not run as Python of this "
            "notebook. The cell was skipped."
        )
    elif any(line.lstrip().startswith("!") for line in cell.source.splitlines()):
        yield f"In `{cell.name}`, lines that begin with `!` were skipped: they need a shell."


def _cells(body: Any) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, id, text) of each cell; the id is "" if the cell has none."""
    if isinstance(body, dict) and isinstance(body.get("worksheets"), list):
        raise UnreadableError(
            "The file is a notebook of format 3, which was replaced in 2015. Open it in "
            "JupyterLab, save it, and hand it in again."
        )
    if not isinstance(body, dict) or not isinstance(body.get("cells"), list):
        raise UnreadableError("The file is JSON, but it has no list of cells. Hand in a notebook.")
    if len(body["cells"]) > MAX_CELLS:
        raise UnreadableError(
            f"The notebook has {len(body['cells'])} cells; at most {MAX_CELLS} are read."
        )
    for number, cell in enumerate(body["cells"], 1):
        if not isinstance(cell, dict):
            raise UnreadableError(f"Entry {number} of the notebook's list of cells is not a cell.")
        text = cell.get("source", "")
        if isinstance(text, list) and all(isinstance(line, str) for line in text):
            text = "".join(text)
        if not isinstance(text, str):
            raise UnreadableError(f"Cell {number} of the notebook has no text.")
        kind = cell.get("cell_type")
        yield (kind if kind in KINDS else "code"), grade_id(cell), text


def _differences(cells: list[tuple[str, str, str]], source: Source) -> Iterator[str]:
    """Yield a note for each missing, repeated or changed cell, and what the judge did."""
    found = [name for _, name, _ in cells]
    kinds = {name: kind for kind, name, _ in cells}
    texts = {name: text for _, name, text in cells}
    replaced = "The grader used the course's own copy."
    for cell in source.cells:
        if cell.role == "text":
            continue
        count = found.count(cell.id)
        what = f"The {'test' if cell.role == 'test' else 'given'} cell `{cell.id}`"
        if cell.role in ("solution", "answer"):
            what = f"Your cell `{cell.id}`"
        if count == 0 and cell.role in ("setup", "test"):
            yield f"{what} is missing. {replaced}"
        elif count > 1:
            yield f"{what} is there {count} times." + (
                " All copies were run, in order." if cell.role == "solution" else f" {replaced}"
            )
        elif count and cell.role == "solution" and kinds[cell.id] != "code":
            yield f"{what} is a {kinds[cell.id]} cell. It was run as code."
        elif count and cell.role in ("setup", "test") and _is_changed(texts[cell.id], cell.source):
            runs = cell.role == "setup" and kinds[cell.id] == "code" and texts[cell.id].strip()
            more = " Lines that you added to it were run after it." if runs else ""
            yield f"{what} was changed. {replaced}{more}"
    known = known_ids(source)
    own = sum(
        kind == "code" and name not in known and bool(text.strip()) for kind, name, text in cells
    )
    if own:
        cells_added = f"{own} code cell{'s' * (own > 1)}"
        yield f"You added {cells_added}. Added cells are run, but earn no points."


def _missing(cells: list[tuple[str, str, str]], source: Source) -> Iterator[str]:
    """Yield a note for each of the student's cells that is missing."""
    found = {name for _, name, _ in cells}
    for cell in source.of("solution", "answer"):
        if cell.id not in found:
            yield f"Your cell `{cell.id}` is missing."


# What nbgrader's `generate_assignment` writes into a cell for a written answer.
NBGRADERS_TEXT = "YOUR ANSWER HERE"


def _answers(cells: list[tuple[str, str, str]], source: Source) -> dict[str, str | None]:
    """Return the written answers; of a cell that is there several times, all texts."""
    found: dict[str, str | None] = {}
    for answer in source.of("answer"):
        start = without_solution(answer).strip()
        texts = [text.strip() for _, name, text in cells if name == answer.id]
        own = dict.fromkeys(text for text in texts if text not in ("", start, NBGRADERS_TEXT))
        found[answer.id] = "\n\n".join(own) or None
    return found
