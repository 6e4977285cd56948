"""Fuzzes the three readers of untrusted bytes with atheris: `make fuzz`.

Run `python -m attacks.fuzzing frames`, `notebook` or `result`, followed by options of libFuzzer. It
stops at the first input that a reader neither accepts nor refuses with its own exception.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=[
        "autograder.protocol.frames",
        "autograder.grading.notebook",
        "autograder.records.results",
    ]
):
    from autograder.grading import notebook
    from autograder.protocol import frames
    from autograder.records import results

from autograder.build.notebooks import starter, to_text
from autograder.grading.judge import unjudged
from autograder.reports import table

ASSIGNMENT = "00_reparameterization"


def read_frame(data: bytes) -> None:
    """Read bytes as a frame: the head is the first line, and the arrays follow."""
    head, _, rest = data.partition(b"\n")
    with contextlib.suppress(frames.FrameError):
        frames.lengths(data[: frames.PREFIX.size].ljust(frames.PREFIX.size))
    try:
        frame = frames.unpack(head, rest)
    except frames.FrameError:
        return
    assert {array.dtype.name for array in frame.arrays} <= frames.DTYPES
    assert sum(array.nbytes for array in frame.arrays) == len(rest)


def read_notebook(data: bytes) -> None:
    """Read bytes as a submission."""
    try:
        opened = notebook.parse_notebook(data, ASSIGNMENT)
    except notebook.UnreadableError:
        return
    for cell in opened.cells:
        frames.pack(frames.Frame({"source": cell.source, "name": cell.name}))


def read_result(data: bytes) -> None:
    """Read bytes as the result of an earlier run."""
    with contextlib.suppress(ValueError):
        result = results.from_json(data.decode())
        assert result.score < float("inf")
        table.to_csv([result])


READERS = {"frames": read_frame, "notebook": read_notebook, "result": read_result}
SPECS = ('{"dtype": "float32", "shape": [2, 1]}', '{"dtype": "bool", "shape": []}')
SEEDS = {
    "frames": [
        *(b'{"body": {"ok": 1}, "arrays": [%s]}\n12345678' % one.encode() for one in SPECS),
        frames.PREFIX.pack(frames.MAGIC, 9, 9),
    ],
    "result": [results.to_json(unjudged(ASSIGNMENT, "ada", "missing", "no file")).encode()],
    "notebook": [
        to_text(starter(ASSIGNMENT)).encode(),
        b'{"nbformat": 4, "metadata": {"kernelspec": {"language": "R"}}, "cells": [{"cell_type": '
        b'"code", "source": ["!x"], "metadata": {"nbgrader": {"grade_id": "my_kl"}}}]}',
    ],
}


def main() -> None:
    """Fuzz the named reader; start from a few valid inputs."""
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[name]):
            Path(corpus, str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, "-max_len=40000", corpus], READERS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
