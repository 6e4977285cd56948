"""The errata of the original sheet in the two terms of the loss, which are total sums here.

Outputs x and images y are (N, ...); mu and sigma, the standard deviation, are (N, Z).
"""

import torch.nn.functional as F

from autograder.checks.vocabulary import Mistake

RECON_MISTAKES = (
    Mistake(
        "recon_swapped",
        "Output and image are swapped in your cross-entropy, as in the formula on the assignment's "
        "original sheet (an erratum). The logarithm is of the output, which comes first.",
        lambda x, y: F.binary_cross_entropy(y, x, reduction="sum"),
    ),
)
PRINTED = (
    "kl_as_printed",
    "Your KL is the one printed on the assignment's original sheet, and that is an erratum: it is "
    "not 0 at N(0, I), and it is smallest at σ = 1/√2.",
)
KL_MISTAKES = (
    Mistake(*PRINTED, lambda m, s: (m**2 + s**2 - s.log() - 0.5).sum()),
    Mistake(*PRINTED, lambda m, s: (m**2 + s**2 - s.log() - 0.5).mean()),
    Mistake(*PRINTED, lambda m, s: (m**2 + s**2 - s.log()).sum() - 0.5),
)
