"""Checks of what `myVAE` computes from mu and logvar, shared by every assignment that has it.

They need no encoder, no decoder and no condition: one whose `__init__` fails will do.
"""

import torch

from autograder.checks.shared.device import expect_follows_input
from autograder.checks.shared.expectation import expect_kl_is_expectation
from autograder.checks.shared.gaussian import KL_MISTAKES, RECON_MISTAKES, bce, kl_divergence
from autograder.checks.shared.parts import model_or_bare
from autograder.checks.shared.sampling import (
    Draw,
    expect_centre,
    expect_fresh_noise,
    expect_gaussian,
    expect_pathwise_gradients,
    expect_spread,
)
from autograder.checks.vocabulary import check, expect_close, expect_grad, expect_tensor
from autograder.protocol.remote import RemoteObject, Submission


def any_vae(submission: Submission, latent_dim: int = 5) -> RemoteObject:
    """Make a model for its methods alone."""
    return model_or_bare(submission, "myVAE", 48, latent_dim, latent_dim=latent_dim)


def images(n: int) -> torch.Tensor:
    """Make n grey images, (n, 1, 28, 28)."""
    return torch.rand(n, 1, 28, 28)


def posterior(n: int, latent_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make means and log-variances of both signs, (n, latent_dim) each."""
    return 1.5 * torch.randn(n, latent_dim), torch.randn(n, latent_dim)


# Reparameterization


def draw(submission: Submission) -> Draw:
    """The submission's `reparameterize`, as a function of mu and logvar."""
    return any_vae(submission).reparameterize


@check("reparameterize")
def test_spread(submission: Submission) -> None:
    """The standard deviation of z is σ = exp(½ logvar), in training and in eval mode."""
    vae = any_vae(submission)
    for mode in (vae.train, vae.eval):
        mode()
        expect_spread(vae.reparameterize)


@check("reparameterize")
def test_centre(submission: Submission) -> None:
    """The draw z is centred on mu."""
    expect_centre(draw(submission))


@check("reparameterize")
def test_noise_is_gaussian(submission: Submission) -> None:
    """The noise is Gaussian: its fourth moment is 3 σ⁴."""
    expect_gaussian(draw(submission))


@check("reparameterize")
def test_one_draw_for_each_number(submission: Submission) -> None:
    """Every entry of z has noise of its own, new at every call."""
    expect_fresh_noise(draw(submission))


@check("reparameterize")
def test_gradients_pass(submission: Submission) -> None:
    """Gradients reach mu and logvar: ∂z/∂mu is 1 and ∂z/∂logvar is (z − mu) / 2."""
    expect_pathwise_gradients(draw(submission))


@check("reparameterize")
def test_device(submission: Submission) -> None:
    """New tensors are made on the device of those that come in (self-reported)."""
    draw, given = any_vae(submission).reparameterize, posterior(3, 5)
    expect_follows_input(draw, *given, name="reparameterize")


# Loss. The reconstruction is measured where the KL is 0, and the KL as a difference of two losses
# with the same images, so that a slip in one term leaves the other's points alone.


def loss(
    vae: RemoteObject,
    x_hat: torch.Tensor,
    x: torch.Tensor,
    mu: torch.Tensor,
    logvar: torch.Tensor,
) -> torch.Tensor:
    """Call `loss_function` and expect a scalar."""
    value = vae.loss_function(x_hat, x, mu, logvar)
    if isinstance(value, float):
        value = torch.tensor(value)
    return expect_tensor(value, (), "`loss_function(…)`")


def recon_term(submission: Submission, x_hat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The loss where the posterior is the prior, and so the KL is 0."""
    at_prior = torch.zeros(len(x), 5)
    return loss(any_vae(submission), x_hat, x, at_prior, at_prior)


@check("reconstruction")
def test_reconstruction_value(submission: Submission) -> None:
    """With the KL at 0, the loss is the cross-entropy: pixels summed, images averaged."""
    # Greys and a batch of 3: swapped arguments and wrong averages then all give other numbers.
    x_hat, x = 0.05 + 0.9 * images(3), 0.05 + 0.9 * images(3)
    expect_close(
        recon_term(submission, x_hat, x),
        bce(x_hat, x),
        "The reconstruction term",
        (x_hat, x),
        RECON_MISTAKES,
    )


@check("reconstruction")
def test_reconstruction_of_black_and_white(submission: Submission) -> None:
    """The same holds for black and white pixels, and for one image alone."""
    x, x_hat = images(1).round(), 0.05 + 0.9 * images(1)
    expect_close(recon_term(submission, x_hat, x), bce(x_hat, x), "The reconstruction term")


@check("reconstruction")
def test_reconstruction_gradient(submission: Submission) -> None:
    """The reconstruction term pulls the output towards the image."""
    x, x_hat = images(3), 0.05 + 0.9 * images(3)
    x_hat.requires_grad_()
    at_prior = torch.zeros(3, 5)
    value = loss(any_vae(submission), x_hat, x, at_prior, at_prior)
    (grad,) = expect_grad(value, {"x_hat": x_hat}, "the loss", "recon_detached")
    (right,) = torch.autograd.grad(bce(x_hat, x), x_hat)
    expect_close(grad, right, "The gradient by the reconstruction")


def kl_term(submission: Submission, mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """The loss at (mu, logvar) less the loss at the prior, on the same images."""
    vae = any_vae(submission)
    # Grey: a cross-entropy with its arguments swapped is so large at black and white that the KL's
    # digits would be lost beside it.
    x_hat = x = torch.full((len(mu), 1, 28, 28), 0.5)
    at_prior = torch.zeros_like(mu)
    return loss(vae, x_hat, x, mu, logvar) - loss(vae, x_hat, x, at_prior, at_prior)


@check("kl_divergence")
def test_kl_closed_form(submission: Submission) -> None:
    """The KL term equals its closed form at random mu and logvar."""
    mu, logvar = posterior(3, 5)
    expect_close(
        kl_term(submission, mu, logvar),
        kl_divergence(mu, logvar),
        "The KL term",
        (mu, logvar),
        KL_MISTAKES,
    )


@check("kl_divergence")
def test_kl_known_number(submission: Submission) -> None:
    """One code with mu = 2 and σ = 1 has a KL of exactly 2."""
    mu, logvar = torch.tensor([[2.0]]), torch.zeros(1, 1)
    expect_close(kl_term(submission, mu, logvar), torch.tensor(2.0), "The KL at mu = 2, σ = 1")


@check("kl_divergence")
def test_kl_is_an_expectation(submission: Submission) -> None:
    """The KL term is the mean of log q(z) − log p(z) over draws z from q."""
    mu, logvar = posterior(1, 3)
    got = float(kl_term(submission, mu, logvar))
    expect_kl_is_expectation(got, mu, (0.5 * logvar).exp())


@check("kl_divergence")
def test_kl_adds_over_latents(submission: Submission) -> None:
    """Twice the latents, twice the KL; twice the images, the same."""
    mu, logvar = posterior(3, 4)
    once = kl_term(submission, mu, logvar)
    wide = kl_term(submission, torch.cat([mu, mu], 1), torch.cat([logvar, logvar], 1))
    expect_close(wide, 2 * once, "The KL of every latent repeated")
    tall = kl_term(submission, torch.cat([mu, mu]), torch.cat([logvar, logvar]))
    expect_close(tall, once, "The KL of every image repeated")


@check("kl_divergence")
def test_kl_gradient(submission: Submission) -> None:
    """The KL trains the encoder: its gradient by mu is mu / N."""
    mu, logvar = (t.requires_grad_() for t in posterior(3, 5))
    x_hat, x = torch.full((3, 1, 28, 28), 0.5), images(3).round()
    value = loss(any_vae(submission), x_hat, x, mu, logvar)
    by_mu, by_logvar = expect_grad(value, {"mu": mu, "logvar": logvar}, "the loss", "kl_detached")
    expect_close(by_mu, mu.detach() / 3, "The gradient of the KL by mu")
    right = (logvar.exp() - 1).detach() / 6
    expect_close(by_logvar, right, "The gradient of the KL by logvar")
