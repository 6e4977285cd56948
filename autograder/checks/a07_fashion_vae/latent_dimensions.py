"""Checks of what is done with single latent dimensions: ranking them, and changing one."""

import math
from dataclasses import replace
from typing import Any

import torch

from autograder.checks.a07_fashion_vae.convolutions import SMALL
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
    """Expect two integers, however they are held."""
    items = list(got) if isinstance(got, tuple | torch.Tensor) and len(got) == 2 else []
    whole = [
        int(item)
        for item in items
        if type(item) is int
        or (isinstance(item, torch.Tensor) and item.dim() == 0 and not item.is_floating_point())
    ]
    expect(len(whole) == 2, f"`top_two_dims` should return two integers, got {kind(got)}.")
    return torch.tensor(whole)


def codes_to_rank() -> torch.Tensor:
    """Make codes (200, 12) in which every measure but the variance ranks the dimensions wrongly.

    Each of the mistaken measures below has a pair of dimensions of its own.
    """
    z = torch.randn(200, 12)
    z = (z - z.mean(0)) / z.std(0)
    z *= torch.tensor([0.1, 0.5, 0.7, 3.0, 0.5, 0.2, 0.5, 0.5, 2.7, 0.7, 0.7, 2.5])
    z += torch.tensor([0.0, 8.6, 0.0, 0.0, 0.0, 0.0, -12.0, 0.0, 0.0, 0.0, 0.0, 8.5])
    z[0, 4], z[1, 7] = 25.0, -24.0
    return z


def ranked(measure: torch.Tensor) -> torch.Tensor:
    """The two places with the highest measure, the highest first."""
    return measure.argsort(descending=True)[:2]


TOP_MISTAKES = (
    Mistake(
        "order_reversed",
        "The two dimensions are right, but their order isn't: the highest variance comes first.",
        lambda z: ranked(z.var(0)).flip(0),
    ),
    *(
        Mistake(
            "lowest_variance",
            "These are the dimensions with the lowest variance. Which way does your sort run?",
            lambda z, order=order: ranked(-z.var(0))[order],
        )
        for order in ([0, 1], [1, 0])
    ),
    Mistake(
        "wrong_axis",
        "You rank the images, not the dimensions: take the variance over the rows.",
        lambda z: ranked(z.var(1)),
    ),
    *(
        Mistake(
            "mean_for_variance",
            "You rank by the mean or by its size. The variance is about the spread around it.",
            lambda z, size=size: ranked(size(z.mean(0))),
        )
        for size in (torch.clone, torch.abs)
    ),
    Mistake(
        "mean_not_subtracted",
        "You rank by the mean square. The variance is taken around the mean.",
        lambda z: ranked((z**2).mean(0)),
    ),
    Mistake(
        "range_for_variance",
        "You rank by the distance between extremes, which a single image can change.",
        lambda z: ranked(z.amax(0) - z.amin(0)),
    ),
    Mistake(
        "extreme_for_variance",
        "You rank by the largest values. The variance is about all of them.",
        lambda z: ranked(z.amax(0)),
    ),
)


@check("top_two_dims")
def test_top_two_dims(submission: Submission) -> None:
    """The two dimensions with the highest variance come back, the highest first."""
    for shuffle in (torch.arange(12), torch.randperm(12)):
        z = codes_to_rank()[:, shuffle]
        got = two_dims(submission.object("top_two_dims")(z))
        expect_close(got, ranked(z.var(0)), "`top_two_dims(embeddings)`", (z,), TOP_MISTAKES)


@check("top_two_dims")
def test_top_two_dims_of_an_array(submission: Submission) -> None:
    """A NumPy array of any size is as good as a tensor."""
    for n, latent_dim in ((40, 2), (3, 25)):
        z = torch.randn(n, latent_dim, dtype=torch.float64)
        got = two_dims(submission.object("top_two_dims")(submission.hold(z, as_array=True)))
        expect_close(got, ranked(z.var(0)), "`top_two_dims(embeddings)` of an array")


def quantiles(low: float = 0.05, high: float = 0.95, n: int = 7) -> torch.Tensor:
    """Where N(0, 1) lies below with n evenly spaced probabilities, (n,)."""
    return torch.special.ndtri(torch.linspace(low, high, n, dtype=torch.float64))


EVEN = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
QUANTILE_MISTAKES = (
    Mistake(
        "probabilities_for_values",
        "These are the probabilities themselves. `norm.ppf` turns them into values.",
        lambda: EVEN,
    ),
    Mistake(
        "linspace_for_quantiles",
        "Your values are evenly spaced. It is their probabilities that should be.",
        lambda: torch.linspace(float(quantiles()[0]), float(quantiles()[-1]), 7),
    ),
    Mistake(
        "cdf_for_quantiles",
        "`norm.cdf` goes from a value to a probability; you need the way back.",
        lambda: torch.special.ndtr(EVEN),
    ),
    Mistake(
        "density_for_quantiles",
        "`norm.pdf` is the density. You need the inverse of the distribution function.",
        lambda: torch.exp(-0.5 * EVEN**2) / math.sqrt(2 * math.pi),
    ),
    Mistake(
        "order_reversed",
        "Your values run downwards; they should ascend.",
        lambda: quantiles().flip(0),
    ),
)


