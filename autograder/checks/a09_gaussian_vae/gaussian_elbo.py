"""The ELBO of a Gaussian decoder of fixed spread, and the mistakes made in it.

x and its mean m are (N, ...) of the same shape; sigma is one number; every term is (N,): summed
within an image, images kept apart.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from autograder.checks.vocabulary import Mistake, expect, expect_close

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def squares(x: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Squared errors, summed, (N,)."""
    return ((x - mean) ** 2).flatten(1).sum(1)


def gaussian_nll(x: torch.Tensor, mean: torch.Tensor, sigma: float) -> torch.Tensor:
    """−log p(x | z) with p = N(mean, sigma² I), constants included, (N,)."""
    pixels = x[0].numel()
    constant = math.log(sigma) + HALF_LOG_TWO_PI
    return squares(x, mean) / (2 * sigma**2) + pixels * constant


def _parts(x: torch.Tensor, mean: torch.Tensor, sigma: float) -> tuple[torch.Tensor, float, float]:
    """The right term's three summands: scaled squares, log σ and ½ log 2π over all pixels."""
    pixels = x[0].numel()
    return squares(x, mean) / (2 * sigma**2), pixels * math.log(sigma), pixels * HALF_LOG_TWO_PI


def _combined(
    squared: float, log_sigma: float, constant: float, power: float
) -> Callable[..., torch.Tensor]:
    """A formula with other factors, and another power of σ under the squares."""

    def formula(x: torch.Tensor, mean: torch.Tensor, sigma: float) -> torch.Tensor:
        scaled, log, rest = _parts(x, mean, sigma)
        return squared * scaled * sigma ** (2 - power) + log_sigma * log + constant * rest

    return formula


NO_LOG_SIGMA = (
    "recon_log_sigma_missing",
    "log σ_x is missing in your density: a model that claims to be sure has to pay when it is not.",
)
NO_CONSTANT = (
    "recon_constant_missing",
    "½ log 2π is missing for each pixel: without it this is no density. (PyTorch's Gaussian loss "
    "leaves it out unless told otherwise.)",
)
NO_CONSTANTS = (
    "recon_constants_missing",
    "Only the scaled squares are there. What makes them a log-density, for each pixel, is missing.",
)
VARIANCE = (
    "recon_sigma_for_variance",
    "The squares are divided by σ_x where σ_x² is due.",
)
NO_HALF = ("recon_half_missing", "A factor of ½ is missing before the squares.")
DOUBLE_LOG = (
    "recon_log_variance",
    "The density holds log σ_x² where log σ_x is due (or ½ log σ_x²).",
)
IGNORED = ("recon_sigma_ignored", "Your density does not change with `sigma_x`.")
SQUARES = "recon_squared_error"
RECON_MISTAKES = (
    Mistake(*NO_LOG_SIGMA, _combined(1, 0, 1, 2)),
    Mistake(*NO_CONSTANT, _combined(1, 1, 0, 2)),
    Mistake(*NO_CONSTANTS, _combined(1, 0, 0, 2)),
    Mistake(*VARIANCE, _combined(1, 1, 1, 1)),
    Mistake(*VARIANCE, _combined(1, 0.5, 0, 1)),
    Mistake(*VARIANCE, _combined(1, 0.5, 1, 1)),
    Mistake(*VARIANCE, _combined(1, 1, 0, 1)),
    Mistake(*VARIANCE, _combined(1, 0, 0, 1)),
    Mistake(*NO_HALF, _combined(2, 1, 1, 2)),
    Mistake(*NO_HALF, _combined(2, 1, 0, 2)),
    Mistake(*NO_HALF, _combined(2, 0, 0, 2)),
    Mistake(*DOUBLE_LOG, _combined(1, 2, 1, 2)),
    Mistake(*DOUBLE_LOG, _combined(1, 2, 2, 2)),
    Mistake(*IGNORED, lambda x, mean, sigma: gaussian_nll(x, mean, 1.0)),
    Mistake(
        SQUARES,
        "This is a squared error. What is asked for is the logarithm of a density, with its σ_x "
        "and its constants.",
        lambda x, mean, sigma: squares(x, mean),
    ),
    Mistake(
        SQUARES,
        "This is half a squared error, which is a log-density only for σ_x = 1, and up to a "
        "constant.",
        lambda x, mean, sigma: squares(x, mean) / 2,
    ),
    Mistake(
        SQUARES,
        "This is the mean of the squared errors. What is asked for is the logarithm of a density, "
        "summed over the pixels.",
        lambda x, mean, sigma: squares(x, mean) / x[0].numel(),
    ),
    Mistake(
        "recon_mean_over_pixels",
        "Your reconstruction term averages over pixels. The KL sums over latents, so the pixels "
        "must be summed too.",
        lambda x, mean, sigma: gaussian_nll(x, mean, sigma) / x[0].numel(),
    ),
    Mistake(
        "recon_constants_once",
        "The constants are there once for an image; every pixel has a density of its own.",
        lambda x, mean, sigma: (
            squares(x, mean) / (2 * sigma**2) + math.log(sigma) + HALF_LOG_TWO_PI
        ),
    ),
    Mistake(
        "recon_sign",
        "The second value has the wrong sign: it is the *negative* log-likelihood.",
        lambda x, mean, sigma: -gaussian_nll(x, mean, sigma),
    ),
    Mistake(
        "recon_cross_entropy",
        "This is a cross-entropy. Here a pixel is no coin: its density is Gaussian.",
        lambda x, mean, sigma: (
            F.binary_cross_entropy(mean.clamp(0, 1), x, reduction="none").flatten(1).sum(1)
        ),
    ),
    Mistake(
        "squashed_twice",
        "`calc_elbo` applies a sigmoid to what the decoder gives. The decoder gives the means "
        "themselves, as `sample` shows them.",
        lambda x, mean, sigma: gaussian_nll(x, mean.sigmoid(), sigma),
    ),
)

