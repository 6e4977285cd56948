"""Reads a torchvision Dataset item by item into two tensors."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

PROBED_ITEMS = 16


def read_items(dataset: Any) -> tuple[Tensor, Tensor]:
    """Read every (image, label) item of a Dataset.

    Args:
        dataset: has a length and gives (image, label) by index; an image is a tensor, an array or
            a PIL image.

    Returns:
        images (N, …), float32 or uint8 as the items are (PIL and arrays (H, W[, C]) become
        (C, H, W)), and labels int64 (N,).

    Raises:
        TypeError: an item isn't a pair of an image and a number.
        ValueError: the images differ in shape.
    """
    images, labels = [], []
    for index in range(len(dataset)):
        image, label = _read_item(dataset, index)
        images.append(image)
        labels.append(label)
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise ValueError(
            f"The images of this Dataset differ in shape ({sorted(shapes)[:3]} …): "
            "give it a transform that makes them equal (Resize, CenterCrop)."
        )
    if not images:
        return torch.empty(0), torch.empty(0, dtype=torch.int64)
    return torch.stack(images), torch.tensor(labels, dtype=torch.int64)


def varies_between_reads(dataset: Any) -> bool:
    """Say whether items come out differently when they are read twice.

    A few items spread over the set are read, without disturbing torch's random state. A transform
    that acts very rarely can slip through.
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
            f"Item {index} of this Dataset isn't (image, label) with an image and a number: "
            f"{type(item).__name__}."
        ) from error


def _to_tensor(image: Any) -> Tensor:
    """Make a tensor of an image; one that isn't a tensor has its channels last."""
    if isinstance(image, Tensor):
        return image
    array = np.array(image)
    if array.ndim not in (2, 3):
        raise TypeError(f"no image: shape {array.shape}")
    if array.ndim == 2:
        array = array[:, :, None]
    return torch.from_numpy(array.transpose(2, 0, 1).copy())
