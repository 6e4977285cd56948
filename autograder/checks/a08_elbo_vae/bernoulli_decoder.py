"""Checks of the last steps of a Bernoulli decoder: probabilities, then black and white pixels."""

from collections.abc import Callable

import torch

from autograder.checks.shared.chance import covariance_error, share_error
from autograder.checks.shared.last_activation import expect_no_plateau
from autograder.checks.shared.parts import expect_no_softmax, expect_not_cut_off
from autograder.checks.vocabulary import expect

# How often a sample of one image is repeated, to find one random number for all pixels.
REPEATS = 30


def expect_probabilities(theta: torch.Tensor) -> None:
    """Expect probabilities that can be low as well as high.

    Args:
        theta: The decoder's output for extreme codes, (N, D).
    """
    expect_no_softmax(theta)
    low, high = float(theta.min()), float(theta.max())
    shown = f"Decoded pixels are between {low:.3g} and {high:.3g}"
    expect(
        not (low == 0 and high > 1),
        f"{shown}: no value is negative, and some are above 1. A ReLU does not output "
        "probabilities. Use a sigmoid.",
        "relu_for_sigmoid",
    )
    expect(
        low >= 0 and high <= 1,
        f"{shown}. Probabilities should be between 0 and 1. Which values can your last step "
        "output?",
        "no_sigmoid",
    )
    expect(
        low < 0.45 or high < 0.9,
        f"{shown}: no pixel can be black. A ReLU before the sigmoid has this effect.",
        "relu_before_sigmoid",
    )
    expect(
        low < 0.45 and high > 0.55,
        f"{shown}, even for extreme codes. They should reach 0 and 1. Is the sigmoid applied "
        "once, as the last step?",
        "squashed_twice",
    )
    expect_not_cut_off(theta)
    expect_no_plateau(theta)


def expect_not_random(theta: torch.Tensor) -> None:
    """Expect values that are not all 0 or 1."""
    expect(
        not bool(((theta == 0) | (theta == 1)).all()),
        "`decoder` returns black and white pixels. It should return the probability of white; "
        "`sample` makes them black or white.",
        "decoder_draws_pixels",
    )


def expect_fair_pixels(x: torch.Tensor, again: Callable[[], torch.Tensor]) -> None:
    """Expect independent pixels of each image, (n, K), that are white with probability ½.

    A mean and a covariance: right pixels fail with a probability below 3e-10; see `chance`.

    Args:
        x: The pixels.
        again: Samples such pixels of one image again, (1, K).
    """
    mean = float(x.mean())
    columns = x.mean(0)
    expect(
        mean in (0, 1) or not bool(((columns == 0) | (columns == 1)).all()),
        "A pixel with the probability ½ is black in all images or white in all images of a call. "
        "Sample a random number for every pixel of every image.",
        "shared_noise",
    )
    if mean in (0, 1):
        colours = {float(again()[0, 0]) for _ in range(REPEATS)}
        expect(
            len(colours) == 1,
            "Pixels with the probability ½ are all black in some calls, and all white in others: "
            "one random number is used for all pixels. Sample one for every pixel of every image.",
            "shared_noise",
        )
    expect(
        0 < mean < 1,
        f"A pixel with the probability ½ is {mean:.0f} in every one of {len(x):,} samples: it is "
        "compared with a fixed threshold. Compare it with a random number.",
        "thresholded",
    )
    # The mean of K n independent pixels is nearer to ½ than that of n.
    expect(
        abs(mean - 0.5) <= share_error(len(x)),
        f"Pixels with the probability ½ are white in {mean:.1%} of the samples. Expected: about "
        "half of them.",
    )
    expect(
        abs(float(torch.cov(x[:, :2].T)[0, 1])) <= covariance_error(len(x)),
        "Two pixels are white together more often, or less often, than independent pixels are. "
        "Sample a random number for every pixel.",
        "shared_noise",
    )