SUM_MISTAKES = (
    Mistake(
        "elbo_sign",
        "The first value is the ELBO. `calc_elbo` gives its negative, which training makes small.",
        lambda recon, kl: -recon - kl,
    ),
    Mistake(
        "kl_subtracted",
        "The KL is taken away from the reconstruction term. The code has to be paid for: in a "
        "negative ELBO both terms are added.",
        lambda recon, kl: recon - kl,
    ),
    Mistake(
        "recon_sign",
        "The reconstruction term is taken away: it is a negative log-likelihood already.",
        lambda recon, kl: kl - recon,
    ),
    Mistake("kl_dropped", "The KL is not in your negative ELBO.", lambda recon, kl: recon),
    Mistake("recon_dropped", "The likelihood is not in your negative ELBO.", lambda recon, kl: kl),
    Mistake(
        "recon_mean_over_pixels",
        "The sum divides the reconstruction term by the number of pixels, and the KL by nothing: "
        "then the KL rules, and codes say nothing.",
        lambda recon, kl: recon / 784 + kl,
    ),
    Mistake(
        "elbo_divided_by_pixels",
        "The first value is divided by the number of pixels. It is in nats for a whole image.",
        lambda recon, kl: (recon + kl) / 784,
    ),
    Mistake(
        "batch_mixed",
        "The first value mixes the images of the batch: each image has its own.",
        lambda recon, kl: recon + kl.mean(),
    ),
    Mistake(
        "batch_mixed",
        "The first value mixes the images of the batch: each image has its own.",
        lambda recon, kl: recon.mean() + kl,
    ),
)


def expect_means(x: torch.Tensor, mean: torch.Tensor, sigma: float) -> None:
    """Expect of samples that they are the decoder's means, (N, ...), and neither noisy nor tossed.

    Args:
        x: The samples.
        mean: What the decoder made of their codes, in (0, 1).
        sigma: The spread of the pixels around their means.
    """
    expect(
        not bool(((x == 0) | (x == 1)).all()),
        "`sample` makes every pixel black or white. Show the means as they are.",
        "black_and_white",
    )
    noise = x - mean
    expect(
        abs(float(noise.std()) - sigma) > 0.05 * sigma or abs(float(noise.mean())) > 0.05 * sigma,
        "`sample` adds noise to the means. That would be a true sample; asked for are the means.",
        "noise_added",
    )
    squashed = Mistake(
        "squashed_twice",
        "`sample` applies a sigmoid to what the decoder gives, which is the mean already.",
        torch.sigmoid,
    )
    expect_close(x, mean, "What `sample` gives", (mean,), (squashed,))
