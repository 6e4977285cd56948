"""Grey levels spread over their bins, bits for 8-bit images, and what goes wrong with either.

Theis, van den Oord & Bethge 2016, section 3.1: (x + u) / 256 with u uniform on [0, 1).
"""

import math

import torch

from autograder.checks.shared.sampling import STANDARD_ERRORS
from autograder.checks.vocabulary import Mistake, expect


def dequantize(x: torch.Tensor) -> torch.Tensor:
    """Spread grey levels over their bins: (x + u) / 256 for x / 255 given.

    Args:
        x: Images of 256 grey levels, scaled to [0, 1].
    """
    return ((255 * x).round() + torch.rand_like(x)) / 256


# How a dequantized image shows what was done: the means of black and of white pixels, and the
# standard deviation within each.
UNIFORM = 1 / math.sqrt(12)
MISTAKES = (
    (0, 255 / 256, 0, "no_noise", "There is no noise: the pixels still lie on 256 values."),
    (0, 1, 0, "no_noise", "There is no noise: the pixels still lie on 256 values."),
    (
        0.5 / 255,
        255.5 / 255,
        UNIFORM / 255,
        "scaled_by_255",
        "You divide by 255, so white leaves [0, 1]. How many bins are there?",
    ),
    (
        0.5 / 256,
        1 + 0.5 / 256,
        UNIFORM / 256,
        "scaled_by_255",
        "The image is divided by 255 before noise is added, so white leaves [0, 1]. How many bins "
        "are there?",
    ),
    (0.5, 255.5, UNIFORM, "not_scaled", "The result is not scaled to [0, 1]."),
    (
        0.5,
        0.5 + 255 / 256,
        UNIFORM,
        "noise_not_scaled",
        "The noise is as wide as the whole range. It should be as wide as one bin.",
    ),
    (
        0.5,
        1.5,
        UNIFORM,
        "noise_not_scaled",
        "The noise is as wide as the whole range. It should be as wide as one bin.",
    ),
    (
        0,
        255 / 256,
        UNIFORM / 256,
        "noise_centred",
        "Your noise is centred on 0, so black becomes negative. A bin reaches from its grey level "
        "to the next.",
    ),
    (0, 255 / 256, 1 / 256, "gaussian_noise", "Your noise is Gaussian. It should be uniform."),
    (0, 1, 1 / 255, "gaussian_noise", "Your noise is Gaussian. It should be uniform."),
)


def expect_bins(black: torch.Tensor, white: torch.Tensor) -> None:
    """Expect that grey levels 0 and 255 were spread evenly over their bins.

    Args:
        black: What became of many pixels of 0.
        white: What became of as many pixels of 255.
    """
    low, high, spread = float(black.mean()), float(white.mean()), float(black.std())
    for mean_low, mean_high, deviation, name, says in MISTAKES:
        near = max(4e-5, 0.05 * deviation)
        expect(
            abs(low - mean_low) > near
            or abs(high - mean_high) > near
            or abs(spread - deviation) > 0.05 * deviation + 1e-6,
            says,
            name,
        )
    for level, pixels in ((0, black), (255, white)):
        u = 256 * pixels - level
        # float32 may round up to the next bin's edge.
        expect(
            bool(((u >= -1e-3) & (u <= 1 + 1e-3)).all()),
            f"Grey level {level} should come to lie between {level}/256 and {level + 1}/256; yours "
            f"lies between {float(pixels.min()):.4g} and {float(pixels.max()):.4g}.",
        )
        error = STANDARD_ERRORS / math.sqrt(u.numel())
        # The square of a centred uniform number has a variance of 1/80 − 1/144.
        expect(
            abs(float(u.mean()) - 0.5) <= UNIFORM * error
            and abs(float(u.var()) - 1 / 12) <= math.sqrt(1 / 80 - 1 / 144) * error,
            f"Grey level {level} is not spread evenly over the whole of its bin.",
        )


