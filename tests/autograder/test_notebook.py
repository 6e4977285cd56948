"""An untrusted notebook is opened safely; only the text of the student's own cells is used."""

import copy
import json
import os
from random import Random

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.build.notebooks import reference, starter, to_text
from autograder.grading import judge
from autograder.grading import notebook as notebook_module
from autograder.grading.notebook import (
    MAX_BYTES,
    MAX_NOTES,
    MAX_SOURCE,
    UnreadableError,
    open_notebook,
    parse_notebook,
)
from autograder.protocol.frames import Frame, pack
from autograder.quality.verify import lost
from autograder.records.text import printable
from autograder.sandbox.limits import Limits
from autograder.worker.additions import added

A = "03_fc_vae"
WHOLE = to_text(reference(A)).encode()


def named(notebook):
    return {c.metadata.nbgrader.grade_id: c for c in notebook.cells if "nbgrader" in c.metadata}


@pytest.fixture
def opened(write_notebook):
    return lambda notebook: open_notebook(write_notebook(to_text(notebook)), A)


def test_given_cells_come_from_the_source_and_only_solutions_from_the_student(opened):
    notebook = reference(A)
    for name, cell in named(notebook).items():
        cell.source = f"# mine: {name}"
    cells = {cell.name: cell.source for cell in opened(notebook).cells if cell.given is None}
    assert list(cells) == ["imports", "my_vae", "settings", "train_step"]
    assert cells["my_vae"] == "# mine: my_vae"
    assert "import torch" in cells["imports"]


GIVEN = "import torch\n\nsize = 3\n\n\ndef helper():\n    return size\n"


@pytest.mark.parametrize(
    ("changed", "run"),
    [
        (GIVEN, ""),
        (GIVEN + "# a comment\n", ""),
        ("import math\n" + GIVEN, "import math"),
        (GIVEN.replace("import torch", "import torch\nfrom torch import nn as n, optim"), None),
        (GIVEN.replace("3", "4"), ""),
        (GIVEN.replace("return size", "return 0"), ""),
        (GIVEN + "other = size + 1\n", "other = size + 1"),
        ("%%time\n" + GIVEN + "%matplotlib inline\n", "pass"),
    ],
)
def test_additions_to_a_given_cell_are_found(changed, run):
    assert added(changed, GIVEN) == ("from torch import nn as n, optim" if run is None else run)


def test_imports_and_helpers_that_a_student_added_to_a_given_cell_can_be_used(write_notebook):
    """Without its additions, the class of the submission cannot be used."""
    notebook = reference(A)
    cells = named(notebook)
    cells["imports"].source += "\nfrom torch.nn import Module as Base\n\ndef one():\n    return 1\n"
    cells["my_vae"].source = (
        cells["my_vae"].source.replace("(nn.Module)", "(Base)") + "\nassert one() == 1\n"
    )
    path = write_notebook(to_text(notebook))
    result = judge.grade(path, A, "ada", train=False)
    assert lost(result) == ()
    assert result.notes == (
        "The given cell `imports` was changed. The grader used the course's own copy. Lines that "
        "you added to it were run after it.",
    )
    cells["imports"].source = cells["imports"].source.replace("Module as Base", "Module")
    path = write_notebook(to_text(notebook))
    assert lost(judge.grade(path, A, "ada", train=False)) != ()


def with_cell(source):
    """Return the text of the reference with an own cell before the class."""
    notebook = reference(A)
    place = next(i for i, c in enumerate(notebook.cells) if c.id == "solution-my_vae")
    notebook.cells.insert(place, nbformat.v4.new_code_cell(source))
    return notebook


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("import os; os._exit(3)", "ended with exit code 3"),
        ("import signal; signal.raise_signal(signal.SIGKILL)", "SIGKILL"),
        ("while True: print('x' * 100_000)", "printed more than"),
        ("import time; time.sleep(60)", "the time limit for one call"),
    ],
)
def test_an_own_cell_that_ends_its_process_is_skipped(write_notebook, source, status):
    path = write_notebook(to_text(with_cell(source)))
    result = judge.grade(path, A, "ada", Limits(call_seconds=5.0), train=False)
    assert (result.status, lost(result)) == ("graded", ())
    (note,) = [note for note in result.notes if "was skipped" in note]
    assert note.startswith("`your cell ")
    assert status in note


