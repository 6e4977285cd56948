"""Similar submissions: a copy with other names is found, and what everyone has is not."""

from pathlib import Path

import pytest
from finished import A
from typer.testing import CliRunner

from autograder.build.notebooks import reference, starter, to_text
from autograder.cli import app
from autograder.exporting.similarity import NOTHING_OWN, compare, page
from autograder.grading.batch import Entry

pytest.importorskip("copydetect", reason="run `make setup`: requirements.txt has it")

OWN = '''
def average(values, weights):
    """Average."""
    total = 0.0
    for value, weight in zip(values, weights):
        if weight > 0 and value == value:
            total = total + weight * max(value, 0.5)
    return total / sum(weights)
'''
# The same, with other names, comments and a blank line.
COPIED = """
def mean_of(data, w):
    # my own idea

    s = 0.0
    for x, a in zip(data, w):
        if a > 0 and x == x:
            s = s + a * max(x, 0.5)
    return s / sum(w)
"""
OTHER = """
class Meter:
    def __init__(self):
        self.seen = []
    def add(self, item, *, times=1):
        self.seen.extend([item] * times)
        return [entry ** 2 for entry in self.seen if entry][::-1]
"""


def hand_in(folder: Path, student: str, code: str = "", *, notebook=None) -> Entry:
    notebook = notebook or starter(A)
    for cell in notebook.cells:
        if code and cell.id == "solution-my_vae":
            cell.source += "\n" + code
    path = folder / student / A / f"{A}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(to_text(notebook))
    return Entry(student, path, folder)


def test_a_copy_with_other_names_ranks_first(tmp_path):
    codes = {"ada": OWN, "bea": COPIED, "cyd": OTHER}
    entries = [hand_in(tmp_path, name, code) for name, code in codes.items()]
    compared = compare(entries, A)
    first = compared.pairs[0]
    assert {first.left.student, first.right.student} == {"ada", "bea"}
    assert first.share > 0.8
    assert all(pair.share < 0.3 for pair in compared.pairs[1:])
    shared = [text.strip() for text, both in first.right.lines if both]
    assert "s = s + a * max(x, 0.5)" in shared


def test_code_of_the_starter_does_not_count(tmp_path):
    entries = [hand_in(tmp_path, name) for name in ("ada", "bea")]
    compared = compare(entries, A)
    assert compared.pairs == ()
    assert [reason for _, reason in compared.left_out] == [NOTHING_OWN] * 2


def test_code_that_many_have_does_not_count(tmp_path):
    """Each has a line of its own, so they are no group."""
    entries = [hand_in(tmp_path, f"s{n}", f"{OWN}\nn = {n * 111}") for n in range(1, 5)]
    compared = compare(entries, A)
    assert (compared.count, compared.pairs, compared.groups) == (4, (), ())
    assert len(compare(entries[:3], A).pairs) == 3


@pytest.mark.parametrize("size", [2, 5])
def test_the_same_code_is_reported_however_many_have_it(tmp_path, size):
    """Also with other names and comments, and also if nobody else is in the class."""
    entries = [hand_in(tmp_path, f"s{n}", COPIED if n else OWN) for n in range(size)]
    compared = compare(entries, A)
    assert compared.groups == (tuple(f"s{n}" for n in range(size)),)
    assert (compared.count, compared.left_out) == (size, ())
    (same,) = compared.pairs
    assert (same.left.student, same.right.student) == ("s0", "s1")
    assert same.share > 0.99  # the docstring is a passage that only one has
    text = page(compared, A)
    assert f"{size} students: <bdi>s0</bdi>" in text
    entries.append(hand_in(tmp_path, "near", OWN + OTHER))
    _, pair = compare(entries, A).pairs
    assert {pair.left.student, pair.right.student} == {"near", "s0"}


def test_the_page_escapes_code_gives_no_verdict_and_says_what_is_private(tmp_path):
    evil = OWN + '\nx = "<script>alert(1)</script>"'
    entries = [hand_in(tmp_path, "ada", evil), hand_in(tmp_path, "<b>bea", COPIED)]
    text = page(compare(entries, A), A)
    assert "<script>" not in text
    assert "<b>bea" not in text
    assert "It does not say why." in text
    assert "Privacy" in text
    for word in ("plagiari", "cheat", "guilty", "http"):
        assert word not in text.lower()


def test_equal_input_gives_an_equal_page(tmp_path):
    entries = [hand_in(tmp_path, n, c) for n, c in (("ada", OWN), ("bea", COPIED))]
    assert page(compare(entries, A), A) == page(compare(entries, A), A)


def test_the_command_lists_what_it_could_not_read(tmp_path):
    hand_in(tmp_path / "in", "ada", notebook=reference(A))
    hand_in(tmp_path / "in", "bea").path.write_text("no")
    (tmp_path / "in" / "cyd").mkdir()
    words = ["similar", str(tmp_path / "in"), "--assignment", A, "--to", str(tmp_path / "x.html")]
    done = CliRunner().invoke(app, words)
    assert "Compared 1 submission: 0 groups" in done.output
    assert "2 submissions could not be compared" in done.output
    assert "cyd" in (tmp_path / "x.html").read_text()
