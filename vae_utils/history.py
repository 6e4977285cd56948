"""History: several named losses, one number an epoch each."""

import math
from collections.abc import Mapping

from torch import Tensor

Number = float | Tensor


class History(dict[str, list[float]]):
    """Losses by name, a list with one number an epoch: `history["loss"][-1]` is the latest.

    It is a dict, so that whatever plots or saves a dict of lists takes it. Either give the numbers
    of a whole epoch to `add`, or those of each batch to `step` and end the epoch with `add`: what
    `step` collected becomes the mean over the images of the epoch.

    Example:
        >>> history = History()
        >>> for loss in (4.0, 2.0):  # two batches, of 30 and of 10 images
        ...     history.step(30 if loss == 4.0 else 10, loss=loss)
        >>> history.add(val_loss=3.0)
        >>> dict(history)
        {'val_loss': [3.0], 'loss': [3.5]}
        >>> history.latest()
        'val_loss 3 | loss 3.5'
    """

    def __init__(self, losses: Mapping[str, list[float]] | None = None) -> None:
        super().__init__({name: list(values) for name, values in (losses or {}).items()})
        self._sums: dict[str, Number] = {}
        self._images: dict[str, int] = {}

    @property
    def epochs(self) -> int:
        """Epochs recorded so far."""
        return max((len(values) for values in self.values()), default=0)

    def step(self, n: int, **losses: Number) -> None:
        """Collect the losses of one batch, each the mean over its images.

        Tensors are added up where they are, without gradient, so that a GPU needn't wait.

        Args:
            n: images in the batch.
            losses: numbers, or tensors of one element.

        Raises:
            ValueError: n is below 1, or a loss has several elements.

        Example:
            >>> history = History()
            >>> history.step(128, bce=90.0, kl=20.0)
            >>> history.add()
            >>> dict(history)
            {'bce': [90.0], 'kl': [20.0]}
        """
        if n < 1:
            raise ValueError(f"A batch has 1 image or more, not {n}.")
        for name, loss in losses.items():
            value = _detached(name, loss)
            self._sums[name] = self._sums.get(name, 0.0) + value * n
            self._images[name] = self._images.get(name, 0) + n

    def add(self, **losses: Number) -> None:
        """End an epoch: record these losses, and the means of what `step` collected.

        Args:
            losses: numbers, or tensors of one element. A NaN is recorded as it is and reported in
                a printed line.

        Raises:
            ValueError: the names aren't those of the epochs before, or there is none.

        Example:
            >>> history = History()
            >>> history.add(loss=0.5)
            >>> history.add(loss=float("nan"))
            Epoch 2: loss is nan
        """
        epoch = {name: float(_detached(name, loss)) for name, loss in losses.items()}
        for name, total in self._sums.items():
            epoch.setdefault(name, float(total) / self._images[name])
        if not epoch or (self and set(epoch) != set(self)):
            raise ValueError(
                f"Each epoch needs the same losses: so far {sorted(self)}, now {sorted(epoch)}."
            )
        self._sums, self._images = {}, {}
        for name, value in epoch.items():
            self.setdefault(name, []).append(value)
            if not math.isfinite(value):
                print(f"Epoch {self.epochs}: {name} is {value}")

    def latest(self) -> str:
        """Say the latest epoch's losses in one line.

        Example:
            >>> History({"loss": [140.0, 119.23456]}).latest()
            'loss 119.2'
        """
        return " | ".join(f"{name} {values[-1]:.4g}" for name, values in self.items() if values)


def _detached(name: str, loss: Number) -> Number:
    if not isinstance(loss, Tensor):
        return float(loss)
    if loss.numel() != 1:
        raise ValueError(
            f"{name} has shape {tuple(loss.shape)}: give one number, for instance its mean."
        )
    return loss.detach().reshape(())
