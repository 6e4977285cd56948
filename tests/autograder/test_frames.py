"""Only valid frames of dense arrays are accepted."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autograder.protocol import frames
from autograder.protocol.frames import (
    DTYPES,
    MAGIC,
    PREFIX,
    Frame,
    FrameError,
    lengths,
    pack,
    unpack,
)


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
def test_a_frame_is_read_as_it_was_written(sent, body):
    got = through(Frame(body, sent))
    assert got.body == body
    for a, b in zip(sent, got.arrays, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_random_bytes_are_refused(head, data):
    with pytest.raises(FrameError):
        unpack(head, data)


specs = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["float32", "bool", "object", "O", "<f4", "str"]) | st.none(),
        "shape": st.lists(
            st.integers(-2, 5) | st.sampled_from([2**29, 2**63, True, 1.0, "3", None, 10**400]),
            max_size=9,
        )
        | st.none(),
    },
)


@given(
    st.one_of(
        st.fixed_dictionaries(
            {"body": st.none(), "arrays": st.lists(specs | st.none(), max_size=3)}
        ),
        st.fixed_dictionaries({"arrays": st.integers() | st.dictionaries(st.text(), specs)}),
        st.lists(specs),
    ),
    st.binary(max_size=64),
)
def test_each_description_of_arrays_is_refused_or_matches_the_bytes(message, data):
    """Accepted arrays contain exactly the bytes of the message."""
    try:
        frame = unpack(json.dumps(message).encode(), data)
    except FrameError:
        return
    assert sum(a.nbytes for a in frame.arrays) == len(data)
    assert {a.dtype.name for a in frame.arrays} <= DTYPES
    assert b"".join(a.tobytes() for a in frame.arrays) == data


@given(st.data())
def test_a_damaged_frame_is_refused_or_contains_plain_arrays(data):
    raw = b"".join(bytes(b) for b in pack(Frame({"ok": [1, "a"]}, [np.ones((2, 3))])))
    place = data.draw(st.integers(0, len(raw) - 1))
    damaged = raw[:place] + data.draw(st.binary(max_size=4)) + raw[place + 1 :]
    try:
        head, rest = lengths(damaged[: PREFIX.size])
        frame = unpack(damaged[PREFIX.size :][:head], damaged[PREFIX.size + head :][:rest])
    except FrameError:
        return
    assert {a.dtype.name for a in frame.arrays} <= DTYPES


def test_an_expanded_view_is_refused_before_it_is_copied():
    expanded = np.broadcast_to(np.float32(1), (200_000, 200_000))
    with pytest.raises(FrameError, match="too large"):
        pack(Frame(None, [expanded]))


@pytest.mark.parametrize("depth", [100, 10_000, 200_000])
def test_deep_json_is_refused_or_read(depth):
    head = b'{"arrays": [], "body": ' + b"[" * depth + b"]" * depth + b"}"
    if depth == 100:
        assert unpack(head, b"").arrays == []
        return
    with pytest.raises(FrameError):
        unpack(head, b"")


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
        {"dtype": "float32", "shape": [0, 2**27, 4]},
        {"dtype": "float32", "shape": [0, 2**28, 2**28, 2**28]},
        {"dtype": "float32", "shape": [2**27, 0, 1]},
        [],
    ],
)
def test_an_invalid_description_of_an_array_is_refused(spec):
    head = json.dumps({"body": None, "arrays": [spec]}).encode()
    with pytest.raises(FrameError):
        unpack(head, b"\0" * 4)


@pytest.mark.parametrize("shape", [(0, 784), (3, 0), (0, 3, 64, 64), (0, 0)])
def test_an_array_without_elements_is_read(shape):
    assert through(Frame(None, [np.zeros(shape, np.float32)])).arrays[0].shape == shape


def test_without_the_limit_an_array_without_elements_takes_memory(monkeypatch):
    """A reduction over its empty side has elements, though the frame has no bytes."""
    monkeypatch.setattr(frames, "MAX_EMPTY", 1 << 40)
    head = json.dumps({"body": None, "arrays": [{"dtype": "float32", "shape": [0, 2**22]}]})
    (array,) = unpack(head.encode(), b"").arrays
    assert array.sum(0).nbytes == 4 << 22


def test_many_arrays_without_elements_are_refused():
    spec = {"dtype": "float32", "shape": [0, 2**19]}
    unpack(json.dumps({"body": None, "arrays": [spec] * 2}).encode(), b"")
    with pytest.raises(FrameError, match="without elements"):
        unpack(json.dumps({"body": None, "arrays": [spec] * 3}).encode(), b"")


def test_a_long_text_with_any_characters_is_sent():
    for text in ("\U0001f600" * 150_000, "\x01" * 150_000, "\ud800\udfff" * 75_000):
        assert through(Frame({"source": text})).body == {"source": text}


def test_lengths_above_the_limits_are_refused():
    with pytest.raises(FrameError, match="announces"):
        lengths(PREFIX.pack(MAGIC, 10, 2**63))
    with pytest.raises(FrameError, match="announces"):
        lengths(PREFIX.pack(MAGIC, 2**31, 0))
    with pytest.raises(FrameError, match="expected b'VAEL'"):
        lengths(PREFIX.pack(b"HTTP", 10, 0))


def test_object_arrays_are_refused():
    with pytest.raises(FrameError, match="dtype object"):
        pack(Frame(None, [np.array([object()])]))
