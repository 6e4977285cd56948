"""Checks of `loss_fn(x_recon, x, mu, logvar, recon)`: each term by itself, and both together.

A reconstruction term is measured where the KL is 0, and the KL as a difference of two losses with
the same images, so that a slip in one term leaves the other's points alone.
"""

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from autograder.checks.shared.expectation import expect_kl_is_expectation
from autograder.checks.shared.gaussian import KL_MISTAKES, RECON_MISTAKES, bce, kl_divergence
from autograder.checks.vocabulary import Mistake, check, expect_close, expect_grad, expect_tensor
from autograder.protocol.remote import Raised, Submission


def images(n: int, channels: int = 1, size: int = 28) -> torch.Tensor:
    """Make n images, (n, C, S, S)."""
    return torch.rand(n, channels, size, size)


def posterior(n: int, latent_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make means and log-variances of both signs, (n, latent_dim) each."""
    return 1.5 * torch.randn(n, latent_dim), torch.randn(n, latent_dim)


def loss(
    submission: Submission,
    x_recon: torch.Tensor,
    x: torch.Tensor,
    mu: torch.Tensor,
    logvar: torch.Tensor,
    recon: str,
) -> torch.Tensor:
    """Call `loss_fn` and expect a scalar."""
    value = submission.object("loss_fn")(x_recon, x, mu, logvar, recon)
    if isinstance(value, float):
        value = torch.tensor(value)
    return expect_tensor(value, (), f'`loss_fn(…, recon="{recon}")`')


def recon_term(
    submission: Submission, x_recon: torch.Tensor, x: torch.Tensor, recon: str
) -> torch.Tensor:
    """The loss where the posterior is the prior, and so the KL is 0."""
    at_prior = torch.zeros(len(x), 5)
    return loss(submission, x_recon, x, at_prior, at_prior, recon)


def half_squared_error(x_recon: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """−log N(x; x_recon, 1) without its constant: summed over pixels, mean over images."""
    return 0.5 * (x_recon - x).pow(2).sum() / len(x)


def pairs() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Reconstructions and images, grey and colour; greys tell swapped arguments apart."""
    return [
        (0.05 + 0.9 * images(n, c, s), 0.05 + 0.9 * images(n, c, s))
        for n, c, s in ((3, 1, 28), (2, 3, 32), (1, 1, 28))
    ]


def expect_recon_gradient(
    submission: Submission, recon: str, right: Callable[..., torch.Tensor]
) -> None:
    """Expect the gradient of a reconstruction term by the reconstruction."""
    x_recon, x = pairs()[0]
    x_recon.requires_grad_()
    value = recon_term(submission, x_recon, x, recon)
    (grad,) = expect_grad(value, {"x_recon": x_recon}, "the loss", "recon_detached")
    (due,) = torch.autograd.grad(right(x_recon, x), x_recon)
    expect_close(grad, due, "The gradient by the reconstruction")


@check("bce")
def test_bce_value(submission: Submission) -> None:
    """With the KL at 0, "bce" is the cross-entropy: pixels summed, images averaged."""
    for x_recon, x in pairs():
        got = recon_term(submission, x_recon, x, "bce")
        expect_close(got, bce(x_recon, x), "The cross-entropy", (x_recon, x), RECON_MISTAKES)


@check("bce")
def test_bce_is_the_default(submission: Submission) -> None:
    """Without `recon`, it is "bce"."""
    x_recon, x = pairs()[0]
    at_prior = torch.zeros(3, 5)
    got = submission.object("loss_fn")(x_recon, x, at_prior, at_prior)
    named = recon_term(submission, x_recon, x, "bce")
    expect_close(expect_tensor(got, (), "`loss_fn(…)`"), named, "The loss without `recon`")


@check("bce")
def test_bce_gradient(submission: Submission) -> None:
    """The cross-entropy pulls the output towards the image."""
    expect_recon_gradient(submission, "bce", bce)


SQUARED_ERROR_MISTAKES = (
    Mistake(
        "half_missing",
        "Your squared error is twice what it should be: a plain sum of squares assumes σ² = ½. "
        "With σ = 1 there is a factor before it.",
        lambda x_recon, x: 2 * half_squared_error(x_recon, x),
    ),
    Mistake(
        "recon_mean_over_pixels",
        "Your squared error averages over pixels. The KL sums over latents, so the pixels must be "
        "summed too; only images are averaged.",
        F.mse_loss,
    ),
    Mistake(
        "recon_mean_over_pixels",
        "Your squared error averages over pixels. The KL sums over latents, so the pixels must be "
        "summed too; only images are averaged.",
        lambda x_recon, x: F.mse_loss(x_recon, x) / 2,
    ),
    Mistake(
        "recon_not_averaged",
        "Your squared error grows with the batch: average it over the images.",
        lambda x_recon, x: half_squared_error(x_recon, x) * len(x),
    ),
    Mistake(
        "recon_not_averaged",
        "Your squared error grows with the batch, and is a factor of 2 off beside: average it over "
        "the images. With σ = 1 there is a factor before the squares.",
        lambda x_recon, x: 2 * half_squared_error(x_recon, x) * len(x),
    ),
    Mistake(
        "constant_kept",
        "The constant ½ log 2π of each pixel is in your squared error; leave it out here.",
        lambda x_recon, x: (
            half_squared_error(x_recon, x) + x[0].numel() * 0.5 * math.log(2 * math.pi)
        ),
    ),
    Mistake(
        "not_squared",
        'The differences enter "mse" without their square.',
        lambda x_recon, x: (x_recon - x).abs().sum() / len(x) / 2,
    ),
    Mistake(
        "not_squared",
        'The differences enter "mse" without their square.',
        lambda x_recon, x: (x_recon - x).abs().sum() / len(x),
    ),
    Mistake(
        "root_taken",
        'Your "mse" is the length of the difference; the square of it is due.',
        lambda x_recon, x: (x_recon - x).flatten(1).norm(dim=1).mean() / 2,
    ),
    Mistake(
        "recon_ignored",
        'With recon="mse" you still give the cross-entropy: is `recon` looked at?',
        bce,
    ),
    Mistake(
        "recon_sign",
        "Your squared error has the wrong sign: a likelihood is to grow, a loss to fall.",
        lambda x_recon, x: -half_squared_error(x_recon, x),
    ),
)


@check("squared_error")
def test_squared_error_value(submission: Submission) -> None:
    """With the KL at 0, "mse" is half of the squared error: pixels summed, images averaged."""
    for x_recon, x in pairs():
        expect_close(
            recon_term(submission, x_recon, x, "mse"),
            half_squared_error(x_recon, x),
            "Half of the squared error",
            (x_recon, x),
            SQUARED_ERROR_MISTAKES,
        )


@check("squared_error")
def test_squared_error_of_a_perfect_image(submission: Submission) -> None:
    """A perfect reconstruction costs nothing."""
    _, x = pairs()[0]
    expect_close(
        recon_term(submission, x, x, "mse"), torch.zeros(()), "The cost of a perfect image"
    )


@check("squared_error")
def test_squared_error_gradient(submission: Submission) -> None:
    """The gradient of "mse" is (x_recon − x) / N."""
    expect_recon_gradient(submission, "mse", half_squared_error)


def kl_term(
    submission: Submission, mu: torch.Tensor, logvar: torch.Tensor, recon: str
) -> torch.Tensor:
    """The loss at (mu, logvar) less the loss at the prior, on the same images."""
    x_recon, x = torch.full((2, len(mu), 1, 28, 28), 0.5)
    at_prior = torch.zeros_like(mu)
    return loss(submission, x_recon, x, mu, logvar, recon) - loss(
        submission, x_recon, x, at_prior, at_prior, recon
    )


def working_recon(submission: Submission) -> tuple[str, ...]:
    """The reconstruction terms that give a number, to measure the KL beside; at least one."""
    working = []
    for recon in ("bce", "mse"):
        try:
            recon_term(submission, *pairs()[0], recon)
        except Raised as error:
            raised = error
        else:
            working.append(recon)
    if not working:
        raise raised
    return tuple(working)


@check("kl_divergence")
def test_kl_closed_form(submission: Submission) -> None:
    """The KL term equals its closed form at random mu and logvar, in "bce" and in "mse"."""
    mu, logvar = posterior(3, 5)
    for recon in working_recon(submission):
        got = kl_term(submission, mu, logvar, recon)
        right = kl_divergence(mu, logvar)
        expect_close(got, right, "The KL term", (mu, logvar), KL_MISTAKES)


@check("kl_divergence")
def test_kl_known_number(submission: Submission) -> None:
    """One code with mu = 2 and σ = 1 has a KL of exactly 2."""
    mu, logvar = torch.tensor([[2.0]]), torch.zeros(1, 1)
    recon = working_recon(submission)[0]
    got = kl_term(submission, mu, logvar, recon)
    expect_close(got, torch.tensor(2.0), "The KL at mu = 2, σ = 1")


@check("kl_divergence")
def test_kl_is_an_expectation(submission: Submission) -> None:
    """The KL term is the mean of log q(z) − log p(z) over draws z from q."""
    mu, logvar = posterior(1, 3)
    got = float(kl_term(submission, mu, logvar, working_recon(submission)[0]))
    expect_kl_is_expectation(got, mu, (0.5 * logvar).exp())


@check("kl_divergence")
def test_kl_gradient(submission: Submission) -> None:
    """The KL trains the encoder: its gradient by mu is mu / N."""
    mu, logvar = (t.requires_grad_() for t in posterior(3, 5))
    x_recon, x = torch.full((3, 1, 28, 28), 0.5), images(3).round()
    value = loss(submission, x_recon, x, mu, logvar, working_recon(submission)[0])
    by_mu, by_logvar = expect_grad(value, {"mu": mu, "logvar": logvar}, "the loss", "kl_detached")
    expect_close(by_mu, mu.detach() / 3, "The gradient of the KL by mu")
    right = (logvar.exp() - 1).detach() / 6
    expect_close(by_logvar, right, "The gradient of the KL by logvar")


# "both" and `measure` are composed of the terms. Where one of the submission's own has failed, they
# may be composed of it as it is: a slip there has cost its own points.


def own(call: Callable[[], torch.Tensor], failed: bool) -> torch.Tensor | None:
    """What a term of the submission's own gives, if its task has failed and it gives a number."""
    if not failed:
        return None
    try:
        return call()
    except (Raised, AssertionError):
        return None


def either(got: torch.Tensor, right: torch.Tensor, otherwise: torch.Tensor | None) -> torch.Tensor:
    """The value to expect: `right`, unless `got` is what the submission's own terms give."""
    if otherwise is not None and torch.allclose(got, otherwise.double(), rtol=1e-4, atol=1e-4):
        return otherwise
    return right


BOTH_MISTAKES = (
    Mistake(
        "one_term_alone",
        'With recon="both" there is only the cross-entropy.',
        lambda cross_entropy, squared: cross_entropy,
    ),
    Mistake(
        "one_term_alone",
        'With recon="both" there is only the squared error.',
        lambda cross_entropy, squared: squared,
    ),
    Mistake(
        "both_averaged",
        '"both" is the sum of the two terms, not their mean.',
        lambda cross_entropy, squared: (cross_entropy + squared) / 2,
    ),
    Mistake(
        "both_subtracted",
        'In "both" one term is subtracted from the other.',
        lambda cross_entropy, squared: cross_entropy - squared,
    ),
)


@check("both")
def test_both_adds_the_terms(submission: Submission) -> None:
    """With the KL at 0, "both" is the cross-entropy plus half of the squared error."""
    failed = bool({"bce", "squared_error"} & submission.failed)
    for x_recon, x in pairs():
        got = recon_term(submission, x_recon, x, "both")
        terms = bce(x_recon, x), half_squared_error(x_recon, x)
        call = functools.partial(recon_term, submission, x_recon, x)
        their_own = own(lambda call=call: call("bce") + call("mse"), failed)  # type: ignore[misc]
        expect_close(got, either(got, sum(terms), their_own), "The sum", terms, BOTH_MISTAKES)  # type: ignore[arg-type]


BOTH_KL_MISTAKES = (
    Mistake(
        "kl_twice",
        'With recon="both" the KL is in the loss twice: two losses were added, each with its own.',
        lambda kl: 2 * kl,
    ),
    Mistake("kl_dropped", 'With recon="both" there is no KL.', torch.zeros_like),
)


@check("both")
def test_both_has_one_kl(submission: Submission) -> None:
    """There is one KL in "both"."""
    mu, logvar = posterior(3, 5)
    got, right = kl_term(submission, mu, logvar, "both"), kl_divergence(mu, logvar)
    their_own = own(
        lambda: kl_term(submission, mu, logvar, "bce"), "kl_divergence" in submission.failed
    )
    due = either(got, right, their_own)
    expect_close(got, due, 'The KL in "both"', (due,), BOTH_KL_MISTAKES)
