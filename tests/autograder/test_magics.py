"""Cells with commands of IPython: the Python of the notebook runs, all else is left out."""

import pytest

from autograder.worker.magics import skipped_magic
from autograder.worker.worker import compile_cell


def names_after(source):
    """Run a cell; return the names that it defines."""
    names = {}
    exec(compile_cell(source, "<cell>"), names)
    names.pop("__builtins__")
    return names


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("%%time\nx = 1", {"x": 1}),
        ("\n%%capture out --no-stderr\n%%time\nx = 1\n!ls", {"x": 1}),
        ("%%timeit\nx = 1", {"x": 1}),
        ("%%prun -s cumulative\nx = 1", {"x": 1}),
        ("%%time", {}),
        ("%%bash\nx = 1", {}),
        ("%%capture\n%%writefile a.py\nx = 1", {}),
        ("%%html\n<b>x</b>", {}),
        ("%%python\nx = 1", {}),
        ("%time x = 1", {"x": 1}),
        ("x = %time 2 + 3", {"x": 5}),
        ("x = !ls", {"x": []}),
        ("x = %pwd", {"x": None}),
        ("%timeit x = 1", {}),
        ("if True:\n    !pip install a \\\n        b\n    x = 1", {"x": 1}),
        ("try:\n    y = 1 / 0\nexcept ZeroDivisionError:\n    %pip install a\nx = 1", {"x": 1}),
        ("x = 7\nx?\n?x\nx.real??", {"x": 7}),
        ("%matplotlib inline\nx = (7\n% 4)", {"x": 3}),
        ("x = '''\n% of 7\n'''\n%matplotlib inline", {"x": "\n% of 7\n"}),
        ("!echo 'it\n!echo (\nx = 1", {"x": 1}),
        ("%env A=1\n" * 60 + "x = 1", {"x": 1}),
    ],
)
def test_names_of_a_cell(source, names):
    assert names_after(source) == names


def test_lines_keep_their_numbers():
    with pytest.raises(ZeroDivisionError) as raised:
        names_after("%%time\n\n!ls\nx = 1 / 0")
    assert raised.traceback[-1].lineno + 1 == 4


@pytest.mark.parametrize("source", ["%%time\nx = (", "!ls\nx = = 1", "x ="])
def test_broken_python_stays_broken(source):
    with pytest.raises(SyntaxError):
        names_after(source)


def test_a_skipped_magic_is_named():
    assert skipped_magic("%%time\n%%bash -e\nls") == "%%bash"
    assert skipped_magic("%%time\nx = 1") == ""
    assert skipped_magic("x = 1\n%%bash") == ""