def test_all_runs_together_have_twice_the_time_limit(write_notebook, monkeypatch):
    """A submission ends in one own cell after the other; each run takes all of its time."""
    cells = [nbformat.v4.new_code_cell(f"import os; os._exit({n})") for n in range(6)]
    notebook = reference(A)
    notebook.cells += cells
    path, clock, given = write_notebook(to_text(notebook)), [0.0], []
    monkeypatch.setattr(judge.time, "monotonic", lambda: clock[0])

    def run(opened, assignment, limits, *_):
        given.append(limits.seconds)
        clock[0] += 0.9 * limits.seconds
        own = [cell.name for cell in opened.cells if cell.own]
        return judge._Run("crashed", "It ended.", None, own[0])

    monkeypatch.setattr(judge, "_run", run)
    judge.grade(path, A, "ada", Limits(seconds=20.0))
    assert given[:2] == [20.0, 20.0]
    assert 2 < len(given) <= 1 + judge.MOST_SKIPPED
    assert sum(0.9 * seconds for seconds in given) <= 40


def test_a_solution_cell_that_ends_its_process_is_not_skipped(write_notebook):
    notebook = reference(A)
    named(notebook)["my_vae"].source += "\nimport os\nos._exit(3)\n"
    result = judge.grade(write_notebook(to_text(notebook)), A, "ada")
    assert result.status == "crashed"
    assert result.look == (result.message,)


def test_a_cell_that_fails_before_any_check_is_a_reason_to_look(write_notebook):
    """Not a cell that is not filled in, and not a mistake in the work."""
    failed = graded(write_notebook, my_vae=(CLASS, f"1 / 0\n{CLASS}"))
    assert "`my_vae` raised ZeroDivisionError" in failed.look[0]
    assert judge.grade(write_notebook(to_text(starter(A))), A, "ada", train=False).look == ()
    assert graded(write_notebook, my_vae=("0.5 * logvar", "logvar")).look == ()
    notebook = reference(A)
    notebook.cells = [c for c in notebook.cells if c.id != "solution-my_vae"]
    gone = judge.grade(write_notebook(to_text(notebook)), A, "ada", train=False)
    assert gone.look[0] == "Your cell `my_vae` is missing."


def test_a_limit_on_a_cell_ends_the_cell_only(write_notebook, monkeypatch):
    """Names that it defined before stay; a name that a later cell needs makes it run on."""
    monkeypatch.setattr(notebook_module, "EXTRA_CELL_SECONDS", 0.5)
    monkeypatch.setattr(notebook_module, "CELL_SECONDS", 4.0)
    busy = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\n"
    notebook = with_cell(busy.format(1.5) + "width = 400\n")
    settings = named(notebook)["settings"]
    settings.source = settings.source.replace("hidden_dim = 400", "hidden_dim = width")
    named(notebook)["my_vae"].source += "\n" + busy.format(60)
    result = judge.grade(write_notebook(to_text(notebook)), A, "ada", train=False)
    assert (result.status, lost(result)) == ("graded", ())
    (note,) = result.notes[1:]
    assert "`my_vae` raised TimeoutError: this cell computed for more than 4 seconds" in note


def graded(write_notebook, **changes):
    """Grade the reference with replacements in its cells, each (old, new), untrained."""
    notebook = reference(A)
    for name, (old, new) in changes.items():
        cell = named(notebook)[name]
        assert old in cell.source
        cell.source = cell.source.replace(old, new)
    return judge.grade(write_notebook(to_text(notebook)), A, "ada", train=False)


CLASS = "class myVAE(nn.Module):"


def test_a_package_that_is_not_installed_costs_nothing_unless_it_is_used(write_notebook):
    result = graded(
        write_notebook,
        my_vae=(CLASS, f"import no_such.deep as d\nfrom no_such2 import summary\n{CLASS}"),
        settings=("lr=1e-3)", "lr=1e-3)\nsummary(model)"),
    )
    assert lost(result) == ()
    told = "\n".join(result.notes)
    assert "The grader has no module `no_such`" in told
    assert "`settings` raised ModuleNotFoundError: the package no_such2 is not installed" in told
    used = graded(write_notebook, my_vae=("torch.exp(", "no_such.exp("))
    assert "reparameterize" in lost(used)


def test_code_that_expects_a_missing_package_is_not_told_that_it_is_there(write_notebook):
    guarded = (
        "try:\n    import no_such\nexcept ImportError:\n    no_such = None\n"
        f"assert no_such is None\n{CLASS}"
    )
    result = graded(write_notebook, my_vae=(CLASS, guarded))
    assert (lost(result), result.notes) == ((), ())


