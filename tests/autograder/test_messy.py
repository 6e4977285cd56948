"""Right work in a bad package keeps its points; a file that is no right work has a clear reason.

Each form changes the reference's notebook, or what lies in the student's folder, as it happens to
real students.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from autograder.build.notebooks import reference, starter, to_text
from autograder.grading import judge
from autograder.grading.batch import _grade_one, find_submissions
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox

A = "00_reparameterization"
FILE = f"{A}/{A}.ipynb"
FIRST = "my_draw"  # the first cell with a solution
LIMITS = Limits(call_seconds=10.0)
Files = dict[str, bytes]


@dataclass(frozen=True)
class Form:
    """One form.

    Attributes:
        files: Makes the files of the student's folder from the reference.
        status: The expected status.
        says: A text that the message or a note contains.
        points: Whether all points are kept.
    """

    files: Callable[[nbformat.NotebookNode], Files]
    status: str = "graded"
    says: str = ""
    points: bool = True


def whole(change: Callable[[nbformat.NotebookNode], object], **more) -> Form:
    """Return a form that changes the notebook in place."""

    def files(notebook: nbformat.NotebookNode) -> Files:
        change(notebook)
        return {FILE: to_text(notebook).encode()}

    return Form(files, **more)


def cell(notebook: nbformat.NotebookNode, name: str = FIRST) -> nbformat.NotebookNode:
    """Return the cell with an id of nbgrader."""
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)


def above(text: str, name: str = FIRST, **more) -> Form:
    """Return a form with lines above the text of a cell."""

    def change(notebook):
        cell(notebook, name).source = f"{text}\n{cell(notebook, name).source}"

    return whole(change, **more)


def below(text: str, name: str = FIRST, **more) -> Form:
    """Return a form with lines below the text of a cell."""

    def change(notebook):
        cell(notebook, name).source += f"\n{text}\n"

    return whole(change, **more)


def own(text: str, kind: str = "code", at: str = FIRST, **more) -> Form:
    """Return a form with a cell of the student's own before another one."""

    def change(notebook):
        place = notebook.cells.index(cell(notebook, at))
        notebook.cells.insert(place, getattr(nbformat.v4, f"new_{kind}_cell")(text))

    return whole(change, **more)


def raw(change: Callable[[bytes], bytes], **more) -> Form:
    """Return a form that changes the file's bytes."""
    return Form(lambda notebook: {FILE: change(to_text(notebook).encode())}, **more)


def body(change: Callable[[dict], object], **more) -> Form:
    """Return a form that changes the file's JSON."""

    def changed(content: bytes) -> bytes:
        found = json.loads(content)
        change(found)
        return json.dumps(found).encode()

    return raw(changed, **more)


def placed(*paths: str, also: Files | None = None, **more) -> Form:
    """Return a form with the notebook at other paths of the student's folder, and other files."""
    return Form(
        lambda notebook: dict.fromkeys(paths, to_text(notebook).encode()) | (also or {}), **more
    )


def instead(content: bytes, **more) -> Form:
    """Return a form with another file in the notebook's place."""
    return Form(lambda _: {FILE: content}, status="unreadable", points=False, **more)


