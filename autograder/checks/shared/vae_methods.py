"""Checks of what a VAE computes from mu and logvar: the sample and the loss.

They need no encoder, no decoder and no condition: a model whose `__init__` fails is enough.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from autograder.checks.shared.differences import Difference, Loss, rounding_of
from autograder.checks.shared.kl import Pair, kl_checks
from autograder.checks.shared.likelihood import (
    BERNOULLI,
    Likelihood,
    reconstruction_checks,
    reconstruction_mistakes,
)
from autograder.checks.shared.networks import Check, Checks, named_check
from autograder.checks.shared.parameterization import LOGVAR, MEAN, expect_one_number
from autograder.checks.shared.parts import expect_call_keeps, model_or_bare
from autograder.checks.shared.sampling import method_sampler, sampling_checks
from autograder.checks.shared.wiring import TOLD
from autograder.checks.vocabulary import CheckFailed, Mistake, expect
from autograder.protocol.remote import RemoteObject, Submission

RECON, KL = "reconstruction", "kl_divergence"
IMAGE = (1, 28, 28)
WIDTH = 5
# The relative error of a right reconstruction term, as in its own check.
TOLERANCE = 1e-4
# The rounding error of the difference of two float32 losses.
ROUNDING = 5e-3


def any_vae(submission: Submission, latent_dim: int = 5) -> RemoteObject:
    """Make a model for its methods alone."""
    return model_or_bare(submission, "myVAE", 48, latent_dim, hidden_dim=48, latent_dim=latent_dim)


RECON_DROPPED = Mistake(
    "recon_dropped",
    "The loss does not contain the reconstruction term: with mu and logvar of the prior, it is 0 "
    "for all images.",
    lambda x_hat, x: torch.zeros(()),
)


# Each term is measured as a difference of two losses that share the other term. So an error in one
# term does not lose the points of the other one.


@dataclass(frozen=True)
class KnownRecon:
    """The right reconstruction term of a loss, and known mistakes in it.

    Attributes:
        right: Computes the term from x_hat and x: a scalar, the mean over the images.
        mistakes: The mistakes, with formulas of x_hat and x.
    """

    right: Pair
    mistakes: Sequence[Mistake]

    @classmethod
    def of(cls, likelihood: Likelihood) -> "KnownRecon":
        """Return the term of one likelihood."""
        return cls(
            lambda x_hat, x: likelihood.term(MEAN, x_hat, x),
            reconstruction_mistakes(likelihood, MEAN),
        )


def recon_of(loss: Callable[[Submission], Loss], recon: KnownRecon) -> Callable[[Submission], Pair]:
    """Return a function that measures a reconstruction term.

    The term is the loss at the prior, without the KL that the submission computes there.
    """

    def called(submission: Submission) -> Pair:
        whole = loss(submission)
        if not _is_finite_at_prior(whole):
            return Difference(whole, lambda whole: _away_from_prior(whole, recon))
        expect_repeatable(expect_repeatable(whole), _varied(2, IMAGE))

        def measured(whole: Loss) -> Pair:
            def term(x_hat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
                at_prior = whole(x_hat, x, *LOGVAR.prior(len(x), WIDTH))
                return at_prior - kl_at_prior(whole, recon, len(x), WIDTH, x.shape[1:])

            return term

        return Difference(whole, measured)

    return called


def kl_of(loss: Callable[[Submission], Loss], recon: KnownRecon) -> Callable[[Submission], Pair]:
    """Return a function that measures a KL: a loss minus a loss with the same images.

    The second loss is the one at the prior, without the KL that the submission computes there.
    """

    def called(submission: Submission) -> Pair:
        def measured(whole: Loss) -> Pair:
            def kl(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
                n, width = mu.shape
                at_prior = whole(*_grey(n, IMAGE), *LOGVAR.prior(n, width))
                without = at_prior.detach() - kl_at_prior(whole, recon, n, width, IMAGE)
                return whole(*_grey(n, IMAGE), mu, logvar) - without

            return kl

        return Difference(loss(submission), measured)

    return called


def kl_at_prior(whole: Loss, recon: KnownRecon, n: int, width: int, shape: Sequence[int]) -> float:
    """Measure the KL that a submission's loss contains at the prior; the right one is 0.

    Args:
        whole: The submission's loss.
        recon: The right reconstruction term.
        n: The number of images.
        width: The number of latents.
        shape: The shape of an image.
    """

    def at(images: tuple[torch.Tensor, torch.Tensor], latents: int) -> float:
        return float(whole(*images, *LOGVAR.prior(n, latents)).detach())

    grey = _grey(n, shape)
    once, twice = at(grey, width), at(grey, 2 * width)
    expect(
        not abs(once) > ROUNDING or abs(2 * twice - once) > TOLERANCE * abs(once),
        "With twice the latents, the loss of the same images is half of what it was. Do you divide "
        "the whole loss by the number of latents, or average it over them?",
        "loss_divided_by_latents",
    )
    if abs(twice - once) > max(ROUNDING, rounding_of(twice)):
        return twice - once  # a constant for each latent
    right = float(recon.right(*grey))
    if abs(once - right) <= TOLERANCE * max(1.0, abs(right)):
        return 0.0
    # The rest is a constant of the KL only if the reconstruction term is right otherwise.
    others = _varied(n, shape)
    rise, right_rise = at(others, width) - once, float(recon.right(*others)) - right
    if abs(rise - right_rise) > TOLERANCE * max(1.0, abs(right_rise)):
        return 0.0
    known = (float(mistake.formula(*grey)) for mistake in recon.mistakes)
    if any(abs(once - wrong) <= TOLERANCE * max(1.0, abs(wrong)) for wrong in known):
        return 0.0
    return once - right


def _is_finite_at_prior(whole: Loss) -> bool:
    """Return False if a loss has a value away from the prior only: its KL is infinite there."""
    grey = _grey(2, IMAGE)
    try:
        whole(*grey, *LOGVAR.prior(2, WIDTH))
    except CheckFailed:
        try:
            whole(*grey, *_away(2))
        except CheckFailed:
            return True  # the fault is not the KL's alone
        return False
    return True


def _away_from_prior(whole: Loss, recon: KnownRecon) -> Pair:
    """Return a function that measures a reconstruction term with latents that are not the prior."""

    def term(x_hat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        n, grey = len(x), _grey(len(x), x.shape[1:])
        kl = float(whole(*grey, *_away(n)).detach()) - float(recon.right(*grey))
        return whole(x_hat, x, *_away(n)) - kl

    return term


def _away(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mu and logvar that are not those of the prior, (n, WIDTH) each."""
    return torch.full((n, WIDTH), 0.5), torch.full((n, WIDTH), 0.25)


