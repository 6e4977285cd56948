"""The negative ELBO of a Gaussian decoder, and the images that `sample` returns."""

import torch

from autograder.checks.shared.elbo import sum_mistakes
from autograder.checks.vocabulary import Mistake, expect, expect_close

SUM_MISTAKES = (
    *sum_mistakes("the first value, the negative ELBO", sign="elbo_sign"),
    Mistake(
        "recon_mean_over_pixels",
        "Your sum divides the reconstruction term by the number of pixels, but not the KL. The "
        "KL is then too large, and codes contain no information. Divide neither.",
        lambda recon, kl: recon / 784 + kl,
    ),
    Mistake(
        "elbo_divided_by_pixels",
        "The first value is divided by the number of pixels. It should be in nats for a whole "
        "image.",
        lambda recon, kl: (recon + kl) / 784,
    ),
    Mistake(
        "batch_mixed",
        "The first value mixes the images of the batch. Compute one value for each image.",
        lambda recon, kl: recon + kl.mean(),
    ),
    Mistake(
        "batch_mixed",
        "The first value mixes the images of the batch. Compute one value for each image.",
        lambda recon, kl: recon.mean() + kl,
    ),
)


def expect_means(x: torch.Tensor, mean: torch.Tensor, sigma: float) -> None:
    """Expect that samples are the decoder's means, (N, ...), without noise and not black and white.

    Args:
        x: The samples.
        mean: The decoder's output for their codes, in (0, 1).
        sigma: The standard deviation of the pixels around their means.
    """
    expect(
        not bool(((x == 0) | (x == 1)).all()),
        "`sample` makes every pixel black or white. Return the means unchanged.",
        "black_and_white",
    )
    noise = x - mean
    expect(
        abs(float(noise.std()) - sigma) > 0.05 * sigma or abs(float(noise.mean())) > 0.05 * sigma,
        "`sample` adds noise to the means. Return the means without noise.",
        "noise_added",
    )
    squashed = Mistake(
        "squashed_twice",
        "`sample` applies a sigmoid to the decoder's output, which is already the mean. Return "
        "it unchanged.",
        torch.sigmoid,
    )
    # Clamped noise is visible where it is not cut off.
    inside = noise[((mean - 0.5).abs() < 0.1) & (x > 0) & (x < 1)]
    expect(
        len(inside) < 50 or abs(float(inside.std()) - sigma) > 0.4 * sigma,
        "`sample` adds noise to the means. Return the means without noise.",
        "noise_added",
    )
    bytes_ = Mistake(
        "scaled_to_bytes",
        "`sample` multiplies the means by 255. Return them unchanged, in [0, 1].",
        lambda mean: 255 * mean,
    )
    expect_close(x, mean, "The output of `sample`", (mean,), (squashed, bytes_))
