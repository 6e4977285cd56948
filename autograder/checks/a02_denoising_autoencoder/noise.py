"""Checks of `add_noise`: Gaussian noise is added, and the sum is clipped to [0, 1].

A right solution fails none of these checks with a probability above 3e-10; see `shared.chance`.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from autograder.checks.shared.chance import (
    deviation_error,
    kurtosis_range,
    mean_error,
    share_error,
)
from autograder.checks.shared.parts import expect_inputs_kept, images
from autograder.checks.shared.repeats import distinct, expect_new_noise
from autograder.checks.shared.sampling_mistakes import kurtosis
from autograder.checks.vocabulary import check, expect, expect_tensor, kind
from autograder.protocol.remote import Submission

AddNoise = Callable[..., Any]
SHAPE = (100, 1, 28, 28)
COUNT = math.prod(SHAPE)
# At ½, a pixel is clipped only beyond twelve of these standard deviations.
STD = 0.04
DEFAULT_STD = 0.5
# Calls for each mean of the test of the default.
CALLS = 4
NO_NOISE = "There is no noise: the images do not change."


def noisy(add_noise: AddNoise, x: torch.Tensor, *std: float) -> torch.Tensor:
    """Add noise to images and expect the same number and shape."""
    call = "`add_noise(x, std)`" if std else "`add_noise(x)`"
    return expect_tensor(add_noise(x, *std), tuple(x.shape), call)


def _grey(shade: float = 0.5) -> torch.Tensor:
    return torch.full(SHAPE, shade)


def _expect_own_noise(add_noise: AddNoise) -> tuple[torch.Tensor, torch.Tensor]:
    """Expect separate noise for every pixel of every image, if there is any noise.

    Statistics of noise that pixels share are random.

    Returns:
        The outputs of two calls with the same grey images.
    """
    first, again = (noisy(add_noise, _grey(), STD) for _ in range(2))
    if float(first.std()) < 1e-6 and torch.equal(first, again):
        return first, again
    rows = first.flatten(1)
    alike = [float(rows.std(dim).max()) < 1e-6 for dim in (0, 1)]
    what = ("images of a batch", "pixels of an image")[alike[1]]
    expect(
        not any(alike),
        f"All {'pixels of a batch' if all(alike) else what} have the same noise. Sample one number "
        "for each pixel of each image.",
        "shared_noise",
    )
    values = distinct(first)
    expect(
        values > COUNT // 1000,
        f"All {COUNT:,} grey pixels of a batch become one of {values} values. Gaussian noise has "
        "many values, and it is added.",
        "noise_of_few_values",
    )
    _expect_not_wide(add_noise, first)
    return first, again


def _expect_not_wide(add_noise: AddNoise, pixels: torch.Tensor) -> None:
    """Expect that Gaussian noise is not so wide that grey pixels are clipped.

    Clipping changes the mean and the kurtosis: other checks would name another cause.

    Args:
        add_noise: The submission's function.
        pixels: Its output for grey images and `STD`.
    """
    width = _width(pixels)
    if width is None:
        return
    twice = _width(noisy(add_noise, _grey(), 2 * STD)) or 0.0
    shown = f" With std = {STD:g} its standard deviation should be {STD:g}; it is {width:.2g}."
    expect(
        abs(twice - width) > 0.05 * width,
        f"The noise is the same for every `std`.{shown}",
        "std_ignored",
    )
    expect(
        twice > width,
        f"The noise becomes weaker when `std` grows.{shown} Multiply standard normal noise by "
        "`std`.",
        "divided_by_std",
    )
    expect(
        abs(width - math.sqrt(STD)) > 0.05 * width,
        f"The root of `std` is taken: `std` is not a variance.{shown}",
        "root_of_std",
    )
    expect(
        False,
        f"The noise is too wide.{shown} Multiply standard normal noise by `std`, and by nothing "
        "else.",
        "noise_too_wide",
    )


def _width(pixels: torch.Tensor) -> float | None:
    """Return the standard deviation of Gaussian noise from the share of grey pixels that it clips.

    Args:
        pixels: The noisy pixels of images with all pixels at ½.

    Returns:
        The standard deviation before clipping; None if fewer than 1 % are clipped, or if the other
        pixels are not those of clipped Gaussian noise.
    """
    share = float(((pixels <= 0) | (pixels >= 1)).double().mean())
    if not 0.01 < share < 0.999:
        return None
    width = 0.5 / float(torch.special.ndtri(torch.tensor(1 - share / 2, dtype=torch.float64)))
    expected = _clipped_deviation(width, 0.5)
    return width if abs(float(pixels.clamp(0, 1).std()) - expected) < 0.02 * expected else None


def _clipped_deviation(std: float, shade: float) -> float:
    """Return the standard deviation of clip(shade + std · ε, 0, 1)."""
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
            f"Images of type {dtype} should keep their type; the output has the type "
            f"{got.dtype if isinstance(got, torch.Tensor) else kind(got)}.",
        )


@check("add_noise")
def test_noise_centre(submission: Submission) -> None:
    """The noise is centred on 0."""
    add_noise = submission.object("add_noise")
    _expect_own_noise(add_noise)
    # Two means: right noise fails with a probability of 2e-10.
    for shade in (0.5, 0.7):
        pixels = noisy(add_noise, _grey(shade), STD)
        mean = float(pixels.mean())
        near_sigmoid = abs(mean - 1 / (1 + math.exp(-shade))) < 0.01
        expect(
            not near_sigmoid,
            f"Pixels of {shade:g} become {mean:.3f} on average: a sigmoid changes every pixel. "
            "Clipping does not change pixels inside [0, 1].",
            "sigmoid_for_clip",
        )
        expect(
            float(pixels.min()) < shade or float(pixels.max()) <= shade + 1e-6,
            "The noise is never negative. Do you clip it before you add it, or sample from [0, 1)?",
            "noise_one_sided",
        )
        expect(
            abs(mean - shade) <= mean_error(STD, COUNT),
            f"Noise should not change the mean brightness: pixels of {shade:g} become {mean:.4f} "
            "on average. Is the noise centred on 0?",
            "noise_off_centre",
        )


@check("add_noise")
def test_noise_spread(submission: Submission) -> None:
    """The noise has the standard deviation `std` for every image."""
    add_noise = submission.object("add_noise")
    # Two deviations: right noise fails with a probability below 3e-10.
    _expect_own_noise(add_noise)
    for shade in (0.5, 0.7):
        pixels = noisy(add_noise, _grey(shade), STD)
        deviation, uniform = float(pixels.std()), abs(kurtosis(pixels) - 1.8) < 0.1
        expect(deviation > 1e-6, NO_NOISE, "no_noise")
        if abs(deviation - STD) <= deviation_error(STD, COUNT):
            continue
        shown = (
            f" With std = {STD:g} its standard deviation should be {STD:g}; it is {deviation:.3g}."
        )
        known = (
            (STD**2, "variance_for_std", "The noise is scaled by the square of `std`."),
            (math.sqrt(STD), "root_of_std", "The root of `std` is taken: `std` is not a variance."),
            (
                _clipped_deviation(0.5, shade),
                "std_ignored",
                "The noise is the same for every `std`.",
            ),
            (
                _clipped_deviation(1.0, shade),
                "std_ignored",
                "The noise is the same for every `std`.",
            ),
            (STD / math.sqrt(12), "uniform_noise", "Your noise is uniform; make it Gaussian."),
            (STD / math.sqrt(3), "uniform_noise", "Your noise is uniform; make it Gaussian."),
        )
        for wrong, name, says in known:
            near = abs(deviation - wrong) <= 0.03 * max(wrong, STD / 10)
            expect(not near or (name == "uniform_noise" and not uniform), says + shown, name)
        # Multiplied noise follows the brightness of the image.
        brighter = float(noisy(add_noise, _grey(0.7), STD).std())
        darker = float(noisy(add_noise, _grey(0.5), STD).std())
        expect(
            abs(darker - STD * 0.5) > 0.03 * STD or abs(brighter - STD * 0.7) > 0.03 * STD,
            "The noise is multiplied by the image. Add it." + shown,
            "noise_multiplied",
        )
        twice = float(noisy(add_noise, _grey(shade), 2 * STD).std())
        expect(
            abs(twice - 2 * deviation) > 0.05 * twice,
            f"The noise is {deviation / STD:.2g} times as wide as `std` says." + shown,
            "noise_spread",
        )
        expect(False, "The noise does not follow `std`." + shown)


@check("add_noise")
def test_noise_is_gaussian(submission: Submission) -> None:
    """The noise is Gaussian: its fourth moment is 3 σ⁴."""
    add_noise = submission.object("add_noise")
    # Gaussian noise fails with a probability below 1e-10.
    _expect_own_noise(add_noise)
    z = noisy(add_noise, _grey(), STD) - 0.5
    expect(float(z.std()) > 1e-6, NO_NOISE, "no_noise")
    fourth = kurtosis(z)
    low, high = kurtosis_range(COUNT)
    expect(
        low <= fourth <= high,
        f"The noise does not look Gaussian: its kurtosis should be 3; it is {fourth:.2f}.",
        "uniform_noise" if abs(fourth - 1.8) < 0.1 else None,
    )


@check("add_noise")
def test_noise_default(submission: Submission) -> None:
    """Without a second argument, `std` is 0.5."""
    add_noise = submission.object("add_noise")
    _expect_own_noise(add_noise)
    means = [
        [float(noisy(add_noise, _grey(0.0), *std).mean()) for _ in range(CALLS)]
        for std in ((), (DEFAULT_STD,))
    ]
    by_default, given = (sum(some) / CALLS for some in means)
    # Noise that is rescaled has another mean in each call, whatever the default is.
    varies = sum(max(some) - min(some) for some in means)
    # The standard deviation of a clipped black pixel is less than `std`: right noise fails with a
    # probability below 1e-10.
    expect(
        abs(by_default - given) <= math.sqrt(2) * mean_error(DEFAULT_STD, COUNT) + 2 * varies,
        f"`add_noise(x)` differs from `add_noise(x, {DEFAULT_STD:g})`: black images become "
        f"{by_default:.3f} instead of {given:.3f} on average. What is the default of `std`?",
        "default_std",
    )


@check("add_noise")
def test_noise_clipped(submission: Submission) -> None:
    """Values outside [0, 1] are clipped, and other values do not change."""
    add_noise = submission.object("add_noise")
    _expect_own_noise(add_noise)
    weak = noisy(add_noise, _grey(), STD)
    expect(
        float(weak.min()) > 0 and float(weak.max()) < 1,
        f"With std = {STD:g}, some pixels of ½ become black or white. Do you rescale the values "
        "to fill [0, 1]? Only values outside [0, 1] should change.",
        "range_stretched",
    )
    brighter = [(float(noisy(add_noise, _grey(s), STD).min()), s) for s in (0.5, 0.9)]
    # Images without any noise are reported by another check.
    expect(
        any(darkest < shade for darkest, shade in brighter) or float(weak.max()) <= 0.5,
        "The noise is never negative: grey pixels only become brighter. So black pixels are not "
        "clipped. Half of Gaussian noise is negative.",
        "noise_one_sided",
    )
    # Two shares: right noise fails with a probability of 2e-10.
    for shade in (0.0, 1.0):
        pixels = noisy(add_noise, _grey(shade), 0.5)
        low, high = float(pixels.min()), float(pixels.max())
        expect(
            low >= 0 and high <= 1,
            f"Noisy pixels range from {low:.3g} to {high:.3g}; they should be in [0, 1]. Clip the "
            "sum.",
            "not_clipped",
        )
        share = float((pixels == shade).double().mean())
        expect(
            abs(share - 0.5) <= share_error(COUNT),
            f"Half of the noise moves a {'white' if shade else 'black'} pixel out of [0, 1]. So "
            f"half of these pixels should be clipped to {shade:g}; here {share:.0%} are. Clip only "
            "the sum.",
            "not_cut_off",
        )


@check("add_noise")
def test_noise_is_new(submission: Submission) -> None:
    """Every pixel of every image has its own noise, and every call uses new noise."""
    add_noise = submission.object("add_noise")
    first, again = _expect_own_noise(add_noise)
    expect(float(first.std()) > 1e-6, NO_NOISE, "no_noise")
    expect(
        not torch.equal(first, again),
        "Two calls return the same noise. Do you set a seed, or sample the noise only once?",
        "noise_drawn_once",
    )
    expect_new_noise(add_noise, images(2), STD, name="add_noise")


@check("add_noise")
def test_images_stay_clean(submission: Submission) -> None:
    """The images that `add_noise` gets do not change."""
    expect_inputs_kept(submission, "add_noise", {"x": images(3)})
