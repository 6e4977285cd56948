"""The wire between judge and worker: one JSON head and raw dense arrays, nothing else.

A frame is `b"VAEL"`, the head's length (uint32), the arrays' total length (uint64), the head
(JSON, UTF-8) and the arrays' bytes end to end (little-endian, C order). Nothing is unpickled,
and every length is checked before it is used.
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
MAX_ARRAYS = 4096
DTYPES = frozenset({"bool", "uint8", "int8", "int16", "int32", "int64"}) | frozenset(
    {"float16", "float32", "float64"}
)


class FrameError(ValueError):
    """What arrived is not a frame."""


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes:
        body: Anything JSON can hold. `{"$array": i}` in it stands for `arrays[i]`.
        arrays: Dense arrays, each of a dtype in `DTYPES`.
    """

    body: Any
    arrays: Sequence[np.ndarray] = field(default_factory=tuple)


def pack(frame: Frame) -> list[bytes | memoryview]:
    """Turn a frame into the buffers to write, in order.

    Raises:
        FrameError: If an array's dtype has no place on the wire or the head is too long.
    """
    for array in frame.arrays:
        if array.dtype.name not in DTYPES:
            raise FrameError(f"an array of dtype {array.dtype.name} cannot cross")
    specs = [{"dtype": a.dtype.name, "shape": list(a.shape)} for a in frame.arrays]
    head = json.dumps({"body": frame.body, "arrays": specs}).encode()
    total = sum(a.nbytes for a in frame.arrays)
    if len(head) > MAX_HEAD or total > MAX_DATA:
        raise FrameError(f"the message is too large ({len(head)} + {total} bytes)")
    # Only now, since a view that repeats one number takes its full size when it is laid out.
    arrays = [np.asarray(array, order="C") for array in frame.arrays]
    buffers: list[bytes | memoryview] = [PREFIX.pack(MAGIC, len(head), total) + head]
    return buffers + [a.reshape(-1).view(np.uint8).data for a in arrays if a.nbytes]


def lengths(prefix: bytes) -> tuple[int, int]:
    """Read a frame's prefix.

    Returns:
        The lengths in bytes of the head and of the arrays that follow.

    Raises:
        FrameError: If the magic is wrong or a length is beyond its cap.
    """
    magic, head, data = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise FrameError("the message does not start like one")
    if head > MAX_HEAD or data > MAX_DATA:
        raise FrameError(f"the message claims {head} + {data} bytes")
    return head, data


def unpack(head: bytes, data: bytes | bytearray | memoryview) -> Frame:
    """Rebuild a frame from its head and its arrays' bytes.

    Raises:
        FrameError: If the head is no JSON of the agreed form, or an array's dtype, shape or size
            does not fit the bytes that came with it.
    """
    try:
        message = json.loads(head)
        body, specs = message["body"], message["arrays"]
    except (ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise FrameError("the message's head cannot be read") from error
    if not isinstance(specs, list) or len(specs) > MAX_ARRAYS:
        raise FrameError("the message's list of arrays is none, or too long")
    arrays, offset = [], 0
    for spec in specs:
        dtype, shape = _spec(spec)
        size = dtype.itemsize * math.prod(shape)
        if offset + size > len(data):
            raise FrameError("an array is longer than the bytes that came with it")
        flat = np.frombuffer(data, dtype=dtype, count=math.prod(shape), offset=offset)
        arrays.append(flat.reshape(shape))
        offset += size
    if offset != len(data):
        raise FrameError("more bytes came than the arrays hold")
    return Frame(body, arrays)


def _spec(spec: Any) -> tuple[np.dtype, tuple[int, ...]]:
    if not isinstance(spec, dict):
        raise FrameError("an array's description is no object")
    name, shape = spec.get("dtype"), spec.get("shape")
    if not isinstance(name, str) or name not in DTYPES:
        raise FrameError("an array's dtype is unknown")
    if not isinstance(shape, list) or len(shape) > MAX_DIMS:
        raise FrameError("an array's shape cannot be right")
    for size in shape:
        # bool is an int in Python, and no size of an array.
        if type(size) is not int or not 0 <= size <= MAX_DATA:
            raise FrameError("an array's shape cannot be right")
    if math.prod(shape) > MAX_DATA:
        raise FrameError("an array's shape cannot be right")
    return np.dtype(name), tuple(shape)
