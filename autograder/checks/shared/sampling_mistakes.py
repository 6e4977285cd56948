"""Known mistakes in a sample z = mu + σ ε, recognised by mean, standard deviation and kurtosis.

Each mistake is a formula of mu, σ and standard normal noise ε. Its moments are computed on a grid
of equally likely values of ε.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from autograder.checks.vocabulary import expect

Formula = Callable[[float, float, torch.Tensor], torch.Tensor]
# The mean, the standard deviation and the kurtosis of z.
Moments = tuple[float, float, float]
# Measures z for a mean and a standard deviation.
Measure = Callable[[float, float], Moments]
POINTS = ((2.0, 3.0), (-1.0, 0.5))
GRID = torch.special.ndtri((torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000)
# The error of a mean of 80,000 samples is 0.4 % of their deviation: six of them.
NEAR = 0.025
# A larger kurtosis depends on a few samples only: it cannot be measured.
LARGEST_KURTOSIS = 6.0


@dataclass(frozen=True)
class SampleMistake:
    """A known mistake in a sample.

    Attributes:
        name: The unique name in results and statistics.
        says: The message for the student.
        formula: Computes z from mu, σ and ε.
    """

    name: str
    says: str
    formula: Formula

    def explains(self, measured: dict[tuple[float, float], Moments]) -> bool:
        """Return whether its moments are those that were measured."""
        for (mu, sigma), (mean, deviation, found) in measured.items():
            z = self.formula(mu, sigma, GRID)
            near = NEAR * max(deviation, 0.1)
            if abs(float(z.mean()) - mean) > near or abs(float(z.std()) - deviation) > near:
                return False
            own = kurtosis(z)
            if own < LARGEST_KURTOSIS and abs(own - found) > 0.1 * own:
                return False
        return True


def kurtosis(z: torch.Tensor) -> float:
    """Return the fourth moment around the mean, in units of the squared variance."""
    return float(((z - z.mean()) ** 4).mean() / z.var() ** 2)


def moments(z: torch.Tensor) -> Moments:
    """Return the mean, the standard deviation and the kurtosis of all entries."""
    return float(z.mean()), float(z.std()), kurtosis(z)


SAMPLE_MISTAKES = (
    SampleMistake(
        "sampled_twice",
        "The noise is not standard normal: it is a sample around mu with deviation σ already, and "
        "you scale and shift it again. Use mu and σ once each.",
        lambda mu, s, e: mu + s * (mu + s * e),
    ),
    SampleMistake(
        "mu_scaled",
        "mu is multiplied by σ too. Only the noise should be.",
        lambda mu, s, e: s * (mu + e),
    ),
    SampleMistake(
        "mu_multiplies_noise",
        "The noise is multiplied by mu, and σ is added. It should be the other way round.",
        lambda mu, s, e: s + mu * e,
    ),
    SampleMistake(
        "mu_multiplies_noise",
        "The noise is multiplied by mu too. Multiply it by σ only, and add mu.",
        lambda mu, s, e: mu * (1 + s * e),
    ),
    SampleMistake(
        "mu_multiplies_noise",
        "The noise is multiplied by mu, which should be added.",
        lambda mu, s, e: mu * s * e,
    ),
    SampleMistake(
        "sigma_added",
        "σ is added to the sample. It should be multiplied by the noise.",
        lambda mu, s, e: mu + s + e,
    ),
    SampleMistake(
        "noise_absolute",
        "The noise is never negative: you use its absolute value. Use the noise itself.",
        lambda mu, s, e: mu + s * e.abs(),
    ),
    SampleMistake(
        "noise_absolute",
        "The noise is never negative: you use its square. Use the noise itself.",
        lambda mu, s, e: mu + s * e**2,
    ),
    SampleMistake(
        "noise_absolute",
        "The noise is never negative: values below 0 become 0. Use the noise itself.",
        lambda mu, s, e: mu + s * e.clamp(min=0),
    ),
    SampleMistake(
        "noise_absolute",
        "The noise is never negative: it is an exponential of noise. Use the noise itself.",
        lambda mu, s, e: mu + s * e.exp(),
    ),
    SampleMistake(
        "sample_one_sided",
        "z is never negative: you take the absolute value of the sample. A code may have any sign.",
        lambda mu, s, e: (mu + s * e).abs(),
    ),
    SampleMistake(
        "sample_one_sided",
        "z is never negative: a ReLU or a clamp is applied to it. A code may have any sign.",
        lambda mu, s, e: (mu + s * e).clamp(min=0),
    ),
    SampleMistake(
        "noise_clipped",
        "The noise is cut off at −1 and 1. Use standard normal noise unchanged.",
        lambda mu, s, e: mu + s * e.clamp(-1, 1),
    ),
    SampleMistake(
        "sample_squashed",
        "z is between −1 and 1: a tanh is applied to it. A code may have any value.",
        lambda mu, s, e: (mu + s * e).tanh(),
    ),
    SampleMistake(
        "sample_squashed",
        "z is between 0 and 1: a sigmoid is applied to it. A code may have any value.",
        lambda mu, s, e: (mu + s * e).sigmoid(),
    ),
    SampleMistake(
        "mu_dropped",
        "The mean of z is 0: mu is missing in it.",
        lambda mu, s, e: s * e,
    ),
    SampleMistake(
        "mu_negated",
        "The mean of z is −mu: mu is subtracted. Add it.",
        lambda mu, s, e: -mu + s * e,
    ),
    SampleMistake(
        "mu_doubled",
        "mu is added twice. Add it once.",
        lambda mu, s, e: 2 * mu + s * e,
    ),
)


def expect_no_known_sample(measure: Measure, more: Sequence[SampleMistake] = ()) -> None:
    """Expect a sample that no known mistake explains.

    Args:
        measure: Measures the sample.
        more: Further mistakes, those of one parameterization.

    Raises:
        CheckFailed: With the known mistake that has the same means and standard deviations.
    """
    measured = {point: measure(*point) for point in POINTS}
    for mistake in (*SAMPLE_MISTAKES, *more):
        expect(not mistake.explains(measured), mistake.says, mistake.name)
