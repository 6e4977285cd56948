"""Errata of the original sheet in the two terms of the loss, which are total sums here.

Outputs x and images y are (N, ...); mu and sigma, the standard deviation, are (N, Z).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from autograder.checks.vocabulary import Mistake

RECON_MISTAKES = (
    Mistake(
        "recon_swapped",
        "Output and image are swapped in your cross-entropy, as in the formula on the "
        "assignment's original sheet (an erratum). Take the logarithm of the output, which is "
        "the first argument.",
        lambda x, y: F.binary_cross_entropy(y, x, reduction="sum"),
    ),
)
PRINTED = (
    "kl_as_printed",
    "Your KL is the formula on the assignment's original sheet, which is an erratum: it is not "
    "0 at N(0, I), and its minimum is at σ = 1/√2.",
)


def _log_of(total: Callable[[torch.Tensor], torch.Tensor], what: str) -> Mistake:
    """Return the mistake of a logarithm that is taken after a sum or a mean of σ."""
    return Mistake(
        "kl_log_of_sum",
        f"Your KL takes the logarithm of the {what} of sigma. Take the logarithm of each sigma "
        "first, and then the sum.",
        lambda m, s: (0.5 * (m**2 + s**2 - 1)).sum() - total(s).log().sum(),
    )


KL_MISTAKES = (
    _log_of(torch.sum, "sum"),
    _log_of(torch.mean, "mean"),
    _log_of(lambda s: s.sum(1), "sum"),
    _log_of(lambda s: s.mean(1), "mean"),
    Mistake(*PRINTED, lambda m, s: (m**2 + s**2 - s.log() - 0.5).sum()),
    Mistake(*PRINTED, lambda m, s: (m**2 + s**2 - s.log() - 0.5).mean()),
    Mistake(*PRINTED, lambda m, s: (m**2 + s**2 - s.log()).sum() - 0.5),
)
