"""How a Gaussian VAE's `calc_elbo` is taken apart, with known maps for its encoder and decoder.

The encoder's stand-in reads mu and log σ from the first pixels of a 28 × 28 image, where they stand
as (value + 8) / 16: any posterior can be asked for, and every pixel stays in [0, 1]. What the
decoder's stand-in is called with is what was drawn.
"""

from dataclasses import replace
from typing import Any

import torch

from autograder.checks.a09_gaussian_vae.gaussian_elbo import RECON_MISTAKES, gaussian_nll
from autograder.checks.shared.log_sigma import Kl, expect_one_each
from autograder.checks.shared.parts import model_or_bare
from autograder.checks.shared.sampling import LOG_SIGMA, NO_GRADIENT, Draw
from autograder.checks.vocabulary import expect, expect_close, expect_grad, expect_tensor, kind
from autograder.protocol.remote import Affine, RemoteObject, Submission

PIXELS = 28 * 28
IMAGE = (1, 28, 28)
SCALE = replace(LOG_SIGMA, call="The code z that `calc_elbo` decodes")
# A spread at which no term of the density looks like another; at 1 three wrong forms are right.
SIGMA_X = 0.3
RANGE, SHIFT = 16.0, 8.0
WIDEST = 40


def any_vae(submission: Submission, latent_dim: int = 5, sigma_x: float = SIGMA_X) -> RemoteObject:
    """Make a model for its methods alone: one whose parts cannot be made will do."""
    return model_or_bare(
        submission, "VAE", latent_dim, sigma_x, latent_dim=latent_dim, sigma_x=sigma_x
    )


def images(n: int) -> torch.Tensor:
    """Make n grey images, (n, 1, 28, 28)."""
    return 0.05 + 0.9 * torch.rand(n, *IMAGE)


def with_posterior(mu: torch.Tensor, logsigma: torch.Tensor) -> torch.Tensor:
    """Images (N, 1, 28, 28) from which the stand-in for the encoder reads mu and logsigma."""
    shown = (torch.cat([mu, logsigma], 1) + SHIFT) / RANGE
    rest = torch.full((len(mu), PIXELS - shown.shape[1]), 0.9)
    return torch.cat([shown, rest], 1).unflatten(1, IMAGE)


def plug_encoder(vae: RemoteObject, latent_dim: int) -> None:
    """Let a model's encoder read mu and logsigma from the pixels."""
    pixels = RANGE * torch.eye(PIXELS)
    vae.plug(
        "encoder",
        Affine([pixels[:, :latent_dim]], bias=-SHIFT),
        Affine([pixels[:, latent_dim : 2 * latent_dim]], bias=-SHIFT),
        names=("x",),
    )


def plug_decoder(vae: RemoteObject, weights: torch.Tensor) -> None:
    """Let a model's decoder give the sigmoid of a linear map, weights (Z, 784), of the code."""
    vae.plug("decoder", Affine([weights], IMAGE), squash=True, names=("z",))


def plug_blind_decoder(vae: RemoteObject, latent_dim: int) -> None:
    """Let a model's decoder give grey for every code."""
    plug_decoder(vae, torch.zeros(latent_dim, PIXELS))


def terms(vae: RemoteObject, x: torch.Tensor) -> tuple[Any, Any, Any]:
    """Call `calc_elbo` and expect three values."""
    got = vae.calc_elbo(x)
    expect(
        isinstance(got, tuple) and len(got) == 3,
        f"`calc_elbo` should return the three values (neg_elbo, recon, kl), got {kind(got)}.",
    )
    return got[0], got[1], got[2]


def decoded(vae: RemoteObject, n: int, latent_dim: int) -> torch.Tensor:
    """What `calc_elbo` decoded: one code for each image, (n, Z)."""
    z = vae.decoder.seen()
    if len(z) > n and len(z) % n == 0 and all(torch.equal(z[:n], again) for again in z.split(n)):
        z = z[:n]
    return expect_tensor(z, (n, latent_dim), SCALE.call)


