"""Converts the inputs of figures: images, codes and labels of any usual shape, or a clear error."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from vae_utils.plots.style import NAN_COLOUR, class_names_for, number_text

ArrayLike: TypeAlias = torch.Tensor | NDArray[Any] | Sequence[Any]

ROUNDING = 1e-6  # a sigmoid in float32 can be this far outside [0, 1]; not counted as outside
IMAGE_SHAPES = "(N, H*W), (N, H, W), (N, 1, H, W) or (N, 3, H, W)"


@dataclass(frozen=True)
class Images:
    """Images converted for plotting, and what was changed in them.

    Attributes:
        pixels: `(N, H, W, 3)` float in [0, 1]. Grey images have three equal channels. NaN pixels
            have the colour `NAN_COLOUR`.
        total: Number of values in the input.
        nan_count: Number of NaN values in the input.
        outside_count: Number of values that were outside [0, 1] and were clipped.
        low: Smallest value in the input, without NaN.
        high: Largest value in the input, without NaN.
    """

    pixels: NDArray[np.float64]
    total: int
    nan_count: int
    outside_count: int
    low: float
    high: float

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of one image, in pixels."""
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def notes(self) -> list[str]:
        """What a viewer must know about NaN and clipped values. Empty if there are none."""
        notes = []
        if self.nan_count:
            notes.append(f"{_count(self.nan_count, 'NaN value')} of {self.total:,}, in magenta")
        if self.outside_count:
            share = f"{100 * self.outside_count / self.total:.2g} %"
            reach = f"{number_text(self.low)} to {number_text(self.high)}"
            notes.append(f"{share} of values outside [0, 1] ({reach}), clipped")
        return notes


@dataclass(frozen=True)
class Points:
    """Codes that can be plotted, and the rows that they come from.

    Attributes:
        values: `(M, Z)` float64, finite.
        kept: `(N,)` bool, True for the rows of the input that are in `values`.
    """

    values: NDArray[np.float64]
    kept: NDArray[np.bool_]

    @property
    def notes(self) -> list[str]:
        """How many codes cannot be plotted. Empty if all can."""
        lost = int((~self.kept).sum())
        if not lost:
            return []
        return [f"{_count(lost, 'code')} of {len(self.kept):,} with NaN or infinity, not drawn"]


def as_images(images: ArrayLike, what: str = "images") -> Images:
    """Convert a batch of images for plotting.

    Floats are intensities in [0, 1]. Integers are 0 to 255, or binary images if no value is above
    1. Values outside are clipped and counted. NaNs are coloured and counted.

    Args:
        images: `(N, H*W)` of square images, `(N, H, W)`, `(N, 1, H, W)`, `(N, 3, H, W)` or
            `(N, 3*H*W)`. Channels may also be the last dimension. A tensor (any device, with or
            without gradient) or an array, of any real dtype.
        what: Name of the argument in the error.

    Raises:
        ValueError: There are no images, the shape is another one, or values are not real numbers.

    Example:
        >>> batch = as_images(torch.rand(4, 784, requires_grad=True))
        >>> batch.pixels.shape, batch.notes
        ((4, 28, 28, 3), [])
    """
    array = to_numpy(images, what)
    channels_last = _with_channels_last(array, what)
    values = channels_last.astype(np.float64)
    if array.dtype.kind in "iu" and values.max() > 1:
        values /= 255
    missing = np.isnan(values)
    outside = (values < -ROUNDING) | (values > 1 + ROUNDING)
    known = values[~missing]
    return Images(
        pixels=_painted(np.clip(values, 0, 1), missing),
        total=values.size,
        nan_count=int(missing.sum()),
        outside_count=int(outside.sum()),
        low=float(known.min()) if known.size else float("nan"),
        high=float(known.max()) if known.size else float("nan"),
    )


def as_image(image: ArrayLike, what: str = "image") -> Images:
    """Convert one image for plotting: like `as_images`, but the batch dimension may be missing.

    Example:
        >>> as_image(torch.rand(1, 28, 28)).pixels.shape
        (1, 28, 28, 3)
    """
    array = to_numpy(image, what)
    is_flat = array.ndim == 1
    is_plane = array.ndim == 2 and array.shape[0] != 1
    is_channels_first = array.ndim == 3 and array.shape[0] == 3
    batch = as_images(array[None] if is_flat or is_plane or is_channels_first else array, what)
    if len(batch) != 1:
        raise ValueError(f"{what} must be a single image, but has {len(batch)} images.")
    return batch


