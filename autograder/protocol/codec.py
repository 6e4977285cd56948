"""The codec: writes values as JSON and arrays, and reads them.

Judge and worker use the same codec. A value is None, a bool, an int, a string, a list, or an object
with one tag:

    {"$float": "0.5"}                     a float, including NaN and infinities
    {"$array": i, "grad": false}          array i of the frame; `grad`: a gradient is needed
    {"$ref": n, "type": "Linear"}         an object that stays in the worker
    {"$dict": {"name": value}}            a dictionary with string keys
    {"$other": "a generator"}             a value that cannot be sent, described in words
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from autograder.protocol.frames import DTYPES

# Values in checks are less deep, and Python's recursion limit is far higher.
MAX_DEPTH = 32
MAX_INT = 2**63
FLOAT_LIMIT = 40
KIND_LIMIT = 200


class CodecError(ValueError):
    """A message contains a value in an unknown format."""


class Other:
    """A value that cannot be sent, because it is no number, string, or dense tensor.

    Args:
        kind: A description of the value.
    """

    def __init__(self, kind: str):
        self.kind = kind

    def __repr__(self) -> str:
        return self.kind


class Encoder:
    """Writes values as JSON, and collects dense tensors as arrays.

    Args:
        reference: A function that returns the number of an object in the worker; None for others.
        mark_grad: Whether to mark tensors that require a gradient.

    Attributes:
        arrays: The arrays of all values written so far.
        tensors: The tensors that these arrays were made from.
    """

    def __init__(
        self, reference: Callable[[Any], int | None] = lambda _: None, *, mark_grad: bool = False
    ):
        self.reference = reference
        self.mark_grad = mark_grad
        self.arrays: list[np.ndarray] = []
        self.tensors: list[torch.Tensor] = []

    def __call__(self, value: Any) -> Any:
        """Return a value's JSON."""
        if issubclass(type(value), torch.Tensor):  # an object can set `__class__`, but not its type
            return self._tensor(value)
        if isinstance(value, np.ndarray | np.generic):
            return self._tensor(torch.as_tensor(value))
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return {"$float": repr(value)}
        if isinstance(value, list | tuple):
            return [self(item) for item in value]
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {"$dict": {key: self(item) for key, item in value.items()}}
        number = self.reference(value)
        if number is not None:
            return {"$ref": number, "type": ""}
        return {"$other": type(value).__name__}

    def _tensor(self, value: torch.Tensor) -> dict[str, Any]:
        name = str(value.dtype).removeprefix("torch.")
        if value.layout != torch.strided or value.device.type == "meta" or name not in DTYPES:
            return {"$other": f"a {value.layout} tensor of {value.dtype} on {value.device.type}"}
        self.arrays.append(value.detach().cpu().numpy())
        self.tensors.append(value)
        grad = self.mark_grad and value.requires_grad
        return {"$array": len(self.arrays) - 1, "grad": grad}


class Decoder:
    """Reads values from JSON and arrays.

    Each array is used at most once, so the memory of the values is proportional to the bytes of the
    frame.

    Args:
        arrays: The frame's arrays.
        tensor: A function that creates a tensor from an array, given whether a gradient is needed.
        reference: A function that returns the object for a number and the name of its type.
        sequence: The type to which lists are converted.
    """

    def __init__(
        self,
        arrays: Sequence[np.ndarray],
        tensor: Callable[[np.ndarray, bool], Any],
        reference: Callable[[int, str], Any],
        sequence: Callable[..., Any] = tuple,
    ):
        self.arrays, self.sequence = arrays, sequence
        self.tensor, self.reference = tensor, reference
        self.used: set[int] = set()

    def __call__(self, body: Any, depth: int = 0) -> Any:
        """Return the value of its JSON.

        Raises:
            CodecError: If the JSON has an unknown format, is nested more than `MAX_DEPTH` deep, or
                refers to an array for the second time.
        """
        if depth > MAX_DEPTH:
            raise CodecError(f"the value is nested more than {MAX_DEPTH} levels deep")
        if isinstance(body, list):
            return self.sequence(self(item, depth + 1) for item in body)
        if isinstance(body, int) and abs(body) >= MAX_INT:
            return Other("an integer with more than 64 bits")
        if not isinstance(body, dict):
            return body
        match body:
            case {"$array": int(index)} if 0 <= index < len(self.arrays):
                if index in self.used:
                    raise CodecError(f"the value refers to array {int(index)} twice")
                self.used.add(index)
                return self.tensor(self.arrays[index], body.get("grad") is True)
            case {"$float": str(text)} if len(text) < FLOAT_LIMIT:
                try:
                    return float(text)
                except ValueError:
                    return math.nan
            case {"$dict": dict(items)}:
                return {key: self(item, depth + 1) for key, item in items.items()}
            case {"$other": str(kind)}:
                return Other(kind[:KIND_LIMIT])
            case {"$ref": int(number), "type": str(kind)}:
                return self.reference(number, kind)
        raise CodecError("")

    def expect_all_used(self) -> None:
        """Refuse a frame with an array that no value refers to.

        Raises:
            CodecError: If there is one.
        """
        if unused := len(self.arrays) - len(self.used):
            raise CodecError(f"the value does not use {unused} of the message's arrays")
