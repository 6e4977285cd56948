"""Reads a torchvision Dataset item by item into two tensors."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

PROBED_ITEMS = 16


def read_items(dataset: Any) -> tuple[Tensor, Tensor]:
    """Read every (image, label) item of a Dataset.

    Args:
        dataset: Has a length, and returns (image, label) for an index. An image is a tensor, an
            array or a PIL image.

    Returns:
        images (N, …), float32 or uint8 like the items (PIL images and arrays (H, W[, C]) become
        (C, H, W)), and labels int64 (N,).

    Raises:
        TypeError: An item is not a pair of an image and a number.
        ValueError: The images differ in shape.
    """
    images, labels = [], []
    for index in range(len(dataset)):
        image, label = _read_item(dataset, index)
        images.append(image)
        labels.append(label)
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise ValueError(
            f"The images of this Dataset differ in shape ({sorted(shapes)[:3]} …). "
            "Use a transform that makes the shapes equal (Resize, CenterCrop)."
        )
    if not images:
        return torch.empty(0), torch.empty(0, dtype=torch.int64)
    return torch.stack(images), torch.tensor(labels, dtype=torch.int64)


def varies_between_reads(dataset: Any) -> bool:
    """Return whether items change when they are read twice.

    Up to 16 items, evenly distributed over the set, are read twice. The random state of torch
    does not change. A transform that acts very rarely may not be detected.
    """
    count = min(PROBED_ITEMS, len(dataset))
    probes = [index * len(dataset) // count for index in range(count)]
    with torch.random.fork_rng(devices=[]):
        return any(
            not torch.equal(_read_item(dataset, index)[0], _read_item(dataset, index)[0])
            for index in probes
        )


def _read_item(dataset: Any, index: int) -> tuple[Tensor, int]:
    item = dataset[index]
    try:
        image, label = item
        return _to_tensor(image), int(label)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"Item {index} of this Dataset is not (image, label) with an image and a number, but "
            f"{type(item).__name__}."
        ) from error


def _to_tensor(image: Any) -> Tensor:
    """Convert an image to a tensor. An image that is not a tensor has its channels last."""
    if isinstance(image, Tensor):
        return image
    array = np.array(image)
    if array.ndim not in (2, 3):
        raise TypeError(f"no image: shape {array.shape}")
    if array.ndim == 2:
        array = array[:, :, None]
    return torch.from_numpy(array.transpose(2, 0, 1).copy())
