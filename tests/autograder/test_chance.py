"""The probability that right work fails a check that samples is at most 1e-9."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import optimize, stats

import autograder.checks
from autograder.checks.a02_denoising_autoencoder import noise
from autograder.checks.a09_gaussian_vae import dequantization
from autograder.checks.shared import chance, kl, sampling
from autograder.checks.shared.parameterization import LOGVAR

GRID = np.linspace(-12, 12, 12_001)
GAUSSIAN = stats.norm.pdf(GRID) * (GRID[1] - GRID[0])
CODES = 8_000  # the fewest numbers that `expect_prior_codes` gets: 20 × 200 codes of two


def log_tail(values, weights, n):
    """Return a Chernoff bound of the log of P(the mean of n values > 0)."""

    def bound(log_t):
        return n * np.log((np.exp(np.clip(np.exp(log_t) * values, -700, 700)) * weights).sum())

    return optimize.minimize_scalar(bound, bounds=(-9, 2), method="bounded").fun


def mean_tail(values, weights, n, error):
    """Return P(|mean of n values − their expectation| > error), by Lugannani and Rice (1980)."""
    weights = weights / weights.sum()
    centred = values - (values * weights).sum()
    total = 0.0
    for y in (centred, -centred):

        def tilted(t, y=y):
            e = np.exp(t * y) * weights
            mean = (e * y).sum() / e.sum()
            return np.log(e.sum()), mean, (e * y * y).sum() / e.sum() - mean**2

        high = 40 * error / (weights * y * y).sum()
        t = optimize.brentq(lambda t, f=tilted: f(t)[1] - error, 0, high)
        k, _, variance = tilted(t)
        w, u = math.sqrt(2 * n * (t * error - k)), t * math.sqrt(n * variance)
        total += stats.norm.sf(w) + stats.norm.pdf(w) * (1 / u - 1 / w)
    return total


def gaussian_mean(n):
    """Return the probability for the mean of n Gaussian numbers with estimated deviation."""
    return 2 * stats.t.sf(chance.mean_error(1, n) * math.sqrt(n), n - 1)


def gaussian_deviation(n):
    """Return the probability for the standard deviation of n Gaussian numbers."""
    error = chance.deviation_error(1, n)
    squares = [(n - 1) * (1 + sign * error) ** 2 for sign in (-1, 1)]
    return stats.chi2.cdf(squares[0], n - 1) + stats.chi2.sf(squares[1], n - 1)


def gaussian_correlation(n):
    """Return the probability for the correlation of n pairs: a t statistic."""
    r = chance.correlation_error(n)
    return 2 * stats.t.sf(r * math.sqrt((n - 2) / (1 - r * r)), n - 2)


def gaussian_kurtosis(n):
    """Return an upper bound of the probability for the kurtosis of n Gaussian numbers.

    Let m be the mean and M2, M3, M4 the mean powers. No |x| is above `top`, |m| is at most a, and
    |M3 − 3 m| at most b; each fails with a small probability. So the kurtosis differs from M4 / M2²
    by at most `slack`. With M2² ≥ 2 M2 − 1, and M2² ≤ 2 M2 − 1 + η² if |M2 − 1| ≤ η, each side is
    a mean of polynomials of x: a Chernoff bound.
    """
    low, high = chance.kurtosis_range(n)
    a, b = stats.norm.isf(1e-12) / math.sqrt(n), 8 * math.sqrt(6 / n)
    top = stats.norm.isf(1e-12 / n)
    inside, eta = np.where(abs(GRID) <= top, GAUSSIAN, 0), 7.2 * math.sqrt(2 / n)
    slack = 4 * a * b + 20 * a**4 + 30 * a * a * 8 * math.sqrt(2 / n)
    third = 2 * math.exp(log_tail(GRID**3 - 3 * GRID - b, inside, n))
    second = stats.chi2.sf(n * (1 + eta), n) + stats.chi2.cdf(n * (1 - eta), n)
    top_side, low_side = high - slack, low + slack
    above = GRID**4 - top_side * (2 * GRID**2 - 1)
    below = GRID**4 - low_side * (2 * GRID**2 - 1 + eta**2)
    upper, lower = log_tail(above, inside, n), log_tail(-below, GAUSSIAN, n)
    return 4e-12 + third + second + math.exp(upper) + math.exp(lower)


def half_share(n):
    """Return the probability for the share of n events with the probability ½."""
    return 2 * stats.binom.cdf(math.floor(n * (0.5 - chance.share_error(n))), n, 0.5)


def half_covariance(n):
    """Return the probability for the covariance of n pairs; the number of pairs is exact."""
    both = n / 4 + (n - 1) * chance.covariance_error(n)
    return 2 * stats.hypergeom.sf(math.floor(both) - 1, n, n // 2, n // 2)


def uniform_bins(n):
    """Return the probability for the mean and the variance of n uniform numbers."""
    u = (np.arange(20_000) + 0.5) / 20_000 - 0.5
    flat = np.full(len(u), 1 / len(u))
    mean = mean_tail(u, flat, n, chance.mean_error(dequantization.UNIFORM, n))
    of_square = math.sqrt(1 / 80 - 1 / 144)
    # The squared mean in the variance is below 50 / (12 n) < 5 / n.
    error = chance.mean_error(of_square, n) + (5 - 50 / 12) / n
    return mean + mean_tail(u * u, flat, n, error)


PIXELS = dequantization.flat(0).numel()
TOTALS = {
    "standard_deviation of a sample": 2 * gaussian_deviation(sampling.COUNT),
    "centre of a sample": gaussian_mean(sampling.COUNT),
    "noise_is_gaussian of a sample": gaussian_kurtosis(sampling.COUNT),
    "sample_uses_the_prior, completion_draws_from_the_prior": gaussian_mean(CODES)
    + gaussian_correlation(CODES // 2)
    + gaussian_deviation(CODES)
    + gaussian_kurtosis(CODES),
    "noise_centre": 2 * gaussian_mean(noise.COUNT),
    "noise_spread": 2 * gaussian_deviation(noise.COUNT),
    "noise_is_gaussian": gaussian_kurtosis(noise.COUNT),
    "noise_default": mean_tail(
        np.maximum(GRID, 0), GAUSSIAN, noise.COUNT, chance.mean_error(1, noise.COUNT)
    ),
    "noise_clipped": 2 * half_share(noise.COUNT),
    "dequantize_bins": 2 * uniform_bins(PIXELS),
    "sample_is_black_and_white": half_share(10_000) + half_covariance(10_000),
    "heads_reach_both_signs": 2 * 2 * 2.0**-40,
}


@pytest.mark.parametrize("check", TOTALS)
def test_right_work_fails_a_check_at_most_once_in_a_thousand_million(check):
    assert 0 < TOTALS[check] <= chance.LIMIT


def test_a_right_kl_is_near_its_samples():
    """The skewness of log q − log p widens the tail; see Cramér (1938) for its factor."""
    torch.manual_seed(0)
    worst = 0.0
    for _ in range(20):
        mu, logvar = LOGVAR.posterior(1, 3)
        z = torch.randn(100_000, 3)
        x = mu + (0.5 * logvar).exp() * z
        ratios = (0.5 * x**2 - 0.5 * z**2 - 0.5 * logvar).sum(1).double()
        centred = ratios - ratios.mean()
        worst = max(worst, abs(float((centred**3).mean() / (centred**2).mean() ** 1.5)))
    factor = math.exp(worst / math.sqrt(kl.SAMPLES) * chance.ERRORS**3 / 6)
    assert 2 * factor * chance.MISS <= chance.LIMIT


def test_the_bounds_are_not_too_wide():
    """A check would be useless if wrong noise were inside its bounds."""
    assert stats.uniform.stats(moments="k") + 3 < chance.kurtosis_range(CODES)[0]
    assert 3 + stats.laplace.stats(moments="k") > chance.kurtosis_range(CODES)[1]
    assert chance.mean_error(1, sampling.COUNT) < 0.025
    with pytest.raises(ValueError, match="the bounds of the kurtosis need"):
        chance.kurtosis_range(7_999)


def test_simulated_statistics_follow_their_bounds():
    """Of 300 samples, the largest error is between 20 % and 80 % of each bound."""
    z = np.random.default_rng(0).standard_normal((300, CODES))
    errors = {
        "mean": abs(z.mean(1)).max() / chance.mean_error(1, CODES),
        "deviation": abs(z.std(1) - 1).max() / chance.deviation_error(1, CODES),
        "kurtosis": (stats.kurtosis(z, axis=1)).max() / (chance.kurtosis_range(CODES)[1] - 3),
    }
    assert all(0.2 < error < 0.8 for error in errors.values()), errors


def test_no_check_has_bounds_of_its_own():
    """Standard errors are computed in `chance` alone."""
    folder = Path(autograder.checks.__file__).parent
    own = re.compile(r"STANDARD_ERRORS|sqrt\(24|six standard errors", re.IGNORECASE)
    found = [p.name for p in folder.rglob("*.py") if own.search(p.read_text("utf-8"))]
    assert found == ["chance.py"]
