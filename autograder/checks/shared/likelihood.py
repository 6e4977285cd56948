"""Reconstruction terms −log p(x|z), their known mistakes and their checks.

The mistakes are written once, for one pixel of (x_hat, x). They are derived for each reduction.
x_hat, what the decoder returned, and the images x have one shape, (N, ...).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from autograder.checks.shared.differences import Term, rounding
from autograder.checks.shared.kl import (
    BATCH_SIZES,
    FACTORS,
    FIXED_DIVISOR,
    expect_no_fixed_divisor,
)
from autograder.checks.shared.networks import Checks, named_check
from autograder.checks.shared.parameterization import EACH_IMAGE, MEAN, TOTAL, Reduction
from autograder.checks.vocabulary import (
    Mistake,
    close,
    difference,
    expect_close,
    expect_grad,
    fail,
)
from autograder.protocol.remote import Submission

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
Cost = Callable[..., torch.Tensor]
Entry = tuple[str, str, Cost]


@dataclass(frozen=True)
class Likelihood:
    """One likelihood p(x|z).

    Attributes:
        cost: Computes −log p of each pixel from x_hat, x and, for the Gaussian, σ_x.
        name: The term in words, for messages.
        mistakes: The mistakes in a pixel's cost: a name, a message and a formula of the same
            arguments. Only constants and factors: the reductions are derived.
        scaled: Wrong costs with a known mistake that often have a wrong reduction too.
    """

    cost: Cost
    name: str
    mistakes: tuple[Entry, ...]
    scaled: tuple[Cost, ...] = ()

    def term(self, reduction: Reduction, *inputs: Any) -> torch.Tensor:
        """Return the right reconstruction term, reduced."""
        return reduction.of(self.cost(*inputs))


def bce(x_hat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each pixel, in nats."""
    return F.binary_cross_entropy(x_hat, x, reduction="none")


