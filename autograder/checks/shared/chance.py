"""How far statistics of right random numbers may be off.

Each bound is missed by right work with a probability of about `MISS`; a check with several
statistics adds up their probabilities and stays below `LIMIT`. `tests/autograder/test_chance.py`
computes the probabilities.
"""

import math
from statistics import NormalDist

# The probability that right work misses one bound, and the limit for all bounds of one check.
MISS, LIMIT = 1e-10, 1e-9
# A Gaussian number is farther than this many deviations from its mean with that probability.
ERRORS = NormalDist().inv_cdf(1 - MISS / 2)
# The bounds of `kurtosis_range` hold from this number of samples on.
LEAST_FOR_KURTOSIS = 8_000


def mean_error(deviation: float, n: int) -> float:
    """Return the largest error of the mean of n numbers with this standard deviation."""
    return ERRORS * deviation / math.sqrt(n)


def deviation_error(sigma: float, n: int) -> float:
    """Return the largest error of the standard deviation of n Gaussian numbers.

    Its standard error is σ / √(2n).
    """
    return mean_error(sigma, 2 * n)


def share_error(n: int) -> float:
    """Return the largest error of the share of n events with the probability ½."""
    return mean_error(0.5, n)


def covariance_error(n: int) -> float:
    """Return the largest covariance of n pairs of independent events with the probability ½."""
    return mean_error(0.25, n)


def correlation_error(n: int) -> float:
    """Return the largest correlation of n pairs of independent Gaussian numbers.

    Its standard error is 1 / √n.
    """
    return mean_error(1.0, n)


def kurtosis_range(n: int) -> tuple[float, float]:
    """Return the smallest and the largest kurtosis of n Gaussian numbers; its mean is 3.

    Its standard error is √(24 / n). The distribution is skewed to the right, less so for large n;
    the number of standard errors follows from Chernoff bounds.

    Raises:
        ValueError: If n is too small for these bounds.
    """
    if n < LEAST_FOR_KURTOSIS:
        raise ValueError(f"{n} samples; the bounds of the kurtosis need {LEAST_FOR_KURTOSIS}")
    error = math.sqrt(24 / n)
    below, above = 6.5 + 200 / math.sqrt(n), 7 + 450 / math.sqrt(n)
    return 3 - below * error, 3 + above * error
