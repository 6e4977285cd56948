"""Dequantization of 8-bit images and bits per dimension, with known mistakes in both.

Theis, van den Oord & Bethge 2016, section 3.1: (x + u) / 256 with u uniform on [0, 1).
"""

import math

import torch

from autograder.checks.shared.chance import mean_error
from autograder.checks.shared.parts import expect_inputs_kept
from autograder.checks.shared.repeats import expect_new_noise
from autograder.checks.vocabulary import Mistake, check, expect, expect_close, expect_tensor, kind
from autograder.protocol.remote import Submission


def dequantize(x: torch.Tensor) -> torch.Tensor:
    """Add uniform noise of one bin: return (x + u) / 256 for a given x / 255.

    Args:
        x: Images of 256 grey levels, scaled to [0, 1].
    """
    return ((255 * x).round() + torch.rand_like(x)) / 256


# The effect of a mistake on an image: the means of black and of white pixels, and the standard
# deviation of each.
UNIFORM = 1 / math.sqrt(12)
HALF_NORMAL = math.sqrt(2 / math.pi)  # the mean of |ε|, with ε standard normal
NO_NOISE = "The output has no noise: pixels still have only 256 values. Add uniform noise."
MISTAKES = (
    (
        0,
        255 / 256,
        0,
        "no_noise",
        NO_NOISE,
    ),
    (
        0,
        1,
        0,
        "no_noise",
        NO_NOISE,
    ),
    (
        0.5 / 255,
        255.5 / 255,
        UNIFORM / 255,
        "scaled_by_255",
        "You divide by 255, so white is above 1. Divide by the number of bins. How many are there?",
    ),
    (
        0.5 / 256,
        1 + 0.5 / 256,
        UNIFORM / 256,
        "scaled_by_255",
        "The image is divided by 255 before noise is added, so white is above 1. Divide by the "
        "number of bins. How many are there?",
    ),
    (
        0.5,
        255.5,
        UNIFORM,
        "not_scaled",
        "The result is not scaled to [0, 1]. Divide by the number of bins.",
    ),
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
        "The mean of your noise is 0, so black becomes negative. A bin is the interval from "
        "its grey level to the next: use noise between 0 and 1.",
    ),
    (0, 255 / 256, 1 / 256, "gaussian_noise", "Your noise is Gaussian. It should be uniform."),
    (0, 1, 1 / 255, "gaussian_noise", "Your noise is Gaussian. It should be uniform."),
    (
        HALF_NORMAL / 256,
        (255 + HALF_NORMAL) / 256,
        math.sqrt(1 - HALF_NORMAL**2) / 256,
        "gaussian_noise",
        "Your noise is the absolute value of Gaussian noise. It should be uniform.",
    ),
    (
        -0.5 / 256,
        254.5 / 256,
        UNIFORM / 256,
        "noise_subtracted",
        "The noise is subtracted, so black becomes negative. A bin begins at its grey level.",
    ),
    (
        0.25 / 256,
        255.25 / 256,
        UNIFORM / 512,
        "noise_too_narrow",
        "Your noise fills only half of each bin. It should be as wide as one bin.",
    ),
)


def expect_bins(black: torch.Tensor, white: torch.Tensor) -> None:
    """Expect that grey levels 0 and 255 become uniform in their bins.

    Two means and two variances: right noise fails with a probability below 6e-10; see `chance`.

    Args:
        black: The output for many pixels of 0.
        white: The output for as many pixels of 255.
    """
    low, high, found = float(black.mean()), float(white.mean()), float(black.std())
    for mean_low, mean_high, deviation, name, says in MISTAKES:
        near = max(4e-5, 0.05 * deviation)
        expect(
            abs(low - mean_low) > near
            or abs(high - mean_high) > near
            or abs(found - deviation) > 0.05 * deviation + 1e-6,
            says,
            name,
        )
    expect(found > 0, NO_NOISE, "no_noise")
    for level, pixels in ((0, black), (255, white)):
        u = 256 * pixels - level
        # float32 may round up to the upper edge of the bin.
        expect(
            bool(((u >= -1e-3) & (u <= 1 + 1e-3)).all()),
            f"Grey level {level} should be between {level}/256 and {level + 1}/256; yours is "
            f"between {float(pixels.min()):.4g} and {float(pixels.max()):.4g}.",
        )
        n = u.numel()
        # The square of a centred uniform number has a variance of 1/80 − 1/144. The variance also
        # subtracts the squared mean, which is below 5 / n.
        of_square = math.sqrt(1 / 80 - 1 / 144)
        expect(
            abs(float(u.mean()) - 0.5) <= mean_error(UNIFORM, n)
            and abs(float(u.var()) - 1 / 12) <= mean_error(of_square, n) + 5 / n,
            f"Grey level {level} is not uniform in its bin. Use uniform noise as wide as the bin.",
        )