def expect_recon(vae: RemoteObject, n: int, sigma_x: float) -> None:
    """Expect the negative log-density of images around what the decoder made of their codes."""
    # Means stay well inside (0, 1), or a cross-entropy could not be told from other mistakes.
    weights = 0.1 * torch.randn(5, PIXELS)
    plug_encoder(vae, 5)
    plug_decoder(vae, weights)
    x = with_posterior(2 * torch.randn(n, 5), torch.full((n, 5), -0.8))
    x.flatten(1)[:, 10:] = images(n).flatten(1)[:, 10:]
    recon = expect_one_each(terms(vae, x)[1], n, "The second value, `recon`,")
    z = decoded(vae, n, 5)
    mean = (z @ weights.double()).sigmoid().unflatten(1, IMAGE)
    inputs = (x.double(), mean, sigma_x)
    right = gaussian_nll(*inputs)
    expect_close(recon, right, "The reconstruction term", inputs, RECON_MISTAKES)


def called_kl(submission: Submission) -> Kl:
    """The third value of the submission's `calc_elbo`, as a function of mu and logsigma."""

    def called(mu: torch.Tensor, logsigma: torch.Tensor) -> torch.Tensor:
        n, latent_dim = mu.shape
        vae = any_vae(submission, latent_dim)
        plug_encoder(vae, latent_dim)
        plug_blind_decoder(vae, latent_dim)
        value = terms(vae, with_posterior(mu, logsigma))[2]
        return expect_one_each(value, n, "The third value, `kl`,")

    return called


def draw(submission: Submission, *, train: bool = True) -> Draw:
    """What `calc_elbo` decodes, as a function of mu and logsigma of any shape."""

    def drawn(mu: torch.Tensor, logsigma: torch.Tensor) -> torch.Tensor:
        # Many rows of few latents become fewer images with longer codes.
        width = WIDEST if mu.numel() > 10_000 else mu.shape[1]
        mu_rows, logsigma_rows = mu.reshape(-1, width), logsigma.reshape(-1, width)
        vae = any_vae(submission, width)
        if train:
            vae.train()
        else:
            vae.eval()
        plug_encoder(vae, width)
        plug_blind_decoder(vae, width)
        terms(vae, with_posterior(mu_rows, logsigma_rows))
        return decoded(vae, *mu_rows.shape).view_as(mu)

    return drawn


# Gradients are judged without any formula of the two terms, so that a slip in one of these costs
# its own task only.


def expect_gradient_through_draw(submission: Submission) -> None:
    """Expect ∂z/∂mu = 1 and ∂z/∂log σ = z − mu.

    At the prior the KL has no slope, and pixels that are at their means add none: what is left of
    the negative ELBO's gradient comes through z.
    """
    latents = 3
    vae = any_vae(submission, latents, 0.02)
    plug_encoder(vae, latents)
    # The pixels that say mu and logsigma stay grey, whatever z is.
    weights = torch.randn(latents, PIXELS)
    weights[:, : 2 * latents] = 0
    plug_decoder(vae, weights)
    mu, logsigma = (torch.zeros(4, latents).requires_grad_() for _ in range(2))
    total = terms(vae, with_posterior(mu, logsigma))[0]
    inputs = {"mu": mu, "logsigma": logsigma}
    by_mu, by_logsigma = expect_grad(total, inputs, "the negative ELBO", "detached")
    z = decoded(vae, 4, latents)
    for name, grad in (("mu", by_mu), ("logsigma", by_logsigma)):
        expect(float(grad.abs().max()) > 1e-4, NO_GRADIENT.format(name), "detached")
    right = by_mu.double() * z
    off = float((by_logsigma - right).abs().max() / right.abs().max())
    expect(off < 0.02, "The gradient that reaches `logsigma` through z is not (z − mu) ∂/∂z.")


def expect_gradient_through_kl(submission: Submission) -> None:
    """Expect that the KL in the negative ELBO has a gradient: with so wide a σ_x nothing else has.

    At mu = 1 and log σ = −1 every KL slopes, a mistaken one too.
    """
    vae = any_vae(submission, 3, 1e3)
    plug_encoder(vae, 3)
    plug_blind_decoder(vae, 3)
    mu, logsigma = torch.ones(4, 3).requires_grad_(), (-torch.ones(4, 3)).requires_grad_()
    total = terms(vae, with_posterior(mu, logsigma))[0]
    inputs = {"mu": mu, "logsigma": logsigma}
    by_mu, by_logsigma = expect_grad(total, inputs, "the negative ELBO", "elbo_detached")
    # A KL divided by all pixels still slopes by 1e-3, the images within the error by below 1e-7.
    expect(
        float(by_mu.abs().max() + by_logsigma.abs().max()) > 1e-5,
        "No gradient comes back through the KL: is it detached? Both terms train the model.",
        "elbo_detached",
    )
