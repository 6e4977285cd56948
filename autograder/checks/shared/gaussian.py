"""The terms of a VAE with a Bernoulli decoder, as the training specs use them.

mu and logvar are (N, Z), images (N, ...); every term is a scalar: summed within an image, averaged
over images.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from autograder.checks.deformed import deformed_digits
from autograder.checks.shared.answers import (
    expect_gaussians,
    expect_like,
    expect_pixels,
    expect_values,
)
from autograder.checks.training import TrainingSpec

# The bounds of `myVAE` on MNIST, by name; see `docs/calibration.md`.
MNIST_BOUNDS: dict[str, Any] = {"epochs": 10, "below": 120.0, "below_new": 150.0}


def bce(x_hat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy, summed over pixels, mean over images.

    Raises:
        CheckFailed: If `x_hat` has another shape than `x`, or a pixel is outside [0, 1].
    """
    x_hat = expect_like(x_hat, x, "the reconstruction")
    if not bool(torch.isfinite(x_hat).all()):
        return torch.tensor(math.nan)
    expect_pixels(x_hat)
    return F.binary_cross_entropy(x_hat, x, reduction="sum") / len(x)


def kl_divergence(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """Return KL(N(mu, σ²) ‖ N(0, I)), mean over images (Kingma & Welling 2014, appendix B).

    Raises:
        CheckFailed: If the arguments are not of shape (N, Z) both.
    """
    mu, logvar = expect_gaussians(mu, logvar, len(mu))
    # logvar itself is finite even where σ² has underflowed to 0.
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1).mean()


def negative_elbo(
    x_hat: torch.Tensor, x: torch.Tensor, mu: torch.Tensor, logvar: torch.Tensor
) -> torch.Tensor:
    """Return the negative ELBO in nats per image (Kingma & Welling 2014, equation 3)."""
    return bce(x_hat, x) + kl_divergence(mu, logvar)


def sample(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """Sample z from N(mu, exp(logvar)), (N, Z).

    Raises:
        CheckFailed: If the arguments are not of shape (N, Z) both.
    """
    mu, logvar = expect_gaussians(mu, logvar, len(mu))
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)


def latent_size(model: Any, x: torch.Tensor, *c: torch.Tensor) -> int:
    """Return the size of the codes of a `myVAE`."""
    _, mu, logvar = expect_values(model(x, *c), ("x_hat", "mu", "logvar"))
    return expect_gaussians(mu, logvar, len(x))[0].shape[1]


def vae_plan(
    condition: Callable[..., tuple[torch.Tensor, ...]] = lambda *inputs: (), **settings: Any
) -> TrainingSpec:
    """Return the training spec of `myVAE` on MNIST.

    Args:
        condition: Computes (c,) from the images and, if they are given, the labels; () for none.
        settings: More of the spec, or other values.
    """

    def confirm(model: Any, x: torch.Tensor, *labels: torch.Tensor) -> torch.Tensor:
        # The code is sampled here: the image reaches the decoder in no other way.
        c = condition(x, *labels)
        _, mu, logvar = expect_values(model(x, *c), ("x_hat", "mu", "logvar"))
        mu, logvar = expect_gaussians(mu, logvar, len(x))
        x_hat = model.decoder(torch.cat([sample(mu, logvar), *c], 1))
        return negative_elbo(x_hat, x, mu, logvar)

    usual: dict[str, Any] = {
        "model": "myVAE",
        "data": "mnist",
        "unit": "nats per image",
        "batch": lambda x, labels: (x,),
        "loss": lambda batch, x_hat, mu, logvar: negative_elbo(x_hat, batch[0], mu, logvar),
        "confirm": confirm,
        "new_images": deformed_digits,
        "untrained": 175.0,
    }
    return TrainingSpec(**usual | MNIST_BOUNDS | settings)