def expect_levels_kept(got: torch.Tensor, x: torch.Tensor) -> None:
    """Expect that each pixel stays in its grey level's bin.

    Args:
        got: The output for the pixels.
        x: The pixels, uint8, of the same shape.
    """
    u = 256 * got - x
    expect(
        bool(((u > -1e-3) & (u < 1 + 1e-3)).all()),
        "Some pixels are outside the bin of their grey level. x should become (x + u)/256 with "
        "u between 0 and 1.",
    )


def expect_own_noise(first: torch.Tensor, again: torch.Tensor) -> None:
    """Expect that every pixel, (N, C, H, W), has its own noise, and new noise in each call.

    Args:
        first: The output for images of one grey level.
        again: The output for the same images at the next call.
    """
    expect(
        not torch.equal(first, again),
        "Two calls return the same images. Do you add noise, and do you sample new noise in "
        "each call?",
        "reseeded" if float(first.std()) > 0 else "no_noise",
    )
    expect_not_shared(first)


def expect_not_shared(noisy: torch.Tensor) -> None:
    """Expect that the pixels of images of one grey level, (N, C, H, W), do not share their noise.

    Raises:
        CheckFailed: If pixels have the same noise; the message says which.
    """
    for dims, what in (
        ((0, 1, 2, 3), "pixels of a batch"),
        ((1, 2, 3), "pixels of an image"),
        ((0,), "images of a batch"),
        ((3,), "pixels of a row"),
        ((2,), "rows of an image"),
    ):
        spread = noisy.amax(dims) - noisy.amin(dims)
        expect(
            float(spread.min()) > 0,
            f"All {what} get the same noise. Sample one random number for each pixel.",
            "shared_noise",
        )


def dequantized(submission: Submission, x: torch.Tensor) -> torch.Tensor:
    """Call `dequantize` and expect floats of the same shape."""
    got = submission.object("dequantize")(x)
    expect(
        not isinstance(got, torch.Tensor) or got.is_floating_point(),
        "`dequantize` returns integers. Noise below 1 needs floats.",
        "no_noise",
    )
    return expect_tensor(got, x.shape, "`dequantize(x_uint8)`")


def flat(level: int) -> torch.Tensor:
    """Return images of one grey level, uint8, (50, 1, 28, 28)."""
    return torch.full((50, 1, 28, 28), level, dtype=torch.uint8)


@check("dequantize")
def test_dequantize_bins(submission: Submission) -> None:
    """Black and white pixels become uniform in the first and the last of 256 bins in [0, 1]."""
    black, again, white = (dequantized(submission, flat(level)) for level in (0, 0, 255))
    # The moments of noise that pixels share are random.
    if not torch.equal(black, again):
        expect_not_shared(black)
    expect_bins(black, white)


@check("dequantize")
def test_dequantize_keeps_levels(submission: Submission) -> None:
    """Every pixel stays in the bin of its grey level, for images of any shape."""
    for shape in ((256,), (3, 1, 28, 28), (2, 3, 5, 4)):
        x = torch.randint(0, 256, shape, dtype=torch.uint8)
        expect_levels_kept(dequantized(submission, x), x)


@check("dequantize")
def test_dequantize_noise(submission: Submission) -> None:
    """Every pixel of every image has its own noise, and each call samples new noise."""
    expect_own_noise(*(dequantized(submission, flat(7)) for _ in range(2)))
    expect_new_noise(submission.object("dequantize"), flat(7), name="dequantize")


