"""Checks of functions of single latent dimensions: ranking them, and changing one."""

import math
from dataclasses import replace
from typing import Any

import torch

from autograder.checks.a07_fashion_vae.convolutions import SMALL, shapes
from autograder.checks.vocabulary import (
    CheckFailed,
    Mistake,
    check,
    expect,
    expect_close,
    expect_tensor,
    kind,
)
from autograder.protocol.remote import Affine, Other, Raised, RemoteObject, Submission


def two_dims(got: Any) -> torch.Tensor:
    """Expect two integers, in a tuple or a tensor."""
    several = isinstance(got, tuple) or (isinstance(got, torch.Tensor) and got.dim() > 0)
    items = list(got) if several and len(got) == 2 else []
    whole = [
        int(item)
        for item in items
        if type(item) is int
        or (isinstance(item, torch.Tensor) and item.dim() == 0 and not item.is_floating_point())
    ]
    floats = [
        float(item)
        for item in items
        if isinstance(item, float)
        or (isinstance(item, torch.Tensor) and item.dim() == 0 and item.is_floating_point())
    ]
    expect(
        not floats or not all(item.is_integer() for item in floats),
        "`top_two_dims` returns floating-point numbers. Return two integers: code that follows "
        "uses them as indices.",
        "floats_returned",
    )
    expect(
        len(whole) == 2 or len(items) != 2,
        "`top_two_dims` returns two numbers that are no whole numbers. Return the two dimensions, "
        "not their variances.",
        "variances_returned",
    )
    expect(len(whole) == 2, f"`top_two_dims` should return two integers, got {kind(got)}.")
    return torch.tensor(whole)


def codes_to_rank() -> torch.Tensor:
    """Make codes (200, 12) in which only the variance ranks the dimensions correctly.

    Each of the incorrect measures below ranks another pair of dimensions first.
    """
    z = torch.randn(200, 12)
    z = (z - z.mean(0)) / z.std(0)
    z *= torch.tensor([0.1, 0.5, 0.7, 3.0, 0.5, 0.2, 0.5, 0.5, 2.7, 0.7, 0.7, 2.5])
    z += torch.tensor([0.0, 8.6, 0.0, 0.0, 0.0, 0.0, -12.0, 0.0, 0.0, 0.0, 0.0, 8.5])
    z[0, 4], z[1, 7] = 25.0, -24.0
    return z


def ranked(measure: torch.Tensor) -> torch.Tensor:
    """Return the indices of the two highest values of the measure, the highest first."""
    return measure.argsort(descending=True)[:2]


TOP_MISTAKES = (
    Mistake(
        "order_reversed",
        "The two dimensions are correct, but their order is not: the highest variance should "
        "be first.",
        lambda z: ranked(z.var(0)).flip(0),
    ),
    *(
        Mistake(
            "lowest_variance",
            "These are the dimensions with the lowest variance. Is your sort ascending or "
            "descending?",
            lambda z, order=order: ranked(-z.var(0))[order],
        )
        for order in ([0, 1], [1, 0])
    ),
    Mistake(
        "wrong_axis",
        "You rank the images, not the dimensions. Compute the variance over the rows (the images).",
        lambda z: ranked(z.var(1)),
    ),
    *(
        Mistake(
            "mean_for_variance",
            "You rank by the mean or its absolute value. Rank by the variance, the mean "
            "squared deviation from the mean.",
            lambda z, size=size: ranked(size(z.mean(0))),
        )
        for size in (torch.clone, torch.abs)
    ),
    Mistake(
        "mean_not_subtracted",
        "You rank by the mean square. Subtract the mean first: the variance is the mean "
        "squared deviation from it.",
        lambda z: ranked((z**2).mean(0)),
    ),
    Mistake(
        "range_for_variance",
        "You rank by the range (maximum − minimum), which a single image can change. Rank by "
        "the variance.",
        lambda z: ranked(z.amax(0) - z.amin(0)),
    ),
    Mistake(
        "extreme_for_variance",
        "You rank by the largest value. Rank by the variance, which uses all values.",
        lambda z: ranked(z.amax(0)),
    ),
)


@check("top_two_dims")
def test_top_two_dims(submission: Submission) -> None:
    """`top_two_dims` returns the two dimensions with the highest variance, the highest first."""
    for shuffle in (torch.arange(12), torch.randperm(12)):
        z = codes_to_rank()[:, shuffle]
        got = two_dims(submission.object("top_two_dims")(z))
        expect_close(got, ranked(z.var(0)), "`top_two_dims(embeddings)`", (z,), TOP_MISTAKES)


