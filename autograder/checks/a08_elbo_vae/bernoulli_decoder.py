"""Checks of the last steps of a Bernoulli decoder: probabilities, then black and white pixels."""

import math

import torch

from autograder.checks.shared.sampling import STANDARD_ERRORS
from autograder.checks.vocabulary import expect


def expect_probabilities(theta: torch.Tensor) -> None:
    """Expect probabilities that can be low as well as high.

    Args:
        theta: The decoder's output for extreme codes, any shape.
    """
    low, high = float(theta.min()), float(theta.max())
    shown = f"Decoded pixels run from {low:.3g} to {high:.3g}"
    expect(
        not (low == 0 and high > 1),
        f"{shown}: no value is negative, and some are above 1. A ReLU does not make probabilities.",
        "relu_for_sigmoid",
    )
    expect(
        low >= 0 and high <= 1,
        f"{shown}; a probability is between 0 and 1. Which values does your last step allow?",
        "no_sigmoid",
    )
    expect(
        low < 0.45 or high < 0.9,
        f"{shown}: no pixel can be black. This happens when a ReLU comes before the sigmoid.",
        "relu_before_sigmoid",
    )
    expect(
        low < 0.45 and high > 0.55,
        f"{shown}, however extreme the code. Is the sigmoid applied once, and last?",
        "squashed_twice",
    )


def expect_not_random(theta: torch.Tensor) -> None:
    """Expect values between black and white."""
    expect(
        not bool(((theta == 0) | (theta == 1)).all()),
        "`decoder` returns black and white pixels. It should return the probability of white; "
        "`sample` makes them black or white.",
        "decoder_draws_pixels",
    )


def expect_fair_pixels(x: torch.Tensor) -> None:
    """Expect two pixels of each image, (n, 2), that are white half the time, and independently."""
    mean = float(x.mean())
    expect(
        0 < mean < 1,
        f"A pixel with the probability ½ is {mean:.0f} in every one of {len(x):,} samples: it is "
        "compared with a fixed threshold. Compare it with a random number.",
        "thresholded",
    )
    # A mean of n such pixels has a standard error of ½ / √n, a covariance of two one of ¼ / √n.
    bound = STANDARD_ERRORS * 0.5 / math.sqrt(len(x))
    expect(
        abs(mean - 0.5) <= bound,
        f"Pixels with the probability ½ are white in {mean:.1%} of the samples.",
    )
    expect(
        abs(float(torch.cov(x.T)[0, 1])) <= bound / 2,
        "Two pixels are white together more often, or less often, than by chance. Sample a random "
        "number for every pixel.",
        "shared_noise",
    )
