"""The terms of a VAE with a Bernoulli decoder, as the training specs use them.

mu and logvar are (N, Z), images (N, ...); every term is a scalar: summed within an image, averaged
over images.
"""

import torch
import torch.nn.functional as F


def bce(x_hat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy, summed over pixels, mean over images."""
    return F.binary_cross_entropy(x_hat, x, reduction="sum") / len(x)


def kl_divergence(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """Return KL(N(mu, σ²) ‖ N(0, I)), mean over images (Kingma & Welling 2014, appendix B)."""
    # From logvar itself, which is finite where σ² is no longer above 0.
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1).mean()


def negative_elbo(
    x_hat: torch.Tensor, x: torch.Tensor, mu: torch.Tensor, logvar: torch.Tensor
) -> torch.Tensor:
    """Return the negative ELBO in nats per image (Kingma & Welling 2014, equation 3)."""
    return bce(x_hat, x) + kl_divergence(mu, logvar)


def sample(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """Sample z from N(mu, exp(logvar)), (N, Z)."""
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