@check("dequantize")
def test_dequantize_leaves_its_input(submission: Submission) -> None:
    """The call does not change the input images."""
    expect_inputs_kept(submission, "dequantize", {"x_uint8": flat(100)})


def bits_per_dim(nats: torch.Tensor, pixels: int) -> torch.Tensor:
    """Return bits per dimension of 8-bit images, from −log p of images scaled to [0, 1]."""
    return nats / (pixels * math.log(2)) + 8


BITS_MISTAKES = (
    Mistake(
        "bits_without_scaling",
        "The scaling is not corrected. An untrained model has 8 bits per dimension, not 0.",
        lambda nats, pixels: bits_per_dim(nats, pixels) - 8,
    ),
    Mistake(
        "bits_scaling_sign",
        "The correction of the scaling has the wrong sign. A density on a wider range is lower "
        "and needs more bits.",
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
        "bits_log10",
        "A nat is 1 / ln 2 bits. You use the logarithm of another number.",
        lambda nats, pixels: nats / (pixels * math.log(10)) + 8,
    ),
    Mistake(
        "bits_log10",
        "A nat is 1 / ln 2 bits. You use the logarithm of another base.",
        lambda nats, pixels: nats / (pixels * math.log10(2)) + 8,
    ),
    Mistake(
        "bits_in_nats",
        "A nat is 1 / ln 2 bits: divide by ln 2, don't multiply.",
        lambda nats, pixels: nats * math.log(2) / pixels + 8,
    ),
    Mistake(
        "bits_not_per_dimension",
        "The correction of the scaling is added once, or D times. It should be added once for "
        "each dimension.",
        lambda nats, pixels: (nats / math.log(2) + 8) / pixels,
    ),
    Mistake(
        "bits_not_per_dimension",
        "These are bits for a whole image. Divide by the number of dimensions, D.",
        lambda nats, pixels: pixels * bits_per_dim(nats, pixels),
    ),
    Mistake(
        "bits_not_per_dimension",
        "The nats are not divided by the number of dimensions, D.",
        lambda nats, pixels: nats / math.log(2) + 8,
    ),
    Mistake(
        "bits_sign",
        "The sign is wrong: `neg_elbo` is a *negative* bound already.",
        lambda nats, pixels: bits_per_dim(-nats, pixels),
    ),
    Mistake(
        "bits_of_784_pixels",
        "The number of dimensions is the constant 784. Use the argument D.",
        lambda nats, pixels: bits_per_dim(nats, 784),
    ),
    Mistake(
        "bits_of_255_levels",
        "You use log₂ 255 where log₂ 256 is needed: there are 256 grey levels.",
        lambda nats, pixels: bits_per_dim(nats, pixels) - 8 + math.log2(255),
    ),
)


@check("bits_per_dim")
def test_bits_of_tensors(submission: Submission) -> None:
    """`bits_per_dim` returns one number for each input, for images of any number of dimensions."""
    for shape, pixels in (((4,), 12), ((), 3072), ((2, 3), 784)):
        nats = pixels * torch.randn(shape)
        got = submission.object("bits_per_dim")(nats, pixels)
        got = expect_tensor(got, shape, "`bits_per_dim(neg_elbo, D)`")
        right = bits_per_dim(nats.double(), pixels)
        expect_close(got, right, "The number of bits", (nats, pixels), BITS_MISTAKES)


@check("bits_per_dim")
def test_bits_of_numbers(submission: Submission) -> None:
    """`bits_per_dim` also accepts a plain number. An untrained model has 8 bits per dimension."""
    # Several mistakes have one value at 0: the first number tells them apart.
    for nats, right in ((3 * 784 * math.log(2), 11.0), (0.0, 8.0), (-784 * math.log(2), 7.0)):
        got = submission.object("bits_per_dim")(nats, 784)
        expect(
            isinstance(got, int | float) or (isinstance(got, torch.Tensor) and got.numel() == 1),
            f"`bits_per_dim` of a number should be a number, got {kind(got)}.",
        )
        expect_close(
            torch.tensor(float(got)),
            torch.tensor(right),
            f"The number of bits of {nats:.1f} nats at D = 784",
            (torch.tensor(nats), 784),
            BITS_MISTAKES if nats > 0 else (),
        )
