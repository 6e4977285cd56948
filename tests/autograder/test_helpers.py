"""Python files beside a notebook: only regular, named, short ones are read, in a usable order."""

import os
import time

import pytest

from autograder.grading.helpers import (
    MAX_HELPERS,
    digest_of,
    read_helpers,
    used_modules,
    written_file,
)

LONG = 1000


def read(tmp_path, text: str, **files: str) -> dict[str, str]:
    for name, content in files.items():
        (tmp_path / f"{name}.py").write_text(content)
    return read_helpers(tmp_path / "x.ipynb", text.encode(), LONG)


def test_only_files_that_are_named_are_read_the_innermost_first(tmp_path):
    text = "import math as m, a\nA value from unused images; unused = 1"
    found = read(tmp_path, text, a="import b", b="import c, a", c="", unused="")
    assert list(found) == ["c", "b", "a"]


def test_links_long_files_and_odd_names_are_left_out(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "link.py").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "two-words.py").write_text("x")
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    text = "import link, two, bytes, folder, pipe, long as l, short"
    assert list(read(tmp_path, text, long="x" * (LONG + 1), short="x" * LONG)) == ["short"]


def test_a_long_file_of_wide_characters_is_left_out_and_not_cut(tmp_path):
    wide = "é" * LONG
    assert read(tmp_path, "import fits, long", fits=wide, long=f"{wide}é") == {"fits": wide}


def test_there_are_at_most_some(tmp_path):
    names = [f"m{number}" for number in range(2 * MAX_HELPERS)]
    text = "".join(f"from {name} import x\n" for name in names)
    assert len(read(tmp_path, text, **dict.fromkeys(names, ""))) == MAX_HELPERS


def test_a_cell_that_writes_a_python_file_is_recognised():
    assert written_file("%%writefile ./my_tools.py\nx = 1\n") == ("my_tools", "x = 1\n")
    assert written_file("%%writefile notes.txt\nx") is None
    assert written_file("%%writefile ../x.py\nx") is None


def test_the_digest_depends_on_the_files():
    digests = {digest_of(b"n", {}), digest_of(b"n", {"a": "x"}), digest_of(b"n", {"a": "y"})}
    assert len(digests) == 3


def test_a_long_notebook_is_searched_once_whatever_the_number_of_files(tmp_path):
    """CPU seconds grow with the length of the text, and not with length times files."""
    text = "import " * 1_000_000 + "\nimport a"
    started = time.process_time()
    names = {"a": "", **{f"m{number}": "" for number in range(100)}}
    assert used_modules(text, names) == ["a"]
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "part", ["import ", "from ", "import a, ", "import a as ", " ", "\n", ",", "."]
)
def test_no_text_is_slow_to_search(part):
    started = time.process_time()
    used_modules(part * (1_000_000 // len(part)), {"b": ""})
    assert time.process_time() - started < 5


def test_imports_in_a_notebooks_file_are_found_behind_the_end_of_a_line():
    text = '"import os\\nimport a\\nfrom b.c import d\\n"'
    assert set(used_modules(text, {"a": "", "b": "", "c": "", "d": ""})) == {"a", "b"}