def _grey(n: int, shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return reconstructions and images, all of them grey.

    At black and white, a cross-entropy with swapped arguments is so large that the digits of the KL
    would be lost.
    """
    grey = torch.full((n, *shape), 0.5)
    return grey, grey


def _varied(n: int, shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return reconstructions and images with many different greys."""
    x = torch.linspace(0.1, 0.8, math.prod(shape)).expand(n, -1).reshape(n, *shape)
    return 1 - x, x


def expect_repeatable(whole: Loss, images: tuple[torch.Tensor, torch.Tensor] | None = None) -> Loss:
    """Expect that a loss returns the same number for the same arguments, and return it.

    Args:
        whole: The loss.
        images: Reconstructions and images; None for grey ones, where a cross-entropy does not
            change with the images.

    Raises:
        CheckFailed: If it does not.
    """
    inputs = (*(images or _grey(2, IMAGE)), *LOGVAR.prior(2, WIDTH))
    first, again = (float(whole(*inputs).detach()) for _ in range(2))
    expect(
        first == again,
        f"Two calls of the loss with the same arguments return {first:.6g} and {again:.6g}. The "
        "loss should depend on its arguments only: keep no sum over calls, and use no random "
        "numbers.",
        "loss_not_repeatable",
    )
    return whole


def averaged(got: Any, sizes: Sequence[int]) -> Any:
    """Return the mean of a loss in which another task's term is not summed.

    That term costs its own task. In the mean, the other terms are unchanged.

    Args:
        got: What the submission's loss returned.
        sizes: The numbers of values that a loss with such a term has. Another loss is returned as
            it is.
    """
    numbers = isinstance(got, torch.Tensor) and got.is_floating_point()
    return got.mean() if numbers and 1 < got.numel() in sizes else got


def _loss(submission: Submission, task: str) -> Loss:
    """Return the submission's loss, as one of its two tasks sees it.

    Args:
        submission: The submission.
        task: "reconstruction" or "kl_divergence". If the other term is not summed, the loss has one
            value for each pixel or for each latent. That costs the other task: here the mean of the
            values is used, in which this task's term is unchanged.
    """
    vae_of = functools.cache(lambda latent_dim: any_vae(submission, latent_dim))

    def whole(x_hat: torch.Tensor, x: torch.Tensor, *heads: torch.Tensor) -> torch.Tensor:
        got = vae_of(heads[0].shape[-1]).loss_function(x_hat, x, *heads)
        others = heads[0] if task == RECON else x_hat
        return expect_one_number(averaged(got, [others.numel()]), "`loss_function(…)`")

    return whole if task == RECON else expect_repeatable(whole)


def vae_method_checks() -> tuple[Checks, ...]:
    """Make the checks of `reparameterize` and of both terms of `loss_function`."""
    recon = KnownRecon.of(BERNOULLI)
    loss_of = {task: functools.partial(_loss, task=task) for task in (RECON, KL)}
    return (
        sampling_checks(
            "reparameterize",
            method_sampler(any_vae, "reparameterize"),
            what="`reparameterize(mu, logvar)`",
            name="reparameterize",
        ),
        reconstruction_checks(
            RECON, recon_of(loss_of[RECON], recon), BERNOULLI, MEAN, more=(RECON_DROPPED,)
        ),
        kl_checks(KL, kl_of(loss_of[KL], recon), LOGVAR, MEAN, in_loss=True),
        kept_checks(
            {RECON: ("x_hat", "x"), KL: TOLD},
            lambda submission: any_vae(submission).loss_function,
            "loss_function",
        ),
    )


def kept_checks(
    terms: Mapping[str, tuple[str, ...]],
    call: Callable[[Submission], RemoteObject],
    name: str,
    arguments: Sequence[str] = ("x_hat", "x", *TOLD),
) -> Checks:
    """Make the checks that a loss does not change its arguments.

    Args:
        terms: For each term's task, the arguments of this term.
        call: Returns the submission's loss.
        name: The loss's name.
        arguments: The names of its arguments, in order.
    """

    def kept_by(task: str, names: tuple[str, ...]) -> Check:
        @named_check(
            task,
            f"{task}_keeps_its_inputs",
            f"The tensors {' and '.join(names)} do not change during the call.",
        )
        def kept(submission: Submission) -> None:
            values = torch.rand(3, *IMAGE), torch.rand(3, *IMAGE), *LOGVAR.posterior(3, 5)
            inputs = dict(zip(arguments, values, strict=True))
            expect_call_keeps(submission, call(submission), name, inputs, names)

        return kept

    return tuple(kept_by(task, names) for task, names in terms.items())
