"""The terms of a VAE with a Bernoulli decoder, as the training specs use them.

mu and logvar are (N, Z), images (N, ...); every term is a scalar: summed within an image, averaged
over images.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from autograder.checks.deformed import deformed_digits
from autograder.checks.training import TrainingSpec


def bce(x_hat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy, summed over pixels, mean over images."""
    return F.binary_cross_entropy(x_hat, x, reduction="sum") / len(x)


def kl_divergence(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """Return KL(N(mu, σ²) ‖ N(0, I)), mean over images (Kingma & Welling 2014, appendix B)."""
    # logvar itself is finite even where σ² has underflowed to 0.
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1).mean()


def negative_elbo(
    x_hat: torch.Tensor, x: torch.Tensor, mu: torch.Tensor, logvar: torch.Tensor
) -> torch.Tensor:
    """Return the negative ELBO in nats per image (Kingma & Welling 2014, equation 3)."""
    return bce(x_hat, x) + kl_divergence(mu, logvar)


def sample(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """Sample z from N(mu, exp(logvar)), (N, Z)."""
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)


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
        _, mu, logvar = model(x, *c)
        x_hat = model.decoder(torch.cat([sample(mu, logvar), *c], 1))
        return negative_elbo(x_hat, x, mu, logvar)

    usual: dict[str, Any] = {
        "model": "myVAE",
        "data": "mnist",
        "epochs": 10,
        "below": 120.0,
        "unit": "nats per image",
        "batch": lambda x, labels: (x,),
        "loss": lambda batch, x_hat, mu, logvar: negative_elbo(x_hat, batch[0], mu, logvar),
        "confirm": confirm,
        "new_images": deformed_digits,
        "below_new": 150.0,
        "untrained": 175.0,
    }
    return TrainingSpec(**usual | settings)