def test_a_gpu_that_is_not_there_is_named(write_notebook):
    result = graded(
        write_notebook,
        my_vae=("torch.exp(", "torch.exp(torch.zeros(1).cuda() + "),
        settings=(
            "model = myVAE(hidden_dim, latent_dim)",
            "model = myVAE(hidden_dim, latent_dim).cuda()",
        ),
    )
    assert lost(result) == ()
    result = graded(
        write_notebook, my_vae=("torch.exp(", 'torch.exp(torch.zeros(1, device="cuda") + ')
    )
    assert "reparameterize" in lost(result)
    assert any("the grader has no GPU" in check.message for check in result.checks)


def test_the_shell_of_ipython_does_nothing(write_notebook):
    notebook = reference(A)
    line = "get_ipython().run_line_magic('matplotlib', 'inline')\nget_ipython().system('ls')\n"
    cell = named(notebook)["my_vae"]
    cell.source = line + cell.source
    assert lost(judge.grade(write_notebook(to_text(notebook)), A, "ada", train=False)) == ()


def test_changed_given_cells_get_a_note(opened):
    notebook = reference(A)
    named(notebook)["kl_divergence"].source = "100.0"
    assert any("`kl_divergence` was changed" in note for note in opened(notebook).notes)
    assert opened(reference(A)).notes == ()


def test_cells_that_the_student_added_are_run_in_their_place_with_a_limit(opened):
    notebook = reference(A)
    place = next(i for i, c in enumerate(notebook.cells) if c.id == "solution-my_vae")
    extra = copy.deepcopy(notebook.cells[0])
    extra.cell_type, extra.source, extra.id = "code", "helper = 1", "own"
    extra.update(outputs=[], execution_count=None)
    notebook.cells.insert(place, extra)
    cells = opened(notebook).cells
    assert [c.name for c in cells][1] == f"your cell {place + 1}"
    assert cells[1].seconds is not None


def test_written_answers_are_kept_and_unchanged_ones_are_none(opened):
    assert opened(starter(A)).answers == {"larger_variance": None}
    notebook = starter(A)
    named(notebook)["larger_variance"].source = "Because of the KL."
    assert opened(notebook).answers == {"larger_variance": "Because of the KL."}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("{", "not JSON"),
        ("[]", "no list of cells"),
        ('{"cells": 3}', "no list of cells"),
        ('{"cells": [3]}', "not a cell"),
        ('{"cells": [{"source": 3}]}', "no text"),
        ('{"cells": [{"source": [3]}]}', "no text"),
        ("[" * 200_000, "nested too deeply"),
        ('{"cells": [' + "9" * 10_000 + "]}", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ("\ufeff <!DOCTYPE html><p>Log in", "a web page, not a notebook"),
        ("%PDF-1.7", "a PDF file"),
        (b"PK\x03\x04\x00", "a ZIP archive"),
        ('{"cells": [\n<<<<<<< HEAD\n]}', "a merge conflict"),
        (to_text(starter("04_cvae")), "another assignment, `04_cvae`; expected `03_fc_vae`"),
        ('{"cells": [' + ",".join(["{}"] * 2001) + "]}", "at most 2000"),
    ],
)
def test_a_file_that_is_not_a_notebook_is_unreadable_with_a_reason(write_notebook, text, says):
    with pytest.raises(UnreadableError, match=says):
        open_notebook(write_notebook(text), A)


def test_a_byte_order_mark_is_ignored(write_notebook):
    path = write_notebook(b"\xef\xbb\xbf" + to_text(reference(A)).encode())
    assert len(open_notebook(path, A).cells) == 4


def test_a_huge_file_is_not_read(write_notebook):
    path = write_notebook("")
    os.truncate(path, MAX_BYTES + 1)
    with pytest.raises(UnreadableError, match="at most 64 MiB"):
        open_notebook(path, A)


def test_links_and_pipes_are_not_followed(write_notebook, tmp_path):
    path = write_notebook("")
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(UnreadableError, match="a link to another file"):
        open_notebook(path, A)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UnreadableError, match="no regular file"):
        open_notebook(path, A)


def test_another_format_or_language_gets_a_note_only(write_notebook):
    body = json.loads(to_text(reference(A)))
    body["nbformat"] = 5
    body["metadata"] = {"kernelspec": {"language": "R\x1b[2J"}}
    opened = open_notebook(write_notebook(json.dumps(body)), A)
    assert len(opened.cells) == 4
    assert any("format 5" in note for note in opened.notes)
    assert any("language R\\x1b[2J" in note for note in opened.notes)


