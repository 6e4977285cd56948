"""Checks of what a VAE computes from mu and logvar: the sample and the loss.

They need no encoder, no decoder and no condition: a model whose `__init__` fails is enough.
"""

import functools
from collections.abc import Callable

import torch

from autograder.checks.shared.kl import Pair, kl_checks
from autograder.checks.shared.likelihood import BERNOULLI, reconstruction_checks
from autograder.checks.shared.networks import Checks
from autograder.checks.shared.parameterization import LOGVAR, MEAN, expect_one_number
from autograder.checks.shared.parts import model_or_bare
from autograder.checks.shared.sampling import method_sampler, sampling_checks
from autograder.protocol.remote import RemoteObject, Submission

# Calls a submission's loss with x_hat, x, mu and logvar.
Loss = Callable[..., torch.Tensor]


def any_vae(submission: Submission, latent_dim: int = 5) -> RemoteObject:
    """Make a model for its methods alone."""
    return model_or_bare(submission, "myVAE", 48, latent_dim, hidden_dim=48, latent_dim=latent_dim)


# The reconstruction is measured where the KL is 0, and the KL as a difference of two losses with
# the same images: an error in one term does not lose the points of the other.


def recon_of(loss: Callable[[Submission], Loss]) -> Callable[[Submission], Pair]:
    """Return a function that measures a reconstruction term: the loss where the KL is 0."""

    def called(submission: Submission) -> Pair:
        whole = loss(submission)
        return lambda x_hat, x: whole(x_hat, x, *LOGVAR.prior(len(x), 5))

    return called


def kl_of(loss: Callable[[Submission], Loss]) -> Callable[[Submission], Pair]:
    """Return a function that measures a KL: the loss minus the loss at the prior, same images."""

    def called(submission: Submission) -> Pair:
        whole = loss(submission)

        def kl(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
            # Grey: at black and white, a cross-entropy with swapped arguments is so large that
            # the digits of the KL would be lost.
            x_hat = x = torch.full((len(mu), 1, 28, 28), 0.5)
            at_prior = torch.zeros_like(mu)
            return whole(x_hat, x, mu, logvar) - whole(x_hat, x, at_prior, at_prior)

        return kl

    return called


def _loss(submission: Submission) -> Loss:
    vae_of = functools.cache(lambda latent_dim: any_vae(submission, latent_dim))

    def whole(x_hat: torch.Tensor, x: torch.Tensor, *heads: torch.Tensor) -> torch.Tensor:
        vae = vae_of(heads[0].shape[-1])
        return expect_one_number(vae.loss_function(x_hat, x, *heads), "`loss_function(…)`")

    return whole


def vae_method_checks() -> tuple[Checks, ...]:
    """Make the checks of `reparameterize` and of both terms of `loss_function`."""
    return (
        sampling_checks(
            "reparameterize",
            method_sampler(any_vae, "reparameterize"),
            what="`reparameterize(mu, logvar)`",
            name="reparameterize",
        ),
        reconstruction_checks("reconstruction", recon_of(_loss), BERNOULLI, MEAN),
        kl_checks("kl_divergence", kl_of(_loss), LOGVAR, MEAN, in_loss=True),
    )