def as_points(codes: ArrayLike, what: str = "codes", dims: int | None = None) -> Points:
    """Convert a batch of codes for plotting. Rows with NaN or infinity are removed and counted.

    Args:
        codes: `(N, Z)` tensor or array.
        what: Name of the argument in the error.
        dims: The number of dimensions Z that the figure needs. None: any number.

    Raises:
        ValueError: The shape is another one, or no row can be plotted.

    Example:
        >>> as_points(torch.tensor([[0.0, 1.0], [float("nan"), 2.0]])).values
        array([[0., 1.]])
    """
    array = to_numpy(codes, what)
    needed = f"(N, {dims})" if dims else "(N, Z)"
    if array.ndim != 2 or array.size == 0 or (dims and array.shape[1] != dims):
        raise ValueError(f"{what} must have shape {needed}, but have {array.shape}.")
    values = array.astype(np.float64)
    kept = np.asarray(np.isfinite(values).all(axis=1))
    if not kept.any():
        raise ValueError(f"{what} must have at least one row without NaN or infinity.")
    return Points(values[kept], kept)


@dataclass(frozen=True)
class Labels:
    """Classes of points or images.

    Attributes:
        index: `(N,)` int, the class of each item, an index into `names`. It also selects colour and
            marker, so that digit 3 looks the same in every figure.
        names: Name of each class.
    """

    index: NDArray[np.int64]
    names: list[str]

    def name(self, i: int) -> str:
        """The name of the class of item `i`."""
        return self.names[self.index[i]]

    def present(self) -> list[int]:
        """Return the classes that occur, in order."""
        return [int(k) for k in np.unique(self.index)]


def as_labels(labels: ArrayLike, count: int, class_names: Sequence[str] | None = None) -> Labels:
    """Convert labels for plotting.

    Args:
        labels: `(N,)` whole numbers from 0, or any other values (for example text). The classes are
            then the distinct values in sorted order.
        count: N, the number of items that the labels belong to.
        class_names: Names of classes 0, 1, 2, …. By default the numbers.

    Raises:
        ValueError: The shape or length is another one, or a label has no name.

    Example:
        >>> as_labels(["cat", "dog", "cat"], count=3).index
        array([0, 1, 0])
    """
    array = to_numpy(labels, "labels", kinds="biufUSO")
    if array.shape != (count,):
        raise ValueError(f"labels must have shape ({count},), but have {array.shape}.")
    if array.dtype.kind == "f" and np.array_equal(array, np.round(array)):
        array = array.astype(np.int64)
    if array.dtype.kind in "biu" and array.min() >= 0:
        index = array.astype(np.int64)
        return Labels(index, class_names_for(int(index.max()) + 1, class_names))
    values, index = np.unique(array, return_inverse=True)
    return Labels(index.astype(np.int64), [str(value) for value in values])


def count_of(values: ArrayLike, what: str) -> int:
    """Return the number of rows of a batch, without moving it to another device.

    Raises:
        ValueError: The value is a single number.

    Example:
        >>> count_of(torch.zeros(5, 784), "images")
        5
    """
    if getattr(values, "ndim", 1) == 0:
        raise ValueError(f"{what} must be a batch, got a single number.")
    return len(values)


def to_numpy(values: ArrayLike, what: str, kinds: str = "biuf") -> NDArray[Any]:
    """Convert a tensor (any device, gradient or not), an array or a list to a NumPy array.

    Raises:
        ValueError: The values have none of the dtype `kinds` (NumPy's letters), or the rows of a
            list differ in length.

    Example:
        >>> to_numpy(torch.ones(2, dtype=torch.bfloat16, requires_grad=True), "codes")
        array([1., 1.], dtype=float32)
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        # NumPy has no bfloat16.
        values = values.float() if values.dtype == torch.bfloat16 else values
        array: NDArray[Any] = values.numpy()
    elif isinstance(values, list | tuple) and values and isinstance(values[0], torch.Tensor):
        return to_numpy(torch.stack([item.detach().cpu() for item in values]), what, kinds)
    else:
        try:
            array = np.asarray(values)
        except ValueError:
            raise ValueError(f"{what} must all have the same shape.") from None
    if array.dtype.kind not in kinds:
        raise ValueError(f"{what} must be real numbers, but their dtype is {array.dtype}.")
    return array


def _with_channels_last(array: NDArray[Any], what: str) -> NDArray[Any]:
    """Return `(N, H, W, 1)` or `(N, H, W, 3)`, or raise an error that lists the valid shapes."""
    shape = array.shape
    if array.size:
        if array.ndim == 2:
            for channels in (1, 3):
                side = round((shape[1] / channels) ** 0.5)
                if side > 1 and channels * side**2 == shape[1]:
                    return np.moveaxis(array.reshape(-1, channels, side, side), 1, -1)
        if array.ndim == 3:
            return array[..., None]
        if array.ndim == 4 and shape[1] in (1, 3):
            return np.moveaxis(array, 1, -1)
        if array.ndim == 4 and shape[3] in (1, 3):
            return array
    raise ValueError(f"{what} must have shape {IMAGE_SHAPES}, but have {shape}.")


def _painted(values: NDArray[np.float64], missing: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return three channels for grey images, and colour the pixels with NaN."""
    pixels = np.repeat(values, 3, axis=-1) if values.shape[-1] == 1 else values
    pixels[missing.any(axis=-1)] = to_rgb(NAN_COLOUR)
    return pixels


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' if number != 1 else ''}"
