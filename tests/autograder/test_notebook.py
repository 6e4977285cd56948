"""A notebook from outside is opened with care, mended where it can be, and never believed."""

import copy
import json
import os

import pytest

from autograder.build import reference, starter, to_text
from autograder.notebook import MAX_BYTES, UnreadableError, open_notebook

A = "03_fc_vae"


def named(notebook):
    return {c.metadata.nbgrader.grade_id: c for c in notebook.cells if "nbgrader" in c.metadata}


@pytest.fixture
def opened(write_notebook):
    return lambda notebook: open_notebook(write_notebook(to_text(notebook)), A)


def test_given_cells_come_from_the_source_and_only_solutions_from_the_student(opened):
    notebook = reference(A)
    for name, cell in named(notebook).items():
        cell.source = f"# mine: {name}"
    cells = {cell.name: cell.source for cell in opened(notebook).cells}
    assert list(cells) == ["imports", "my_vae", "settings", "train_step"]
    assert cells["my_vae"] == "# mine: my_vae"
    assert "import torch" in cells["imports"]


def test_changed_given_cells_are_mentioned(opened):
    notebook = reference(A)
    named(notebook)["kl_divergence"].source = "100.0"
    assert any("`kl_divergence` was changed" in note for note in opened(notebook).notes)
    assert opened(reference(A)).notes == ()


def test_a_students_own_cells_are_run_in_their_place_with_a_limit(opened):
    notebook = reference(A)
    place = next(i for i, c in enumerate(notebook.cells) if c.id == "solution-my_vae")
    extra = copy.deepcopy(notebook.cells[0])
    extra.cell_type, extra.source, extra.id = "code", "helper = 1", "own"
    extra.update(outputs=[], execution_count=None)
    notebook.cells.insert(place, extra)
    cells = opened(notebook).cells
    assert [c.name for c in cells][1] == f"your cell {place + 1}"
    assert cells[1].seconds is not None


def test_written_answers_are_kept_and_untouched_ones_told_apart(opened):
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
        ('{"cells": [3]}', "no cell"),
        ('{"cells": [{"source": 3}]}', "no text"),
        ('{"cells": [{"source": [3]}]}', "no text"),
        ("[" * 200_000, "nested too deeply"),
        ('{"cells": [' + "9" * 10_000 + "]}", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ('{"cells": [' + ",".join(["{}"] * 2001) + "]}", "more than 2000"),
    ],
)
def test_what_is_no_notebook_is_unreadable_and_says_why(write_notebook, text, says):
    with pytest.raises(UnreadableError, match=says):
        open_notebook(write_notebook(text), A)


def test_a_byte_order_mark_is_read_over(write_notebook):
    path = write_notebook(b"\xef\xbb\xbf" + to_text(reference(A)).encode())
    assert len(open_notebook(path, A).cells) == 4


def test_a_huge_file_is_not_even_read(write_notebook):
    path = write_notebook("")
    os.truncate(path, MAX_BYTES + 1)
    with pytest.raises(UnreadableError, match="at most 20 MiB"):
        open_notebook(path, A)


def test_links_and_pipes_are_not_followed(write_notebook, tmp_path):
    path = write_notebook("")
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        open_notebook(path, A)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UnreadableError, match="no regular file"):
        open_notebook(path, A)


def test_odd_metadata_is_survived(write_notebook):
    body = json.loads(to_text(reference(A)))
    odd = [None, 3, [], {"nbgrader": 3}, {"nbgrader": {"grade_id": []}}]
    for cell, metadata in zip(body["cells"], odd, strict=False):
        cell["metadata"] = metadata
    assert open_notebook(write_notebook(json.dumps(body)), A).cells