def test_a_solution_of_another_cell_type_is_run_with_a_note(write_notebook):
    body = json.loads(to_text(reference(A)))
    for cell in body["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "my_vae":
            cell["cell_type"] = "markdown"
    opened = open_notebook(write_notebook(json.dumps(body)), A)
    assert "my_vae" in [cell.name for cell in opened.cells]
    assert opened.notes == ("Your cell `my_vae` is a markdown cell. It was run as code.",)


def test_a_huge_cell_and_shell_lines_are_skipped_with_a_note(opened):
    notebook = reference(A)
    cells = named(notebook)
    cells["my_vae"].source = "x" * (MAX_SOURCE + 1)
    cells["settings"].source = "!pip install torch"
    found = opened(notebook)
    assert "my_vae" not in [cell.name for cell in found.cells]
    assert any("`my_vae` has over 150,000 characters" in note for note in found.notes)
    assert any("begin with `!`" in note for note in found.notes)


def with_cells(*sources):
    """Return the reference with code cells of the student's own at the end."""
    notebook = reference(A)
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in sources]
    return notebook


def test_thousands_of_lines_of_code_are_run_and_data_are_not(opened):
    """All cells count together, compressed; given cells are always run."""
    random = Random(0)
    lines = [f"value_{n} = layer_{n % 7}(x[{n}:], size={n * n % 97})" for n in range(4000)]
    data = "".join(random.choice("0123456789abcdef") for _ in range(140_000))
    code = ["\n".join(lines[start : start + 400]) for start in range(0, 4000, 400)]
    got = opened(with_cells(*code, f"DATA = '{data}'"))
    assert sum(cell.name.startswith("your cell") for cell in got.cells) == len(code)
    assert any("64 KiB of text" in note for note in got.notes)
    assert {"imports", "train_step"} <= {cell.name for cell in got.cells}


def test_notes_are_limited(opened):
    got = opened(with_cells(*["%%bash\nls"] * 1000))
    assert len(got.notes) == MAX_NOTES + 1
    assert "more notes" in got.notes[-1]
    assert len(got.look) == MAX_NOTES + 1


def test_format_three_is_named(write_notebook):
    with pytest.raises(UnreadableError, match="format 3"):
        open_notebook(write_notebook('{"worksheets": [{"cells": []}]}'), A)


# Fuzzing: any bytes give cells or an error message

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
ids = st.sampled_from(["my_vae", "settings", "kl_divergence", "larger_variance", "imports", "x"])
cell = st.fixed_dictionaries(
    {},
    optional={
        "cell_type": st.sampled_from(["code", "markdown", "raw"]) | junk,
        "source": st.text(max_size=30) | st.lists(st.text(max_size=9), max_size=3) | junk,
        "metadata": st.fixed_dictionaries(
            {}, optional={"nbgrader": st.fixed_dictionaries({"grade_id": ids | junk}) | junk}
        )
        | junk,
        "id": junk,
    },
)
notebooks = st.fixed_dictionaries(
    {"cells": st.lists(cell | junk, max_size=8) | junk},
    optional={"nbformat": junk, "metadata": junk | st.dictionaries(st.text(), junk)},
)


def cells_or_an_error(raw):
    try:
        found = parse_notebook(raw, A)
    except UnreadableError:
        return
    assert all(isinstance(c.source, str) and len(c.source) <= MAX_SOURCE for c in found.cells)
    names = [c.name for c in found.cells]
    assert names.count("imports") == 1  # the given cells come from the source
    assert all(printable(note) == note for note in found.notes)
    for c in found.cells:
        pack(Frame({"source": c.source, "name": c.name}))


@given(st.binary(max_size=300))
def test_any_bytes_are_cells_or_an_error(raw):
    cells_or_an_error(raw)


@given(notebooks | junk)
def test_any_json_is_cells_or_an_error(body):
    cells_or_an_error(json.dumps(body).encode())


@given(st.data())
def test_any_spoiled_notebook_is_cells_or_an_error(data):
    """A real notebook in which a piece is replaced by other bytes."""
    raw = WHOLE
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 400)))
    cells_or_an_error(raw[:start] + data.draw(st.binary(max_size=20)) + raw[end:])


def test_malformed_metadata_is_ignored(write_notebook):
    body = json.loads(to_text(reference(A)))
    odd = [None, 3, [], {"nbgrader": 3}, {"nbgrader": {"grade_id": []}}]
    for cell, metadata in zip(body["cells"], odd, strict=False):
        cell["metadata"] = metadata
    assert open_notebook(write_notebook(json.dumps(body)), A).cells