def half_square(x_hat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return −log N(x; x_hat, 1) of each pixel without its constant."""
    return 0.5 * (x_hat - x) ** 2


def gaussian(x_hat: torch.Tensor, x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return −log N(x; x_hat, sigma²) of each pixel, with its constants."""
    return (x_hat - x) ** 2 / (2 * sigma**2) + math.log(sigma) + HALF_LOG_TWO_PI


BERNOULLI = Likelihood(
    bce,
    "reconstruction term",
    (
        (
            "recon_swapped",
            "Prediction and data are swapped in your cross-entropy: the prediction comes first, "
            "the data second.",
            lambda x_hat, x: bce(x, x_hat),
        ),
        (
            "recon_logits",
            "Your cross-entropy applies a sigmoid to x_hat. The values of x_hat are already in "
            "[0, 1]: the sigmoid belongs at the end of the decoder, and only there.",
            lambda x_hat, x: F.binary_cross_entropy_with_logits(x_hat, x, reduction="none"),
        ),
        (
            "recon_squared_error",
            "Your reconstruction term is a squared error. It should be the binary cross-entropy.",
            lambda x_hat, x: (x_hat - x) ** 2,
        ),
        (
            "recon_half",
            "Half of your cross-entropy is missing: black pixels have a probability too.",
            lambda x_hat, x: -x * x_hat.log(),
        ),
        (
            "recon_half",
            "Half of your cross-entropy is missing: white pixels have a probability too.",
            lambda x_hat, x: -(1 - x) * (1 - x_hat).log(),
        ),
        (
            "recon_squared_error",
            "Your reconstruction term is half a squared error. It should be the binary "
            "cross-entropy.",
            lambda x_hat, x: 0.5 * (x_hat - x) ** 2,
        ),
        (
            "recon_absolute_error",
            "Your reconstruction term is an absolute error. It should be the binary cross-entropy.",
            lambda x_hat, x: (x_hat - x).abs(),
        ),
        (
            "recon_not_log",
            "Your reconstruction term uses the probability where its logarithm is needed.",
            lambda x_hat, x: -(x * x_hat + (1 - x) * (1 - x_hat)),
        ),
        (
            "recon_rounded",
            "You round the grey pixels of the images to black and white. Use them unchanged.",
            lambda x_hat, x: bce(x_hat, x.round()),
        ),
        (
            "recon_rounded",
            "You round x_hat to black and white. Use the probabilities themselves.",
            lambda x_hat, x: bce(x_hat.round(), x),
        ),
        (
            "recon_half_sign",
            "The two halves of your cross-entropy have different signs. Both are logarithms of "
            "probabilities.",
            lambda x_hat, x: (1 - x) * (1 - x_hat).log() - x * x_hat.log(),
        ),
        (
            "recon_in_bits",
            "Your reconstruction term is in bits. Use the natural logarithm: the KL is in nats.",
            lambda x_hat, x: bce(x_hat, x) / math.log(2),
        ),
        (
            "recon_in_bits",
            "Your reconstruction term uses the logarithm to base 10. Use the natural logarithm: "
            "the KL is in nats.",
            lambda x_hat, x: bce(x_hat, x) / math.log(10),
        ),
        (
            "recon_without_data",
            "Your cross-entropy compares x_hat with itself. Compare it with the images.",
            lambda x_hat, x: bce(x_hat, x_hat),
        ),
        (
            "recon_without_data",
            "Your cross-entropy compares the images with themselves. Compare x_hat with them.",
            lambda x_hat, x: bce(x, x),
        ),
    ),
)
NOT_SQUARED = "Your squared error uses the differences without their square."
SQUARED_ERROR = Likelihood(
    half_square,
    "squared error",
    (
        (
            "half_missing",
            "Your squared error is twice what it should be: a plain sum of squares assumes "
            "σ² = ½. With σ = 1 there is a factor before it.",
            lambda x_hat, x: 2 * half_square(x_hat, x),
        ),
        (
            "constant_kept",
            "Your squared error contains the constant ½ log 2π of each pixel. Omit it here.",
            lambda x_hat, x: half_square(x_hat, x) + HALF_LOG_TWO_PI,
        ),
        ("not_squared", NOT_SQUARED, lambda x_hat, x: (x_hat - x).abs() / 2),
        ("not_squared", NOT_SQUARED, lambda x_hat, x: (x_hat - x).abs()),
    ),
    scaled=(lambda x_hat, x: (x_hat - x) ** 2,),
)


def _density(square: float, log: float, constant: float, power: float) -> Cost:
    """Return a Gaussian cost with other factors, and another power of σ below the square."""

    def cost(x_hat: torch.Tensor, x: torch.Tensor, sigma: float) -> torch.Tensor:
        scaled = square * (x_hat - x) ** 2 / (2 * sigma**power)
        return scaled + log * math.log(sigma) + constant * HALF_LOG_TWO_PI

    return cost


VARIANCE = ("recon_sigma_for_variance", "The squares are divided by σ_x where σ_x² is needed.")
NO_HALF = ("recon_half_missing", "A factor of ½ is missing before the squares.")
DOUBLE_LOG = (
    "recon_log_variance",
    "The density uses log σ_x² where log σ_x is needed (or ½ log σ_x²).",
)
GAUSSIAN = Likelihood(
    gaussian,
    "reconstruction term",
    (
        (
            "recon_log_sigma_missing",
            "log σ_x is missing in your density. With it, the density of each pixel integrates to "
            "1 for every σ_x.",
            _density(1, 0, 1, 2),
        ),
        (
            "recon_constant_missing",
            "½ log 2π is missing for each pixel: without it this is no density. (PyTorch's "
            "Gaussian loss omits it by default.)",
            _density(1, 1, 0, 2),
        ),
        (
            "recon_constants_missing",
            "Your density contains only the scaled squares. The other terms of each pixel's "
            "log-density are missing.",
            _density(1, 0, 0, 2),
        ),
        (*VARIANCE, _density(1, 1, 1, 1)),
        (*VARIANCE, _density(1, 0.5, 0, 1)),
        (*VARIANCE, _density(1, 0.5, 1, 1)),
        (*VARIANCE, _density(1, 1, 0, 1)),
        (*VARIANCE, _density(1, 0, 0, 1)),
        (*NO_HALF, _density(2, 1, 1, 2)),
        (*NO_HALF, _density(2, 1, 0, 2)),
        (*NO_HALF, _density(2, 0, 0, 2)),
        (*DOUBLE_LOG, _density(1, 2, 1, 2)),
        (*DOUBLE_LOG, _density(1, 2, 2, 2)),
        (
            "recon_sigma_ignored",
            "Your density does not change with `sigma_x`.",
            lambda x_hat, x, sigma: gaussian(x_hat, x, 1.0),
        ),
        (
            "recon_sigma_ignored",
            "Your density uses the constant 0.1 in place of `sigma_x`.",
            lambda x_hat, x, sigma: gaussian(x_hat, x, 0.1),
        ),
        *(
            (
                "recon_sigma_ignored",
                "Only one of the two terms of your density follows `sigma_x`. The other uses the "
                "constant 0.1.",
                lambda x_hat, x, sigma, own=own: (
                    (x_hat - x) ** 2 / (2 * own(sigma, 0.1) ** 2)
                    + math.log(own(0.1, sigma))
                    + HALF_LOG_TWO_PI
                ),
            )
            for own in (lambda first, second: first, lambda first, second: second)
        ),
        (
            "recon_rounded",
            "You round the grey pixels of the images to black and white. Use them unchanged.",
            lambda x_hat, x, sigma: gaussian(x_hat, x.round(), sigma),
        ),
        (
            "recon_not_squared",
            "Your density uses the differences without their square.",
            lambda x_hat, x, sigma: (
                (x_hat - x).abs() / (2 * sigma) + math.log(sigma) + HALF_LOG_TWO_PI
            ),
        ),
        *(
            (
                "recon_not_squared",
                "Your density uses the differences without their square.",
                lambda x_hat, x, sigma, sign=sign: (
                    sign * (x - x_hat) / (2 * sigma) + math.log(sigma) + HALF_LOG_TWO_PI
                ),
            )
            for sign in (1, -1)
        ),
        (
            "recon_sigma_fourth",
            "The squares are divided by σ_x⁴ where σ_x² is needed. Divide, then square.",
            _density(1, 1, 1, 4),
        ),
        (
            "recon_squared_error",
            "This is a squared error. The logarithm of a density is needed, with its σ_x and its "
            "constants.",
            lambda x_hat, x, sigma: (x_hat - x) ** 2,
        ),
        (
            "recon_squared_error",
            "This is half a squared error. It equals a log-density only for σ_x = 1, and without "
            "the constant.",
            lambda x_hat, x, sigma: half_square(x_hat, x),
        ),
        (
            "recon_squared_error",
            "This is the mean of the squared errors. The logarithm of a density is needed, summed "
            "over the pixels.",
            lambda x_hat, x, sigma: (x_hat - x) ** 2 / x[0].numel(),
        ),
        (
            "recon_constants_once",
            "Your constants are added once for each image. Every pixel needs its own constants.",
            lambda x_hat, x, sigma: (
                (x_hat - x) ** 2 / (2 * sigma**2)
                + (math.log(sigma) + HALF_LOG_TWO_PI) / x[0].numel()
            ),
        ),
        (
            "recon_cross_entropy",
            "This is a cross-entropy. Here each pixel should have a Gaussian density.",
            lambda x_hat, x, sigma: bce(x_hat.clamp(0, 1), x),
        ),
        (
            "squashed_twice",
            "You apply a sigmoid to the decoder's output. The decoder returns the means "
            "themselves, as `sample` shows them.",
            lambda x_hat, x, sigma: gaussian(x_hat.sigmoid(), x, sigma),
        ),
    ),
)
SIGN = (
    "recon_sign",
    "Your {term} has the wrong sign: a log-likelihood should increase, and a loss should decrease.",
)
PIXELS_TOO = (
    "recon_mean_over_pixels",
    "Your {term} averages over the pixels. The KL is a sum over the latents, so the pixels must be "
    "summed too.",
)
MIXED = (
    "recon_over_the_batch",
    "Your {term} mixes the images of the batch. Sum over the pixels; keep one number for each "
    "image.",
)
REDUCTION_MISTAKES: dict[Reduction, tuple[Entry, ...]] = {
    EACH_IMAGE: (
        (*PIXELS_TOO, lambda e: e.flatten(1).mean(1)),
        (*MIXED, lambda e: e.sum()),
        (*MIXED, lambda e: e.sum() / len(e)),
        (*MIXED, lambda e: e.sum().expand(len(e))),
        (*MIXED, lambda e: (e.sum() / len(e)).expand(len(e))),
        (*MIXED, lambda e: e.mean()),
    ),
    MEAN: (
        (*PIXELS_TOO, lambda e: e.mean()),
        (
            "recon_not_averaged",
            "Your {term} grows with the batch: average it over the images.",
            lambda e: e.sum(),
        ),
        (
            "recon_mean_over_pixels",
            "Your {term} averages over the pixels and the images, and is then divided by the "
            "number of images again. The pixels should be summed.",
            lambda e: e.mean() / len(e),
        ),
        (
            "recon_divided_twice",
            "Your {term} is divided by the number of images twice.",
            lambda e: e.sum() / len(e) ** 2,
        ),
        (
            "recon_divided_by_pixels",
            "Your {term} is divided by the number of pixels. It should be divided by the number of "
            "images.",
            lambda e: e.sum() / e[0].numel(),
        ),
        (
            "recon_of_784_pixels",
            "Your {term} is the mean over the pixels, times 784. Not all images have 784 values.",
            lambda e: e.mean() * 784,
        ),
    ),
    TOTAL: (
        (
            "recon_mean",
            "Your {term} averages over pixels and images. It should be a total sum.",
            lambda e: e.mean(),
        ),
        (
            "recon_mean_over_images",
            "Your {term} averages over the images. It should be a total sum: twice the images, "
            "twice the loss.",
            lambda e: e.sum() / len(e),
        ),
        (*PIXELS_TOO, lambda e: e.sum() / e[0].numel()),
    ),
}


def reconstruction_mistakes(likelihood: Likelihood, reduction: Reduction) -> tuple[Mistake, ...]:
    """Derive the known mistakes in a reconstruction term, the likeliest first.

    Args:
        likelihood: The right likelihood.
        reduction: How the right term is reduced.

    Returns:
        Mistakes with formulas of the arguments of the likelihood's cost.
    """
    found = []

    def add(name: str, says: str, cost: Cost, reduce: Cost) -> None:
        def formula(*inputs: Any) -> torch.Tensor:
            return reduce(cost(*inputs))

        found.append(Mistake(name, says.replace("{term}", likelihood.name), formula))

    for name, says, cost in likelihood.mistakes:
        add(name, says, cost, reduction.of)
    for cost in (likelihood.cost, *likelihood.scaled):
        for name, says, reduce in REDUCTION_MISTAKES[reduction]:
            add(name, says, cost, reduce)
    add(*SIGN, lambda *inputs: -likelihood.cost(*inputs), reduction.of)
    for factor in (2.0, *FACTORS, 784.0):
        says = f"Your {{term}} is {factor:g} times what it should be."
        add("recon_factor", says, likelihood.cost, lambda e, f=factor: f * reduction.of(e))
    for size in BATCH_SIZES:
        says = FIXED_DIVISOR.format(what="{term}", size=size)
        add("recon_fixed_batch_size", says, likelihood.cost, lambda e, n=size: e.sum() / n)
    return tuple(found)


def greys(*shape: int) -> torch.Tensor:
    """Return random images without black or white pixels."""
    return 0.05 + 0.9 * torch.rand(shape)


def expect_divided_by_images(term: Term, likelihood: Likelihood) -> None:
    """Expect that a mean over the images is not divided by a number that is always the same."""
    divisors = []
    for n in (2, 4):
        inputs = greys(n, 1, 28, 28), greys(n, 1, 28, 28)
        got = float(term(*inputs).detach())
        divisors.append(float(likelihood.cost(*inputs).sum()) / got if got else math.nan)
    expect_no_fixed_divisor(divisors, likelihood.name, "recon_fixed_batch_size")


def reconstruction_checks(
    task: str,
    called: Callable[[Submission], Term],
    likelihood: Likelihood,
    reduction: Reduction,
    *,
    name: str = "reconstruction",
    argument: str = "x_hat",
    more: Sequence[Mistake] = (),
    shapes: Sequence[tuple[int, ...]] = ((3, 1, 28, 28), (1, 1, 28, 28)),
) -> Checks:
    """Make the checks of a reconstruction term that is a function of x_hat and x.

    Args:
        task: The task's id.
        called: Makes the submission's term, a function of x_hat and x.
        likelihood: The right likelihood.
        reduction: How the term is reduced.
        name: What the checks' names begin with.
        argument: The submission's name for x_hat.
        more: Mistakes of this assignment, before those that every term has.
        shapes: Shapes of images. The first has more than two images: then a wrong average returns
            another number.
    """
    known = reconstruction_mistakes(likelihood, reduction)
    named = (replace(mistake, says=mistake.says.replace("x_hat", argument)) for mistake in known)
    mistakes = (*more, *named)
    what = f"The {likelihood.name}"

    @named_check(
        task, f"{name}_value", f"{what} of grey images is right: pixels summed, {reduction.says}."
    )
    def test_value(submission: Submission) -> None:
        for shape in shapes:
            # Without black and white pixels, swapped arguments return another number.
            inputs = greys(*shape), greys(*shape)
            right = likelihood.term(reduction, *inputs)
            term = called(submission)

            def explain(term: Term = term) -> None:
                if reduction is MEAN:
                    expect_divided_by_images(term, likelihood)

            got = term(*inputs)
            expect_close(
                got, right, what, inputs, mistakes, rounding=rounding(term), otherwise=explain
            )

    @named_check(
        task,
        f"{name}_of_black_and_white",
        "The term is also right for black and white pixels, and for a single image.",
    )
    def test_black_and_white(submission: Submission) -> None:
        x_hat, x = greys(1, 1, 28, 28), torch.rand(1, 1, 28, 28).round()
        right, term = likelihood.term(reduction, x_hat, x), called(submission)
        got = term(x_hat, x)
        expect_close(got, right, what, rounding=rounding(term))
        # Most pixels of a trained model are this dark or bright. A small number inside the
        # logarithm is right.
        x_hat = (6 * torch.randn(2, 1, 28, 28)).sigmoid().clamp(0.001, 0.999)
        x = torch.rand(2, 1, 28, 28).round()
        right, got = likelihood.term(reduction, x_hat, x), term(x_hat, x)
        if not close(got, right, 0.01, rounding(term)):
            fail(
                f"{what} is right for grey pixels of {argument}, and wrong for pixels near 0 and "
                f"1: expected {difference(right, got)}. Is {argument} clamped?",
                "recon_clamped",
            )

    @named_check(
        task,
        f"{name}_gradient",
        f"A gradient step on the {likelihood.name} moves the output towards x.",
    )
    def test_gradient(submission: Submission) -> None:
        x_hat, x = greys(*shapes[0]).requires_grad_(), torch.rand(shapes[0])
        value = called(submission)(x_hat, x)
        (grad,) = expect_grad(value, {argument: x_hat}, "the loss", "recon_detached")
        (right,) = torch.autograd.grad(likelihood.term(reduction, x_hat, x).sum(), x_hat)
        # A small number inside a logarithm changes the gradient more than the value.
        expect_close(grad, right, "The gradient by the reconstruction", tolerance=1e-3)

    return test_value, test_black_and_white, test_gradient