@check("top_two_dims")
def test_top_two_dims_of_an_array(submission: Submission) -> None:
    """`top_two_dims` accepts a NumPy array of any size as well as a tensor."""
    for n, latent_dim in ((40, 2), (3, 25)):
        z = torch.randn(n, latent_dim, dtype=torch.float64)
        held = submission.hold(z, as_array=True)
        got = two_dims(submission.object("top_two_dims")(held))
        expect_close(got, ranked(z.var(0)), "`top_two_dims(embeddings)` of an array")
        after = held.value()
        expect(
            isinstance(after, torch.Tensor) and torch.equal(after, z),
            "After a call of `top_two_dims`, the caller's `embeddings` contains different numbers. "
            "Which of your operations works in place?",
            "input_changed",
        )


def quantiles(low: float = 0.05, high: float = 0.95, n: int = 7) -> torch.Tensor:
    """Return the quantiles of N(0, 1) at n evenly spaced probabilities, (n,)."""
    return torch.special.ndtri(torch.linspace(low, high, n, dtype=torch.float64))


EVEN = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
QUANTILE_MISTAKES = (
    Mistake(
        "probabilities_for_values",
        "These are the probabilities themselves. Use `norm.ppf` to compute the values.",
        lambda: EVEN,
    ),
    Mistake(
        "linspace_for_quantiles",
        "Your values are evenly spaced. Their probabilities should be evenly spaced.",
        lambda: torch.linspace(float(quantiles()[0]), float(quantiles()[-1]), 7),
    ),
    Mistake(
        "cdf_for_quantiles",
        "`norm.cdf` maps a value to a probability. You need its inverse.",
        lambda: torch.special.ndtr(EVEN),
    ),
    Mistake(
        "density_for_quantiles",
        "`norm.pdf` is the density. You need the inverse of the distribution function.",
        lambda: torch.exp(-0.5 * EVEN**2) / math.sqrt(2 * math.pi),
    ),
    Mistake(
        "order_reversed",
        "Your values descend. They should ascend.",
        lambda: quantiles().flip(0),
    ),
)


def is_number(value: Any) -> bool:
    """Return whether a value is a number, or a tensor of one number."""
    one = isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_complex()
    return one or type(value) in (int, float)


@check("quantiles")
def test_quantiles(submission: Submission) -> None:
    """`values` is norm.ppf of 7 evenly spaced probabilities from 0.05 to 0.95."""
    value = submission.value("values")
    if isinstance(value, Other) and value.kind == "ellipsis":
        raise CheckFailed("`values` is not filled in yet.", todo=True)
    if isinstance(value, tuple) and all(map(is_number, value)):
        # A list of NumPy's numbers arrives as tensors without axes.
        value = torch.tensor([float(item) for item in value], dtype=torch.float64)
    expect(
        not isinstance(value, torch.Tensor) or not bool(torch.isinf(value).any()),
        "The first and last of `values` are infinite, because their probabilities are 0 and 1. "
        "Use probabilities from 0.05 to 0.95.",
        "infinite_ends",
    )
    got = expect_tensor(value, (7,), "`values`")
    expect_close(got, quantiles(), "`values`", (), QUANTILE_MISTAKES, tolerance=1e-3)


def width_of(submission: Submission, lat: int) -> int:
    """Return the code size of a decoder that is made for `lat` latents.

    It is another number if the decoder ignores `lat`, which costs another task.
    """
    layers = shapes(replace(SMALL, lat=lat).make(submission, "Decoder"))
    widths = {shape[1] for shape in layers if len(shape) == 2}
    return widths.pop() if len(widths) == 1 else lat


def decoder_of_known_images(submission: Submission, lat: int) -> tuple[RemoteObject, torch.Tensor]:
    """Make a decoder whose `forward` is a known map, and return it with the weights (lat, 784)."""
    decoder = replace(SMALL, lat=lat).make(submission, "Decoder")
    weights = torch.randn(lat, 28 * 28)
    decoder.set_stub("forward", Affine([weights], (1, 28, 28)), squash=True, names=("z",))
    return decoder, weights


