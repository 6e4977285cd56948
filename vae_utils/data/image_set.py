"""ImageSet: images and labels in memory, as two tensors."""

from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from vae_utils.data.catalog import CATALOG


@dataclass(frozen=True, eq=False)
class ImageSet:
    """All images of a data set and their labels, in memory.

    Args:
        images: uint8, (N, C, H, W), 0 to 255.
        labels: int64, (N,).
        name: The data set's name, as in `load_dataset`.
        origin: Where the images come from: "embedded", "full", "scikit-learn" or a folder.

    Raises:
        ValueError: A tensor has another dtype or shape, or the lengths differ.

    Example:
        >>> images = torch.zeros(5, 1, 28, 28, dtype=torch.uint8)
        >>> digits = ImageSet(images, torch.arange(5), name="mnist", origin="embedded")
        >>> len(digits)
        5
        >>> image, label = digits[3]
        >>> image.shape, label
        (torch.Size([1, 28, 28]), 3)
        >>> digits[1:3].labels
        tensor([1, 2])
    """

    images: Tensor
    labels: Tensor
    name: str
    origin: str

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4:
            raise ValueError(
                "ImageSet needs images of dtype uint8 and shape (N, C, H, W), but has "
                f"{self.images.dtype} and {tuple(self.images.shape)}."
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"ImageSet needs labels of dtype int64 and shape ({len(self.images)},), but has "
                f"{self.labels.dtype} and {tuple(self.labels.shape)}."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each label, "0" to "9" for digits. Empty for an unknown set."""
        return CATALOG[self.name].classes if self.name in CATALOG else ()

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, index: int) -> tuple[Tensor, int]: ...

    @overload
    def __getitem__(self, index: slice | Tensor | list[int]) -> "ImageSet": ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice | list) or (isinstance(index, Tensor) and index.dim() > 0):
            return self._pick(index)
        return self.images[index], int(self.labels[index])

    def __repr__(self) -> str:
        shape = "×".join(str(size) for size in self.images.shape[1:])
        return f"ImageSet({self.name}, {len(self):,} images {shape}, {self.origin})"

    def subset(self, n: int, seed: int = 0) -> "ImageSet":
        """Select n images at random, without repeats.

        Args:
            n: Number of images, 1 to len(self).
            seed: The same seed selects the same images.

        Returns:
            A new set of n images.

        Raises:
            ValueError: n is out of range.

        Example:
            >>> load_dataset("mnist", quiet=True).subset(100)
            ImageSet(mnist, 100 images 1×28×28, embedded)
        """
        if not 1 <= n <= len(self):
            raise ValueError(f"subset takes 1 to {len(self):,} images of this set, not {n}.")
        return self._pick(self._shuffled(seed)[:n])

    def split(self, fraction: float = 0.1, seed: int = 0) -> tuple["ImageSet", "ImageSet"]:
        """Split at random into a training part and a validation part.

        Args:
            fraction: Share of the images in the validation part, between 0 and 1.
            seed: The same seed gives the same split.

        Returns:
            (training, validation). Every image is in one of them, and neither is empty.

        Raises:
            ValueError: With this fraction one part would be empty.

        Example:
            >>> train, validation = load_dataset("mnist", quiet=True).split(0.1)
            >>> len(train), len(validation)
            (8100, 900)
        """
        held_out = round(fraction * len(self))
        if not 0 < held_out < len(self):
            raise ValueError(
                f"split needs a fraction that leaves both parts non-empty; {fraction} of "
                f"{len(self):,} images is {held_out:,} images."
            )
        order = self._shuffled(seed)
        return self._pick(order[held_out:]), self._pick(order[:held_out])

    def _shuffled(self, seed: int) -> Tensor:
        return torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))

    def _pick(self, index: slice | Tensor | list[int]) -> "ImageSet":
        return ImageSet(self.images[index], self.labels[index], self.name, self.origin)
