"""Frames: the messages between judge and worker, each with a JSON head and raw dense arrays.

A frame is `b"VAEL"`, the head's length (uint32), the arrays' total length in bytes (uint64), the
head (JSON, UTF-8) and the bytes of all arrays (little-endian, C order). Nothing is unpickled.
Every length is checked before it is used. The memory and time that a frame takes are proportional
to its bytes: an array without elements may also have only small sides, because a reduction over its
empty side has as many elements as the product of the other sides.
"""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAGIC = b"VAEL"
PREFIX = struct.Struct("<4sIQ")
MAX_HEAD = 1 << 20
MAX_DATA = 1 << 28
MAX_DIMS = 8
JOINED_BYTES = 1 << 16  # arrays of at most this size are sent with the head, in one system call
MAX_ARRAYS = 4096
# Largest product of the non-zero sides of all arrays without elements in one frame, summed.
MAX_EMPTY = 1 << 20
DTYPES = frozenset({"bool", "uint8", "int8", "int16", "int32", "int64"}) | frozenset(
    {"float16", "float32", "float64"}
)
# `dtype.name` computes the name anew each time.
_NAMES = {np.dtype(name): name for name in DTYPES}


class FrameError(ValueError):
    """The bytes are not a valid frame, or a frame cannot be sent."""


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes:
        body: Any JSON value. `{"$array": i}` in it refers to `arrays[i]`.
        arrays: Dense arrays; each dtype is in `DTYPES`.
    """

    body: Any
    arrays: Sequence[np.ndarray] = field(default_factory=tuple)


def pack(frame: Frame) -> list[bytes | memoryview]:
    """Return the buffers of a frame, in the order in which they are written.

    Raises:
        FrameError: If an array's dtype is not in `DTYPES`, the head has more than `MAX_HEAD` bytes,
            or the arrays have more than `MAX_DATA` bytes.
    """
    for array in frame.arrays:
        if array.dtype not in _NAMES:
            raise FrameError(f"an array of dtype {array.dtype.name} cannot be sent")
    specs = [{"dtype": _NAMES[a.dtype], "shape": list(a.shape)} for a in frame.arrays]
    text = json.dumps({"body": frame.body, "arrays": specs}, ensure_ascii=False)
    head = text.encode("utf-8", "surrogatepass")  # a student's text can hold lone surrogates
    total = sum(a.nbytes for a in frame.arrays)
    if len(head) > MAX_HEAD or total > MAX_DATA:
        raise FrameError(
            f"the message is too large: its head has {len(head)} bytes (limit {MAX_HEAD}), its "
            f"arrays have {total} bytes (limit {MAX_DATA})"
        )
    # After the size check, because an expanded view takes its full size when it is copied.
    arrays = [np.asarray(array, order="C") for array in frame.arrays]
    buffers: list[bytes | memoryview] = [PREFIX.pack(MAGIC, len(head), total) + head]
    buffers += [a.reshape(-1).view(np.uint8).data for a in arrays if a.nbytes]
    return [b"".join(buffers)] if total <= JOINED_BYTES else buffers


def lengths(prefix: bytes) -> tuple[int, int]:
    """Read a frame's prefix.

    Returns:
        The length of the head and the total length of the arrays, in bytes.

    Raises:
        FrameError: If the prefix does not start with `MAGIC`, or a length is above its limit.
    """
    magic, head, data = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise FrameError(f"the message starts with {magic!r}; expected {MAGIC!r}")
    if head > MAX_HEAD or data > MAX_DATA:
        raise FrameError(
            f"the message announces {head} bytes of JSON (limit {MAX_HEAD}) and {data} bytes of "
            f"arrays (limit {MAX_DATA})"
        )
    return head, data


def unpack(head: bytes, data: bytes | bytearray | memoryview) -> Frame:
    """Read a frame from its head and the bytes of its arrays.

    Args:
        head: The JSON head.
        data: The bytes of all arrays.

    Raises:
        FrameError: If the head is not JSON in the expected format, or if an array's dtype, shape or
            size does not match the bytes.
    """
    try:
        message = json.loads(head.decode("utf-8", "surrogatepass"))
        body, specs = message["body"], message["arrays"]
    except (ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise FrameError("the head of the message is not JSON with `body` and `arrays`") from error
    if not isinstance(specs, list) or len(specs) > MAX_ARRAYS:
        raise FrameError(f"`arrays` must be a list of at most {MAX_ARRAYS} items")
    arrays, offset, empty = [], 0, 0
    for spec in specs:
        dtype, shape = _spec(spec)
        size = dtype.itemsize * math.prod(shape)
        empty += 0 if size else math.prod(side for side in shape if side)
        if empty > MAX_EMPTY:
            raise FrameError(
                f"the other sides of arrays without elements have a product above {MAX_EMPTY}"
            )
        if offset + size > len(data):
            raise FrameError("an array has more bytes than the message contains")
        flat = np.frombuffer(data, dtype=dtype, count=math.prod(shape), offset=offset)
        arrays.append(flat.reshape(shape))
        offset += size
    if offset != len(data):
        raise FrameError("the message contains more bytes than its arrays need")
    return Frame(body, arrays)


def _spec(spec: Any) -> tuple[np.dtype, tuple[int, ...]]:
    """Return the dtype and shape in the description of an array."""
    if not isinstance(spec, dict):
        raise FrameError("the description of an array must be a JSON object")
    name, shape = spec.get("dtype"), spec.get("shape")
    if not isinstance(name, str) or name not in DTYPES:
        raise FrameError(f"the dtype of an array must be one of {sorted(DTYPES)}")
    if not isinstance(shape, list) or len(shape) > MAX_DIMS:
        raise FrameError(f"the shape of an array must be a list of at most {MAX_DIMS} sizes")
    for size in shape:
        # In Python, bool is a subclass of int.
        if type(size) is not int or not 0 <= size <= MAX_DATA:
            raise FrameError(f"each size of an array must be an integer from 0 to {MAX_DATA}")
    if math.prod(shape) > MAX_DATA:
        raise FrameError(f"an array must have at most {MAX_DATA} elements")
    return np.dtype(name), tuple(shape)
