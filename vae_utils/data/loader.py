"""A loader that keeps the whole set in memory as one tensor: one index operation per batch."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from vae_utils.data.image_set import ImageSet
from vae_utils.data.materialise import read_items, varies_between_reads

Batch = tuple[Tensor, Tensor]
NO_LABEL = -1


def make_loader(
    dataset: Any,
    batch_size: int = 128,
    shuffle: bool = True,
    seed: int = 0,
    device: str | torch.device | None = None,
    transform: Callable[[Tensor], Tensor] | None = None,
    drop_last: bool = False,
    *,
    raw: bool = False,
    dequantize: bool = False,
) -> "Loader":
    """Create a loader that yields batches `(x, y)` of a data set in memory.

    Use it like a torch `DataLoader`. It is many times faster, because it does not read, convert
    and copy the images one by one.

    Args:
        dataset: An `ImageSet`, a tensor of images (N, …), a pair (images, labels) of tensors, or
            any torchvision `Dataset` of (image, label) items with its own `transform`. A Dataset
            is read once, in this call. If its items change from read to read (a random
            transform), it is read again for every epoch, so that the items stay random. This
            takes as long as a DataLoader.
        batch_size: Images per batch. The last batch may be smaller.
        shuffle: True: a new order in every epoch. False: always the order of the set.
        seed: The same seed gives the same batches in each epoch.
        device: The set is moved to this device once. None: the set stays on its device.
        transform: Called on every batch of images (B, C, H, W), float in [0, 1]. Its result is
            yielded as x. A random transform samples once for each batch. `ToTensor` (alone or in
            a `Compose`) is skipped, because the batches are float tensors already.
        drop_last: Skip a last batch that is smaller.
        raw: Yield the stored uint8 images.
        dequantize: Yield (x + u)/256, where x is the stored 0…255 and u is uniform in [0, 1).
            This noise makes the grey levels continuous.

    Returns:
        The loader. By default x is float32 (B, C, H, W), x/255 in [0, 1]. Float images are yielded
        unchanged. y is int64 (B,), and −1 if there are no labels.

    Raises:
        ValueError: The batch size is wrong, the set is empty, images contain NaN, or options
            exclude each other.
        TypeError: `dataset` is not a data set.

    Example:
        >>> loader = make_loader(load_dataset("mnist", quiet=True), batch_size=64)
        >>> x, y = next(iter(loader))
        >>> x.shape, x.dtype, y.dtype
        (torch.Size([64, 1, 28, 28]), torch.float32, torch.int64)
        >>> len(loader), len(loader.dataset)
        (141, 9000)
    """
    if int(batch_size) != batch_size or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number, 1 or more, got {batch_size!r}.")
    if raw and (dequantize or transform is not None):
        raise ValueError("raw=True yields the stored bytes. It excludes dequantize and transform.")
    images, labels, is_random = _as_tensors(dataset)
    if (raw or dequantize) and images.dtype != torch.uint8:
        raise ValueError(f"raw and dequantize need uint8 images, got {images.dtype}.")
    return Loader(
        dataset=dataset,
        images=images.to(device),
        labels=labels.to(device),
        batch_size=int(batch_size),
        shuffle=shuffle,
        seed=seed,
        transform=_without_to_tensor(transform),
        drop_last=drop_last,
        raw=raw,
        dequantize=dequantize,
        reread=is_random,
    )


class Loader:
    """Batches of a set in memory. Use `make_loader` to create it.

    Attributes:
        dataset: The first argument of `make_loader`.
        batch_size: Images per batch.
        epoch: Number of epochs so far. Set it to continue an interrupted run: the order of an
            epoch depends only on the seed and on this number.
    """

    def __init__(
        self,
        dataset: Any,
        images: Tensor,
        labels: Tensor,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        transform: Callable[[Tensor], Tensor] | None,
        drop_last: bool,
        raw: bool,
        dequantize: bool,
        reread: bool,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.epoch = 0
        self._images = images
        self._labels = labels
        self._shuffle = shuffle
        self._seed = seed
        self._transform = transform
        self._drop_last = drop_last
        self._raw = raw
        self._dequantize = dequantize
        self._reread = reread

    def __len__(self) -> int:
        batches = len(self._images) / self.batch_size
        return math.floor(batches) if self._drop_last else math.ceil(batches)

    def __repr__(self) -> str:
        return (
            f"Loader({len(self._images):,} images {tuple(self._images.shape[1:])} on "
            f"{self._images.device}, {len(self)} batches of {self.batch_size})"
        )

    @property
    def device(self) -> torch.device:
        """The device of the set and of the batches."""
        return self._images.device

    def __iter__(self) -> Iterator[Batch]:
        epoch_seed = self._epoch_seed()
        if self._reread and self.epoch > 0:
            images, labels = read_items(self.dataset)
            self._images = images.to(self.device)
            self._labels = labels.to(self.device)
        self.epoch += 1
        images, labels = self._images, self._labels
        noise = torch.Generator(device=images.device).manual_seed(epoch_seed)
        order = self._order(epoch_seed)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            batch = slice(start, start + self.batch_size)
            if order is None:
                x, y = (
                    images[batch].clone(),
                    labels[batch].clone(),
                )  # not views of the set
            else:
                x, y = images.index_select(0, order[batch]), labels.index_select(0, order[batch])
            yield self._finish(x, noise), y

    def _epoch_seed(self) -> int:
        # The generator uses 32 bits of a seed. The factor keeps pairs (seed, epoch) distinct.
        return (self._seed * 1_000_003 + self.epoch) % 2**32

    def _order(self, epoch_seed: int) -> Tensor | None:
        """Sample an epoch's order on the CPU, so that it is the same on every device."""
        if not self._shuffle:
            return None
        generator = torch.Generator().manual_seed(epoch_seed)
        return torch.randperm(len(self._images), generator=generator).to(self.device)

    def _finish(self, x: Tensor, noise: torch.Generator) -> Tensor:
        if self._raw:
            return x
        if self._dequantize:
            u = torch.rand(x.shape, generator=noise, device=x.device)
            x = (x + u) / 256
        elif x.dtype == torch.uint8:
            x = x / 255
        return x if self._transform is None else self._transform(x)