@check("quantiles")
def test_quantiles(submission: Submission) -> None:
    """`values` holds norm.ppf of 7 evenly spaced probabilities from 0.05 to 0.95."""
    value = submission.value("values")
    if isinstance(value, Other) and value.kind == "ellipsis":
        raise CheckFailed("`values` is not filled in yet.", todo=True)
    if isinstance(value, tuple):
        value = torch.tensor([float(item) for item in value], dtype=torch.float64)
    expect(
        isinstance(value, torch.Tensor) and not bool(torch.isinf(value).any()),
        "The ends of `values` are infinite: no draw ever lies at probability 0 or 1. Stay between "
        "0.05 and 0.95.",
        "infinite_ends",
    )
    got = expect_tensor(value, (7,), "`values`")
    expect_close(got, quantiles(), "`values`", (), QUANTILE_MISTAKES, tolerance=1e-3)


def decoder_of_known_images(submission: Submission, lat: int) -> tuple[RemoteObject, torch.Tensor]:
    """Make a decoder with its own layers that decodes by a known map, and give that (lat, 784)."""
    decoder = replace(SMALL, lat=lat).make(submission, "Decoder")
    weights = torch.randn(lat, 28 * 28)
    decoder.set_stub("forward", Affine([weights], (1, 28, 28)), squash=True, names=("z",))
    return decoder, weights


def decoded(codes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """What the known decoder makes of codes (n, Z), (n, 1, 28, 28)."""
    return (codes.float() @ weights).sigmoid().unflatten(1, (1, 28, 28))


def one_changed(lat: int, dim: int, values: torch.Tensor) -> torch.Tensor:
    """Codes that are 0 but for one dimension, (n, lat)."""
    codes = torch.zeros(len(values), lat, dtype=values.dtype)
    codes[:, dim] = values
    return codes


PERTURB_MISTAKES = (
    Mistake(
        "every_dimension_moves",
        "Every dimension of the code takes the value. Only `dim` should; hold the rest at 0.",
        lambda w, dim, v: decoded(v[:, None].expand(-1, len(w)), w),
    ),
    *(
        Mistake(
            "wrong_dimension",
            "Another dimension is changed than `dim`: dimensions count from 0.",
            lambda w, dim, v, step=step: decoded(one_changed(len(w), (dim + step) % len(w), v), w),
        )
        for step in (-1, 1)
    ),
    Mistake(
        "base_is_one",
        "The other dimensions are 1. Hold them at 0, the middle of the prior.",
        lambda w, dim, v: decoded(one_changed(len(w), dim, v - 1) + 1, w),
    ),
    Mistake(
        "quantile_inside",
        "`perturb` takes `norm.ppf` of its values. They are quantiles already: use them as they "
        "are.",
        lambda w, dim, v: decoded(one_changed(len(w), dim, torch.special.ndtri(v)), w),
    ),
    Mistake(
        "own_values",
        "`perturb` uses values of its own, not those that it is given.",
        lambda w, dim, v: decoded(one_changed(len(w), dim, quantiles(n=len(v))), w),
    ),
    Mistake(
        "order_reversed",
        "The images come in the opposite order to the values.",
        lambda w, dim, v: decoded(one_changed(len(w), dim, v.flip(0)), w),
    ),
)


def perturbed(submission: Submission, lat: int, dim: int, values: torch.Tensor) -> torch.Tensor:
    """Call `perturb` on a decoder of known images, and compare."""
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
        "Two calls give different images: something in the code is drawn. Hold the rest at 0, the "
        "middle of the prior.",
        "base_is_drawn",
    )
    right = decoded(one_changed(lat, dim, values), weights)
    expect_close(pixels, right, what, (weights, dim, values), PERTURB_MISTAKES)
    return pixels


@check("perturb")
def test_perturb(submission: Submission) -> None:
    """Each value gives the image of a code that is 0 but for it."""
    # Values between 0 and 1, where a second `norm.ppf` would show.
    perturbed(submission, 4, 1, torch.rand(7, dtype=torch.float64) * 0.9 + 0.05)


@check("perturb")
def test_perturb_of_any_decoder(submission: Submission) -> None:
    """The latent size is the decoder's, and any number of values will do."""
    for lat, dim, n in ((9, 8, 3), (2, 0, 1)):
        try:
            perturbed(submission, lat, dim, torch.randn(n, dtype=torch.float64))
        except Raised:
            expect(
                not works_with_own_size(submission),
                f"`perturb` works for a decoder with the latent size of your `model` alone, and "
                f"not for one with {lat}: ask the decoder that comes in for its size.",
                "latent_size_fixed",
            )
            raise


def works_with_own_size(submission: Submission) -> bool:
    """Say whether `perturb` raises nothing for a decoder with the notebook's own `lat`."""
    lat = submission.value("lat")
    if type(lat) is not int or not 0 < lat <= 1000:
        return False
    try:
        submission.object("perturb")(
            decoder_of_known_images(submission, lat)[0],
            0,
            submission.hold(torch.zeros(2, dtype=torch.float64), as_array=True),
        )
    except Raised:
        return False
    return True
