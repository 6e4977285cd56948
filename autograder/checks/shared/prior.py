"""Checks of codes that should come from the prior N(0, I), shared by several assignments.

Means and spreads are let pass within six standard errors; see `sampling`. The kurtosis of a few
thousand numbers strays further upwards than a Gaussian would, so it is let pass within eight: with
its skewness of 14.7 / √n, less than once in a thousand million runs fail at n = 6,000.
"""

import math

import torch

from autograder.checks.shared.sampling import STANDARD_ERRORS
from autograder.checks.vocabulary import expect

# Where a stand-in for the encoder puts its codes, for `expect_prior_codes` to know them by.
ENCODED = 5.0
KURTOSIS_ERRORS = 8.0


def expect_prior_codes(z: torch.Tensor) -> None:
    """Expect independent standard normal numbers.

    Args:
        z: The codes of many draws, (n, 2).
    """
    n, latents = z.shape
    count = n * latents
    expect(
        abs(float(z.mean()) - ENCODED) > 1,
        "The codes are not centred on 0. Without an image there is no posterior: where does z come "
        "from?",
        "posterior_for_prior",
    )
    expect(
        len(z[:, 0].unique()) > n // 2,
        "All samples of a call share one code, or the code does not vary: draw one for each.",
        "shared_code",
    )
    mean, spread = float(z.mean()), float(z.std())
    uniform = abs(spread - 1 / math.sqrt(12)) < 0.01
    expect(
        abs(mean) <= STANDARD_ERRORS * spread / math.sqrt(count),
        f"The codes are not centred on 0, but on {mean:.2g}: the prior is N(0, I).",
        "uniform_noise" if uniform else None,
    )
    # Correlations of independent numbers have a standard error of 1 / √n.
    correlation = float(torch.corrcoef(z.T)[0, 1]) if float(z.std(0).min()) > 0 else 1.0
    expect(
        abs(correlation) <= STANDARD_ERRORS / math.sqrt(n),
        "The latents of one code are not independent: draw a number for each.",
        "shared_noise",
    )
    expect(
        abs(spread - 1) <= STANDARD_ERRORS / math.sqrt(2 * count),
        f"The codes do not have the prior's spread: their standard deviation is {spread:.3g}, and "
        "that of N(0, I) is one.",
        "prior_spread",
    )
    kurtosis = float(((z - mean) ** 4).mean() / spread**4)
    expect(
        abs(kurtosis - 3) <= KURTOSIS_ERRORS * math.sqrt(24 / count),
        f"The codes do not look Gaussian: their kurtosis should be 3, and is {kurtosis:.2f}.",
        "uniform_noise" if abs(kurtosis - 1.8) < 0.1 else None,
    )
