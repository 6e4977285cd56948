"""Records several named losses, one number per epoch.

Better than lists in a dict: it weights batches by size, waits for no GPU, and reports NaN.
"""

import math
from collections.abc import Mapping

from torch import Tensor

Number = float | Tensor


class History(dict[str, list[float]]):
    """Losses by name: a list with one number per epoch. `history["loss"][-1]` is the latest.

    It is a dict, so every function that plots or saves a dict of lists accepts it. Pass the losses
    of a whole epoch to `add`. Or pass the losses of each batch to `step`, and end the epoch with
    `add`: the epoch's loss is then the mean over its images.

    Example:
        >>> history = History()
        >>> for loss in (4.0, 2.0):  # two batches, of 30 and of 10 images
        ...     history.step(30 if loss == 4.0 else 10, loss=loss)
        >>> history.add(val_loss=3.0)
        >>> dict(history)
        {'val_loss': [3.0], 'loss': [3.5]}
    """

    def __init__(self, losses: Mapping[str, list[float]] | None = None) -> None:
        super().__init__({name: list(values) for name, values in (losses or {}).items()})
        self._sums: dict[str, Number] = {}
        self._images: dict[str, int] = {}

    def step(self, n: int, **losses: Number) -> None:
        """Add the losses of one batch. Each loss is the mean over the images of the batch.

        Tensors are summed on their own device and without gradient, so a GPU does not have to wait.

        Args:
            n: Number of images in the batch.
            losses: Numbers, or tensors of one element.

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
            raise ValueError(f"n is the number of images in a batch: expected 1 or more, got {n}.")
        for name, loss in losses.items():
            value = _detached(name, loss)
            self._sums[name] = self._sums.get(name, 0.0) + value * n
            self._images[name] = self._images.get(name, 0) + n

    def add(self, **losses: Number) -> None:
        """End an epoch: record these losses, and the means of the losses that `step` added.

        Args:
            losses: Numbers, or tensors of one element. NaN and infinity are recorded, and a
                printed line reports them.

        Raises:
            ValueError: The names differ from those of the previous epochs, or there is no loss.

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
                "Every epoch needs the same names of losses: "
                f"previous epochs {sorted(self)}, this epoch {sorted(epoch)}."
            )
        self._sums, self._images = {}, {}
        for name, value in epoch.items():
            losses_so_far = self.setdefault(name, [])
            losses_so_far.append(value)
            if not math.isfinite(value):
                print(f"Epoch {len(losses_so_far)}: {name} is {value}")


def _detached(name: str, loss: Number) -> Number:
    if not isinstance(loss, Tensor):
        return float(loss)
    if loss.numel() != 1:
        raise ValueError(
            f"{name} has shape {tuple(loss.shape)}, expected one number, for example the mean."
        )
    return loss.detach().reshape(())