def decoded(codes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the known decoder's images (n, 1, 28, 28) of codes (n, Z)."""
    return (codes.float() @ weights).sigmoid().unflatten(1, (1, 28, 28))


def one_changed(lat: int, dim: int, values: torch.Tensor) -> torch.Tensor:
    """Return codes (n, lat) that are 0 in all dimensions except one."""
    codes = torch.zeros(len(values), lat, dtype=values.dtype)
    codes[:, dim] = values
    return codes


PERTURB_MISTAKES = (
    Mistake(
        "every_dimension_moves",
        "Every dimension of the code gets the value. Only `dim` should get it; set the others "
        "to 0.",
        lambda w, dim, v: decoded(v[:, None].expand(-1, len(w)), w),
    ),
    *(
        Mistake(
            "wrong_dimension",
            "You change another dimension than `dim`. Dimensions count from 0.",
            lambda w, dim, v, step=step: decoded(one_changed(len(w), (dim + step) % len(w), v), w),
        )
        for step in (-1, 1)
    ),
    Mistake(
        "base_is_one",
        "The other dimensions are 1. Set them to 0, the mean of the prior.",
        lambda w, dim, v: decoded(one_changed(len(w), dim, v - 1) + 1, w),
    ),
    Mistake(
        "quantile_inside",
        "`perturb` applies `norm.ppf` to its values. They are quantiles already: use them "
        "unchanged.",
        lambda w, dim, v: decoded(one_changed(len(w), dim, torch.special.ndtri(v)), w),
    ),
    Mistake(
        "own_values",
        "`perturb` uses its own values. Use the argument `values`.",
        lambda w, dim, v: decoded(one_changed(len(w), dim, quantiles(n=len(v))), w),
    ),
    Mistake(
        "order_reversed",
        "The images are in the opposite order to the values.",
        lambda w, dim, v: decoded(one_changed(len(w), dim, v.flip(0)), w),
    ),
)


def perturbed(submission: Submission, lat: int, dim: int, values: torch.Tensor) -> torch.Tensor:
    """Call `perturb` on a decoder of known images, and compare the images."""
    lat = width_of(submission, lat)
    dim = min(dim, lat - 1)
    decoder, weights = decoder_of_known_images(submission, lat)
    array = submission.hold(values, as_array=True)
    what = "`perturb(decoder, dim, values)`"
    pixels, again = (
        expect_tensor(
            submission.object("perturb")(decoder, dim, array), (len(values), 1, 28, 28), what
        )
        for _ in range(2)
    )
    expect(
        torch.equal(pixels, again),
        "Two calls return different images: part of the code is random. Set the other "
        "dimensions to 0, the mean of the prior.",
        "base_is_drawn",
    )
    right = decoded(one_changed(lat, dim, values), weights)
    expect_close(pixels, right, what, (weights, dim, values), PERTURB_MISTAKES)
    if decoder.forward.seen().dtype == torch.float64:
        expect_takes_float64(submission)
    return pixels


def expect_takes_float64(submission: Submission) -> None:
    """Expect that the submission's decoder, which got codes in float64, can decode them."""
    decoder = SMALL.make(submission, "Decoder")
    codes = torch.randn(2, SMALL.lat)
    try:
        decoder(codes)
    except Raised:
        return  # another task reports it
    try:
        decoder(codes.double())
    except Raised as error:
        raise CheckFailed(
            "`perturb` makes codes in float64. Your decoder has weights in float32, and raises "
            f"{error.kind} for them. Give the codes the dtype of the weights.",
            "double_precision",
        ) from None


@check("perturb")
def test_perturb(submission: Submission) -> None:
    """Each value gives the image of a code in which only `dim` has this value and the rest is 0."""
    # Values between 0 and 1 make a second `norm.ppf` visible.
    expect_perturbed(submission, 4, 1, torch.rand(7, dtype=torch.float64) * 0.9 + 0.05)


@check("perturb")
def test_perturb_of_any_decoder(submission: Submission) -> None:
    """The latent size is the decoder's. The number of values is arbitrary."""
    for lat, dim, n in ((9, 8, 3), (2, 0, 1)):
        expect_perturbed(submission, lat, dim, torch.randn(n, dtype=torch.float64))


def expect_perturbed(submission: Submission, lat: int, dim: int, values: torch.Tensor) -> None:
    """Expect the right images of `perturb`, or explain an error; see `perturbed`."""
    try:
        perturbed(submission, lat, dim, values)
    except Raised:
        calls = calls_with_own_size(submission, len(values))
        expect(
            calls != 0,
            "`perturb` does not call the decoder that it is given. Call `decoder(codes)`.",
            "decoder_not_called",
        )
        expect(
            not calls,
            "`perturb` works only for a decoder with the latent size of your `model`. It "
            f"fails for a decoder with latent size {lat}. Read the size from the `decoder` "
            "argument.",
            "latent_size_fixed",
        )
        raise


def calls_with_own_size(submission: Submission, n: int) -> int | None:
    """Return how many codes `perturb` decodes for a decoder with the notebook's own `lat`.

    Args:
        submission: The submission.
        n: The number of values.

    Returns:
        The number, or None if it raises an error for the last dimension, too.
    """
    try:
        lat = submission.value("lat")
        if type(lat) is not int or not 0 < lat <= 1000:
            return None
        decoder, _ = decoder_of_known_images(submission, lat)
        values = submission.hold(torch.zeros(n, dtype=torch.float64), as_array=True)
        submission.object("perturb")(decoder, lat - 1, values)
        return len(decoder.forward.seen())
    except Raised:
        return None
