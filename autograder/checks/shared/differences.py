"""A term of a loss, measured as a difference of losses, and its rounding error."""

from collections.abc import Callable
from typing import Any

import torch

# Calls a submission's loss with x_hat, x, mu and logvar.
Loss = Callable[..., torch.Tensor]
Term = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
# Each loss is rounded to float32 after each of its last steps: the sum and the mean.
ULPS = 4


def rounding_of(loss: float) -> float:
    """Return the rounding error of a difference of two float32 losses, the larger one given."""
    return ULPS * torch.finfo(torch.float32).eps * abs(loss)


class Difference:
    """A term that is measured as a difference of losses.

    If the other term of the loss is very large, the difference has few right digits.

    Args:
        whole: The submission's loss.
        term: Makes the function that measures the term, from the loss.
    """

    def __init__(self, whole: Loss, term: Callable[[Loss], Term]):
        self._whole, self._largest = whole, 0.0
        self._term = term(self._recorded)

    def __call__(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Measure the term."""
        self._largest = 0.0
        return self._term(first, second)

    @property
    def rounding(self) -> float:
        """The rounding error of the term that was measured last."""
        return rounding_of(self._largest)

    def _recorded(self, *inputs: Any) -> torch.Tensor:
        got = self._whole(*inputs)
        self._largest = max(self._largest, float(got.detach().abs()))
        return got


def rounding(term: Term) -> float:
    """Return the rounding error of the value that a term has returned last."""
    return term.rounding if isinstance(term, Difference) else 0.0