def solutions(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [c for c in notebook.cells if c.id.startswith("solution-")]


def in_one_cell(notebook: nbformat.NotebookNode) -> None:
    """Write all solutions into the last solution cell."""
    cells = solutions(notebook)
    cells[-1].source = "\n\n".join(c.source for c in cells)
    for one in cells[:-1]:
        one.source = ""


def without(prefix: str) -> Callable[[nbformat.NotebookNode], None]:
    def change(notebook):
        notebook.cells = [c for c in notebook.cells if not c.id.startswith(prefix)]

    return change


def twice(notebook: nbformat.NotebookNode) -> None:
    """Keep an old, wrong copy of a cell above the right one."""
    old = copy.deepcopy(cell(notebook))
    old.source = old.source.replace("return ", "return 0 * ")
    notebook.cells.insert(notebook.cells.index(cell(notebook)), old)


def reversed_cells(notebook: nbformat.NotebookNode) -> None:
    notebook.cells.reverse()


def with_outputs(notebook: nbformat.NotebookNode) -> None:
    out = nbformat.v4.new_output("stream", name="stdout", text="x" * (23 << 20))
    cell(notebook).outputs = [out]


def strip_ids(found: dict) -> None:
    found["nbformat_minor"] = 0
    for one in found["cells"]:
        one.pop("id", None)


def strip_metadata(found: dict) -> None:
    found["metadata"] = {}


def colab(found: dict) -> None:
    found["metadata"]["colab"] = {"provenance": []}
    found["metadata"]["accelerator"] = "GPU"
    for one in found["cells"]:
        one["metadata"]["id"] = "abc"


def conda(found: dict) -> None:
    found["metadata"]["kernelspec"] = {"name": "conda-env-vae-py", "display_name": "vae"}


def as_strings(found: dict) -> None:
    for one in found["cells"]:
        one["source"] = "".join(one["source"])


def windows_lines(found: dict) -> None:
    for one in found["cells"]:
        one["source"] = [line.replace("\n", "\r\n") for line in one["source"]]


def as_format_3(found: dict) -> None:
    found["worksheets"], found["nbformat"] = [{"cells": found.pop("cells")}], 3


NEEDED = """import time
end = time.process_time() + 6
while time.process_time() < end:
    pass
scale = 1.0
"""


def needs_a_long_cell(notebook: nbformat.NotebookNode) -> None:
    place = notebook.cells.index(cell(notebook))
    notebook.cells.insert(place, nbformat.v4.new_code_cell(NEEDED))
    cell(notebook).source += "\nscale = scale * 1\n"


HALF = "def half(x):\n    return x / 2\n"


def using(text: str, **modules: str) -> Form:
    """A solution that uses Python files beside the notebook."""

    def files(notebook: nbformat.NotebookNode) -> dict[str, bytes]:
        cell(notebook).source = f"{text}\n{cell(notebook).source}"
        beside = {f"{A}/{name}.py": content.encode() for name, content in modules.items()}
        return {FILE: to_text(notebook).encode(), **beside}

    return Form(files, says="beside your notebook was run")


def writes_a_file(notebook: nbformat.NotebookNode) -> None:
    place = notebook.cells.index(cell(notebook))
    notebook.cells.insert(place, nbformat.v4.new_code_cell(f"%%writefile my_helpers.py\n{HALF}"))
    cell(notebook).source = f"import my_helpers\n{cell(notebook).source}\nmy_helpers.half(2)\n"


OTHER = to_text(starter("03_fc_vae")).encode()
FORMS = {
    # Commands of IPython and of a shell.
    "time": above("%%time"),
    "capture": above("%%capture"),
    "capture and time": above("%%capture out\n%%time\n"),
    "timeit of a line": below("%timeit 1 + 1"),
    "matplotlib": above("%matplotlib inline"),
    "autoreload": above("%load_ext autoreload\n%autoreload 2"),
    "pip": above("!pip install -q torchinfo \\\n    einops"),
    "percent pip": above("%pip install einops"),
    "echo in a loop": below("for i in range(2):\n    !echo {i}"),
    "echo in a function": below("def show():\n    !ls -l\n    return 1"),
    "output of a shell": below("files = !ls\nprint(len(files))"),
    "help": below("torch.randn?"),
    "help twice": below("torch.randn??"),
    "help first": below("?torch.randn"),
    "line magic by function": above("get_ipython().run_line_magic('matplotlib', 'inline')"),
    "shell by function": above("get_ipython().system('pip install einops')"),
    "colab test": above("in_colab = 'google.colab' in str(get_ipython())"),
    "bash cell": own("%%bash\nls -l | wc"),
    "html cell": own("%%html\n<b>x</b>"),
    "javascript cell": own("%%javascript\nalert(1)"),
    "writefile cell": own("%%writefile helper.py\nx = 1"),
    "environment": above("%env CUDA_VISIBLE_DEVICES=0"),
    "change folder": above("%cd /tmp"),
    # Imports.
    "import in the given cell": below("import numpy as np\nimport math", "imports"),
    "distribution in the given cell": below("from torch.distributions import Normal", "imports"),
    "helper in the given cell": below("def half(x):\n    return x / 2", "imports"),
    "seed in the given cell": below("torch.manual_seed(1)", "imports"),
    "package that is missing": above("import torchinfo"),
    "names of a missing package": above("from torchinfo import summary"),
    "missing package in an own cell": own("import wandb\nwandb.init()", says="wandb"),
    "import that may fail": above("try:\n    import torchinfo\nexcept ImportError:\n    pass"),
    "helper file that is not there": above("import my_helpers"),
    "helper file": using("from my_helpers import half\nassert half(4) == 2", my_helpers=HALF),
    "helpers of a helper": using(
        "import first\nassert first.half(4) == 2", first="from second import half", second=HALF
    ),
    "helper file that the cell writes": whole(writes_a_file),
    "helper file that raises": using("import broken", broken="1 / 0"),
    # Cells of the student's own.
    "long cell that is needed": whole(needs_a_long_cell),
    "flood": own("while True:\n    print('x' * 100_000)", says="was skipped"),
    "exit": own("import os\nos._exit(1)", says="was skipped"),
    "sys.exit": own("import sys\nsys.exit(1)", says="SystemExit"),
    "exception": own("1 / 0", says="ZeroDivisionError"),
    "no Python": own("this is a note", says="SyntaxError"),
    "input": own("name = input('name? ')", says="raised"),
    "plot": own("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"),
    "file": own("open('notes.txt', 'w').write('x')"),
    "note": own("# Notes\nSome text", kind="markdown"),
    "raw cell": own("raw", kind="raw"),
    "empty cell": own(""),
    "helper in an own cell": whole(
        lambda n: (
            n.cells.insert(
                n.cells.index(cell(n)), nbformat.v4.new_code_cell("def same(x):\n    return x")
            ),
            cell(n).update(source=cell(n).source + "\nassert same(1) == 1\n"),
        )
    ),
    # Structure.
    "all solutions in one cell": whole(in_one_cell),
    "tests deleted": whole(without("test-"), says="is missing"),
    "figures deleted": whole(without("run-")),
    "text deleted": whole(without("text-")),
    "given cell deleted": whole(without("setup-"), says="is missing"),
    "old copy above": whole(twice, says="is there 2 times"),
    "cells in reverse": whole(reversed_cells),
    "solution as text": whole(lambda n: cell(n).update(cell_type="markdown"), says="run as code"),
    "23 MB of outputs": whole(with_outputs),
    "no ids of cells": body(strip_ids),
    "no metadata": body(strip_metadata),
    "from Colab": body(colab),
    "kernel of conda": body(conda),
    "texts as strings": body(as_strings),
    "lines of Windows": body(windows_lines),
    "format 3": body(as_format_3, status="unreadable", says="format 3", points=False),
    "byte order mark": raw(lambda content: b"\xef\xbb\xbf" + content),
    "UTF-16": raw(lambda content: content.decode().encode("utf-16")),
    "spaces around": raw(lambda content: b"\n\n  " + content + b"\n \n"),
    "emoji": above("# \U0001f600 é ü — “quotes”"),
    "names in Greek": below("σ = 1.0\nμ, Δx = σ, 2 * σ"),
    # Files.
    "downloaded twice": placed(f"{A}/{A} (1).ipynb", says="was found as"),
    "own name": placed("homework.ipynb", says="was found as"),
    "one level deeper": placed(f"{A}/mine/{A}.ipynb", says="was found as"),
    "without its folder": placed(f"{A}.ipynb", says="was found as"),
    "upper case": placed(f"{A}/{A}.IPYNB", says="was found as"),
    "checkpoint beside": placed(f"{A}/{A} copy.ipynb", f"{A}/.ipynb_checkpoints/x.ipynb"),
    "other files beside": placed(FILE, also={f"{A}/report.pdf": b"%PDF", "x.pt": b"PK"}),
    "two notebooks": placed(
        "a.ipynb", "b.ipynb", status="missing", says="several other notebooks", points=False
    ),
    "script": Form(lambda _: {f"{A}/{A}.py": b"x = 1"}, "missing", "no notebook among", False),
    "archive": Form(lambda _: {f"{A}/{A}.zip": b"PK"}, "missing", "vaelab collect", False),
    "nothing": Form(lambda _: {}, "missing", "does not exist", False),
    # Other files in the notebook's place.
    "login page": instead(b"<!DOCTYPE html><title>Log in</title>", says="a web page"),
    "merge conflict": instead(b'{"cells": [\n<<<<<<< HEAD\n', says="merge conflict"),
    "PDF": instead(b"%PDF-1.7", says="a PDF file"),
    "ZIP": instead(b"PK\x03\x04", says="a ZIP archive"),
    "cut off": raw(lambda c: c[: len(c) // 2], status="unreadable", says="not JSON", points=False),
    "empty file": instead(b"", says="empty"),
    "another assignment": instead(OTHER, says="another assignment, `03_fc_vae`"),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_has_its_points_and_its_reason(name, tmp_path):
    form = FORMS[name]
    notebook = reference(A)
    for path, content in form.files(notebook).items():
        file = tmp_path / "in" / "ada" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (tmp_path / "in" / "ada").mkdir(parents=True, exist_ok=True)
    other = tmp_path / "in" / "bob" / FILE  # the batch needs one notebook in its place
    other.parent.mkdir(parents=True)
    other.write_bytes(b"{}")
    (entry,) = [one for one in find_submissions(tmp_path / "in", A) if one.student == "ada"]
    result = _grade_one(entry, judge.grade, A, LIMITS, Sandbox("A"))
    told = "\n".join([result.message, *result.notes])
    lost = [f"{c.check}: {c.message}" for c in result.checks if c.outcome != "passed"]
    assert result.status == form.status, told
    assert form.says in told
    assert (result.score == result.max_score) == form.points, [told, *lost]
    assert bool(result.look) == (not form.points and name != "nothing"), result.look


def test_there_are_enough_forms_and_a_reason_is_no_points():
    assert len(FORMS) >= 60
    assert sum(form.points for form in FORMS.values()) >= 50


def test_the_reference_itself_needs_no_note(tmp_path):
    path = tmp_path / "x.ipynb"
    path.write_text(to_text(reference(A)))
    result = judge.grade(Path(path), A, "ada")
    assert (result.notes, result.look, result.score) == ((), (), result.max_score)