def _as_tensors(dataset: Any) -> tuple[Tensor, Tensor, bool]:
    """Return images, labels, and whether the items of the set are random."""
    if isinstance(dataset, torch.utils.data.DataLoader):
        raise TypeError("make_loader needs a data set. For a DataLoader, pass its .dataset.")
    is_random = False
    if isinstance(dataset, ImageSet):
        images, labels = dataset.images, dataset.labels
    elif isinstance(dataset, Tensor):
        images, labels = dataset, torch.full((len(dataset),), NO_LABEL)
    elif _is_pair_of_tensors(dataset):
        images, labels = dataset
    elif hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
        is_random = varies_between_reads(dataset)
        images, labels = read_items(dataset)
    else:
        raise TypeError(
            "make_loader needs an ImageSet, a tensor, a pair of tensors or a Dataset with a "
            f"length, got {type(dataset).__name__}."
        )
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(f"The set has {len(images):,} images and {len(labels):,} labels.")
    _require_finite(images)
    return images.detach(), labels.detach(), is_random


def _is_pair_of_tensors(dataset: Any) -> bool:
    return (
        isinstance(dataset, tuple | list)
        and len(dataset) == 2
        and all(isinstance(part, Tensor) for part in dataset)
    )


def _require_finite(images: Tensor) -> None:
    """Raise an error on NaN or infinity, because training on them makes a model NaN."""
    if not images.is_floating_point():
        return
    bad = ~torch.isfinite(images).flatten(1).all(dim=1)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum()):,} of {len(images):,} images contain NaN or infinity, the first at "
            f"index {int(bad.nonzero()[0])}. Correct or remove them."
        )


def _without_to_tensor(transform: Any) -> Any:
    """Remove ToTensor, alone or in a Compose: batches are float tensors in [0, 1] already."""
    if type(transform).__name__ == "ToTensor":
        return None
    if type(transform).__name__ == "Compose":
        steps = [step for step in transform.transforms if type(step).__name__ != "ToTensor"]
        return type(transform)(steps) if steps else None
    return transform
