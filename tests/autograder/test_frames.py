"""Only well-formed frames of plain arrays pass the wire."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autograder.frames import DTYPES, MAGIC, PREFIX, Frame, FrameError, lengths, pack, unpack


def through(frame: Frame) -> Frame:
    raw = b"".join(bytes(buffer) for buffer in pack(frame))
    head, data = lengths(raw[: PREFIX.size])
    rest = raw[PREFIX.size :]
    assert len(rest) == head + data
    return unpack(rest[:head], rest[head:])


arrays = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


@given(st.lists(arrays, max_size=3), st.dictionaries(st.text(), st.integers() | st.text()))
def test_what_is_sent_arrives(sent, body):
    got = through(Frame(body, sent))
    assert got.body == body
    for a, b in zip(sent, got.arrays, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_noise_is_refused_and_never_more_than_that(head, data):
    with pytest.raises(FrameError):
        unpack(head, data)


@pytest.mark.parametrize(
    "spec",
    [
        {"dtype": "object", "shape": [1]},
        {"dtype": "float32", "shape": [-1]},
        {"dtype": "float32", "shape": [True]},
        {"dtype": "float32", "shape": [2**63]},
        {"dtype": "float32", "shape": [2**29, 2**29]},
        {"dtype": "float32", "shape": [3]},
        {"dtype": "float32", "shape": [0]},
        {"dtype": "float32", "shape": [1] * 9},
        {"dtype": ["float32"], "shape": [1]},
        {"dtype": "float32"},
        [],
    ],
)
def test_an_array_that_lies_about_itself_is_refused(spec):
    head = json.dumps({"body": None, "arrays": [spec]}).encode()
    with pytest.raises(FrameError):
        unpack(head, b"\0" * 4)


def test_lengths_are_capped_before_anything_is_read():
    with pytest.raises(FrameError, match="claims"):
        lengths(PREFIX.pack(MAGIC, 10, 2**63))
    with pytest.raises(FrameError, match="claims"):
        lengths(PREFIX.pack(MAGIC, 2**31, 0))
    with pytest.raises(FrameError, match="start"):
        lengths(PREFIX.pack(b"HTTP", 10, 0))


def test_objects_do_not_cross():
    with pytest.raises(FrameError, match="dtype object"):
        pack(Frame(None, [np.array([object()])]))
