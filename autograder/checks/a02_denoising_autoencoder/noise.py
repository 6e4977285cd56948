"""Checks of `add_noise`: Gaussian noise is added, and the sum is clipped to [0, 1].

Statistics are let pass within six standard errors, so that a right solution fails one of them about
twice in a thousand million runs.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from autograder.checks.shared.device import expect_follows_input
from autograder.checks.shared.parts import expect_inputs_kept, images
from autograder.checks.shared.sampling import STANDARD_ERRORS
from autograder.checks.vocabulary import check, expect, expect_tensor, kind
from autograder.protocol.remote import Submission

AddNoise = Callable[..., Any]
SHAPE = (100, 1, 28, 28)
COUNT = math.prod(SHAPE)
# At ½, twelve of these lie on either side before a pixel would be clipped.
STD = 0.04
DEFAULT_STD = 0.5
NO_NOISE = "There is no noise: the images come back as they were."


def noisy(add_noise: AddNoise, x: torch.Tensor, *std: float) -> torch.Tensor:
    """Spoil images and expect as many of the same shape."""
    call = "`add_noise(x, std)`" if std else "`add_noise(x)`"
    return expect_tensor(add_noise(x, *std), tuple(x.shape), call)


def _grey(shade: float = 0.5) -> torch.Tensor:
    return torch.full(SHAPE, shade)


def _error_of_mean(spread: float) -> float:
    """Six standard errors of the mean of `COUNT` numbers with this spread."""
    return STANDARD_ERRORS * spread / math.sqrt(COUNT)


def _expect_own_noise(add_noise: AddNoise) -> tuple[torch.Tensor, torch.Tensor]:
    """Expect noise of its own for every pixel of every image, if there is any.

    Statistics of noise that pixels share are a matter of luck.

    Returns:
        What two calls make of the same grey images.
    """
    first, again = (noisy(add_noise, _grey(), STD) for _ in range(2))
    if float(first.std()) < 1e-6 and torch.equal(first, again):
        return first, again
    rows = first.flatten(1)
    for dim, what in ((0, "images of a batch"), (1, "pixels of an image")):
        expect(
            float(rows.std(dim).min()) > 1e-6,
            f"All {what} get the same noise. Draw one number for each pixel of each image.",
            "shared_noise",
        )
    return first, again


def _clipped_spread(std: float, shade: float) -> float:
    """The spread of clip(shade + std · ε, 0, 1)."""
    # A grid of 20,000 equally likely values of ε.
    eps = torch.special.ndtri((torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000)
    return float((shade + std * eps).clamp(0, 1).std())


@check("add_noise")
def test_noise_shape(submission: Submission) -> None:
    """Images of any shape keep their shape and type."""
    add_noise = submission.object("add_noise")
    for shape in ((1, 1, 28, 28), (7, 1, 28, 28), (3, 3, 32, 20), (5, 784)):
        noisy(add_noise, torch.rand(shape), DEFAULT_STD)
    for dtype in (torch.float32, torch.float64):
        got = add_noise(torch.rand(2, 1, 28, 28, dtype=dtype), DEFAULT_STD)
        expect(
            isinstance(got, torch.Tensor) and got.dtype == dtype,
            f"Images of type {dtype} should keep their type; they became "
            f"{got.dtype if isinstance(got, torch.Tensor) else kind(got)}.",
        )


@check("add_noise")
def test_noise_centre(submission: Submission) -> None:
    """The noise is centred on 0."""
    add_noise = submission.object("add_noise")
    _expect_own_noise(add_noise)
    for shade in (0.5, 0.7):
        pixels = noisy(add_noise, _grey(shade), STD)
        mean = float(pixels.mean())
        near_sigmoid = abs(mean - 1 / (1 + math.exp(-shade))) < 0.01
        expect(
            not near_sigmoid,
            f"Pixels of {shade:g} become {mean:.3f} on average: a sigmoid moves every pixel. "
            "Clipping leaves those inside [0, 1] alone.",
            "sigmoid_for_clip",
        )
        expect(
            float(pixels.min()) < shade or float(pixels.max()) <= shade + 1e-6,
            "The noise can only brighten. Is it clipped before it is added, or drawn from [0, 1)?",
            "noise_one_sided",
        )
        expect(
            abs(mean - shade) <= _error_of_mean(STD),
            f"Noise should neither brighten nor darken: pixels of {shade:g} become {mean:.4f} on "
            "average. Is it centred on 0?",
            "noise_off_centre",
        )


@check("add_noise")
def test_noise_spread(submission: Submission) -> None:
    """The noise has the standard deviation `std`, whatever the image shows."""
    add_noise = submission.object("add_noise")
    # The sample deviation of n Gaussian values has a standard error of σ / √(2n).
    _expect_own_noise(add_noise)
    for shade in (0.5, 0.7):
        spread = float(noisy(add_noise, _grey(shade), STD).std())
        expect(spread > 1e-6, NO_NOISE, "no_noise")
        if abs(spread - STD) <= STANDARD_ERRORS * STD / math.sqrt(2 * COUNT):
            continue
        shown = f" With std = {STD:g} its spread should be {STD:g}, and is {spread:.3g}."
        known = (
            (STD**2, "variance_for_std", "The noise is scaled by the square of `std`."),
            (math.sqrt(STD), "root_of_std", "The root of `std` is taken: it is no variance."),
            (_clipped_spread(0.5, shade), "std_ignored", "The noise is the same for every `std`."),
            (_clipped_spread(1.0, shade), "std_ignored", "The noise is the same for every `std`."),
            (STD / math.sqrt(12), "uniform_noise", "Your noise is uniform; make it Gaussian."),
            (STD / math.sqrt(3), "uniform_noise", "Your noise is uniform; make it Gaussian."),
            (STD * shade, "noise_multiplied", "The noise is multiplied by the image: add it."),
        )
        for wrong, name, says in known:
            expect(abs(spread - wrong) > 0.03 * max(wrong, STD / 10), says + shown, name)
        expect(False, "The noise does not follow `std`." + shown)


@check("add_noise")
def test_noise_is_gaussian(submission: Submission) -> None:
    """The noise is Gaussian: its fourth moment is 3 σ⁴."""
    add_noise = submission.object("add_noise")
    # The kurtosis of n Gaussian values has a standard error of √(24 / n).
    _expect_own_noise(add_noise)
    z = noisy(add_noise, _grey(), STD) - 0.5
    expect(float(z.std()) > 1e-6, NO_NOISE, "no_noise")
    kurtosis = float(((z - z.mean()) ** 4).mean() / z.var() ** 2)
    expect(
        abs(kurtosis - 3.0) <= STANDARD_ERRORS * math.sqrt(24 / COUNT),
        f"The noise does not look Gaussian: its kurtosis should be 3, and is {kurtosis:.2f}.",
        "uniform_noise" if abs(kurtosis - 1.8) < 0.1 else None,
    )


@check("add_noise")
def test_noise_device(submission: Submission) -> None:
    """New tensors are made on the device of those that come in (self-reported)."""
    add_noise = submission.object("add_noise")
    expect_follows_input(add_noise, torch.rand(3, 1, 28, 28), DEFAULT_STD, name="add_noise")


@check("add_noise")
def test_noise_default(submission: Submission) -> None:
    """Without a second argument, `std` is 0.5."""
    add_noise = submission.object("add_noise")
    _expect_own_noise(add_noise)
    by_default, asked = (
        float(noisy(add_noise, _grey(0.0), *s).mean()) for s in ((), (DEFAULT_STD,))
    )
    # A pixel of black that is clipped spreads by less than `std`.
    expect(
        abs(by_default - asked) <= math.sqrt(2) * _error_of_mean(DEFAULT_STD),
        f"`add_noise(x)` is not `add_noise(x, {DEFAULT_STD:g})`: black images become "
        f"{by_default:.3f} instead of {asked:.3f} on average. What is the default of `std`?",
        "default_std",
    )


@check("add_noise")
def test_noise_clipped(submission: Submission) -> None:
    """Values outside [0, 1] are clipped, and nothing else is changed."""
    add_noise = submission.object("add_noise")
    _expect_own_noise(add_noise)
    weak = noisy(add_noise, _grey(), STD)
    expect(
        float(weak.min()) > 0 and float(weak.max()) < 1,
        f"With std = {STD:g}, some pixels of ½ become black or white. Is the range stretched "
        "until it fills [0, 1]? Only what lies outside should change.",
        "range_stretched",
    )
    for shade in (0.0, 1.0):
        pixels = noisy(add_noise, _grey(shade), 0.5)
        low, high = float(pixels.min()), float(pixels.max())
        expect(
            low >= 0 and high <= 1,
            f"Noisy pixels run from {low:.3g} to {high:.3g}: outside of [0, 1] there is no grey. "
            "Clip the sum.",
            "not_clipped",
        )
        share = float((pixels == shade).double().mean())
        expect(
            abs(share - 0.5) <= _error_of_mean(0.5),
            f"Half of the noise on a {'white' if shade else 'black'} pixel points out of [0, 1], "
            f"and should be cut off at {shade:g}; so end {share:.0%} of them. Clip the sum, and "
            "nothing else.",
            "not_cut_off",
        )


@check("add_noise")
def test_noise_is_new(submission: Submission) -> None:
    """Every pixel of every image has noise of its own, new at every call."""
    add_noise = submission.object("add_noise")
    first, again = _expect_own_noise(add_noise)
    expect(float(first.std()) > 1e-6, NO_NOISE, "no_noise")
    expect(
        not torch.equal(first, again),
        "Two calls draw the same noise. Is a seed set inside, or the noise drawn only once?",
        "noise_drawn_once",
    )


@check("add_noise")
def test_images_stay_clean(submission: Submission) -> None:
    """The images that are passed in stay as they are."""
    expect_inputs_kept(submission, "add_noise", {"x": images(3)})