def expect_levels_kept(got: torch.Tensor, x: torch.Tensor) -> None:
    """Expect that each pixel stays in its grey level's bin.

    Args:
        got: What became of the pixels.
        x: The pixels, uint8, of the same shape.
    """
    u = 256 * got - x
    expect(
        bool(((u > -1e-3) & (u < 1 + 1e-3)).all()),
        "Some pixels leave the bin of their grey level: x should become (x + u)/256 with u between "
        "0 and 1.",
    )


def expect_own_noise(first: torch.Tensor, again: torch.Tensor) -> None:
    """Expect noise of its own in every pixel, (N, C, H, W), and new noise at another call.

    Args:
        first: What became of images of one grey level.
        again: What became of the same images at the next call.
    """
    expect(
        not torch.equal(first, again),
        "Two calls give the same images. Is there noise, and is it drawn anew?",
        "reseeded" if float(first.std()) > 0 else "no_noise",
    )
    for dim, what in ((0, "images of a batch"), (3, "pixels of a row"), (2, "rows of an image")):
        expect(
            float(first.std(dim).min()) > 0,
            f"All {what} get the same noise. Draw one number for each pixel.",
            "shared_noise",
        )


def bits_per_dim(nats: torch.Tensor, pixels: int) -> torch.Tensor:
    """Bits per dimension of 8-bit images, from −log p of images scaled to [0, 1]."""
    return nats / (pixels * math.log(2)) + 8


BITS_MISTAKES = (
    Mistake(
        "bits_without_scaling",
        "The scaling is not taken back: a model that knows nothing has 8 bits per dimension, not "
        "0.",
        lambda nats, pixels: bits_per_dim(nats, pixels) - 8,
    ),
    Mistake(
        "bits_scaling_sign",
        "The scaling is taken back the wrong way: a density on a wider range is lower, and costs "
        "more bits.",
        lambda nats, pixels: bits_per_dim(nats, pixels) - 16,
    ),
    Mistake(
        "bits_in_nats",
        "These are nats per dimension. How many bits are in a nat?",
        lambda nats, pixels: nats / pixels + math.log(256),
    ),
    Mistake(
        "bits_in_nats",
        "One term is in bits and the other in nats.",
        lambda nats, pixels: nats / pixels + 8,
    ),
    Mistake(
        "bits_in_nats",
        "One term is in bits and the other in nats.",
        lambda nats, pixels: nats / (pixels * math.log(2)) + math.log(256),
    ),
    Mistake(
        "bits_in_nats",
        "A nat is 1 / ln 2 bits: divide by ln 2, don't multiply.",
        lambda nats, pixels: nats * math.log(2) / pixels + 8,
    ),
    Mistake(
        "bits_not_per_dimension",
        "The scaling is in there once, or D times, instead of once for each dimension.",
        lambda nats, pixels: (nats / math.log(2) + 8) / pixels,
    ),
    Mistake(
        "bits_not_per_dimension",
        "These are bits for a whole image. Divide by its dimensions.",
        lambda nats, pixels: pixels * bits_per_dim(nats, pixels),
    ),
    Mistake(
        "bits_not_per_dimension",
        "The nats are not divided by the dimensions.",
        lambda nats, pixels: nats / math.log(2) + 8,
    ),
    Mistake(
        "bits_sign",
        "The sign is turned: `neg_elbo` is a *negative* bound already.",
        lambda nats, pixels: bits_per_dim(-nats, pixels),
    ),
    Mistake(
        "bits_of_784_pixels",
        "The number of dimensions is fixed at 784 inside; use D.",
        lambda nats, pixels: bits_per_dim(nats, 784),
    ),
    Mistake(
        "bits_of_255_levels",
        "log₂ 255 stands where log₂ 256 is due: there are 256 grey levels.",
        lambda nats, pixels: bits_per_dim(nats, pixels) - 8 + math.log2(255),
    ),
)
