"""Formulas of Gaussian VAEs and the mistakes made in them, shared by several assignments.

mu and logvar are (N, Z), images (N, ...); every term is a scalar: summed within an image, averaged
over images.
"""

import torch
import torch.nn.functional as F

from autograder.checks.vocabulary import Mistake


def bce(x_hat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy summed over pixels, mean over images."""
    return F.binary_cross_entropy(x_hat, x, reduction="sum") / len(x)


RECON_MISTAKES = (
    Mistake(
        "recon_mean_over_pixels",
        "Your reconstruction term averages over pixels. The KL sums over latents, so the pixels "
        "must be summed too; only images are averaged.",
        lambda x_hat, x: F.binary_cross_entropy(x_hat, x),
    ),
    Mistake(
        "recon_not_averaged",
        "Your reconstruction term grows with the batch: average it over the images.",
        lambda x_hat, x: F.binary_cross_entropy(x_hat, x, reduction="sum"),
    ),
    Mistake(
        "recon_swapped",
        "Prediction and data have changed places in your cross-entropy: the prediction comes "
        "first, the data second.",
        lambda x_hat, x: F.binary_cross_entropy(x, x_hat, reduction="sum") / len(x),
    ),
    Mistake(
        "recon_logits",
        "Your cross-entropy squashes the output a second time: the decoder has already applied "
        "the sigmoid, so these are no logits.",
        lambda x_hat, x: F.binary_cross_entropy_with_logits(x_hat, x, reduction="sum") / len(x),
    ),
    Mistake(
        "recon_squared_error",
        "Your reconstruction term is a squared error. Here it is the binary cross-entropy.",
        lambda x_hat, x: F.mse_loss(x_hat, x, reduction="sum") / len(x),
    ),
    Mistake(
        "recon_sign",
        "Your reconstruction term has the wrong sign: a likelihood is to grow, a loss to fall.",
        lambda x_hat, x: -bce(x_hat, x),
    ),
)


def kl_divergence(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """KL(N(mu, σ²) ‖ N(0, I)), summed over latents, mean over images (Kingma & Welling 2014, B)."""
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1).mean()


EXP_MISSING = "Your KL squares logvar where σ² is due. How do you get σ² from its logarithm?"
KL_MISTAKES = (
    Mistake(
        "kl_without_half",
        "Your KL is twice what it should be: a factor of ½ is missing.",
        lambda mu, logvar: 2 * kl_divergence(mu, logvar),
    ),
    Mistake(
        "kl_not_averaged",
        "Your KL grows with the batch: it is summed over the images too. Sum over the latents, "
        "average over the images.",
        lambda mu, logvar: kl_divergence(mu, logvar) * len(mu),
    ),
    Mistake(
        "logvar_read_as_log_sigma",
        "Your KL is what you get when logvar is read as log σ. It is log σ².",
        lambda mu, logvar: kl_divergence(mu, 2 * logvar),
    ),
    Mistake(
        "logvar_read_as_log_sigma",
        "Your KL is what you get when logvar is read as log σ. It is log σ².",
        lambda mu, logvar: -0.5 * (1 + logvar - mu**2 - (2 * logvar).exp()).sum(1).mean(),
    ),
    Mistake(
        "kl_sigma_for_variance",
        "Your KL holds σ where σ² belongs.",
        lambda mu, logvar: -0.5 * (1 + logvar - mu**2 - (0.5 * logvar).exp()).sum(1).mean(),
    ),
    Mistake(
        "kl_mean_over_latents",
        "Your KL averages over the latent dimensions. Dimensions add up.",
        lambda mu, logvar: kl_divergence(mu, logvar) / mu.shape[1],
    ),
    Mistake(
        "kl_mean_of_everything",
        "Your KL is divided by the number of pixels, or of all entries. Sum over the latents, "
        "average over the images.",
        lambda mu, logvar: kl_divergence(mu, logvar) / mu.numel(),
    ),
    Mistake(
        "kl_divided_by_pixels",
        "Your KL is divided by the number of pixels. Both terms are divided by the images alone.",
        lambda mu, logvar: kl_divergence(mu, logvar) / 784,
    ),
    Mistake(
        "kl_divided_twice",
        "Your KL is divided by the number of images twice.",
        lambda mu, logvar: kl_divergence(mu, logvar) / len(mu),
    ),
    Mistake(
        "kl_sign",
        "Your KL has the wrong sign: it is 0 at N(0, I) and positive everywhere else.",
        lambda mu, logvar: -kl_divergence(mu, logvar),
    ),
    Mistake(
        "kl_dropped",
        "The loss does not change with mu and logvar: the KL term is not in it.",
        lambda mu, logvar: torch.zeros(()),
    ),
    Mistake(
        "kl_only_entropy",
        "Your KL has no prior in it: only the posterior's own entropy is there.",
        lambda mu, logvar: -0.5 * logvar.sum(1).mean(),
    ),
    Mistake(
        "kl_mu_not_squared",
        "The means enter your KL without their square.",
        lambda mu, logvar: -0.5 * (1 + logvar - mu - logvar.exp()).sum(1).mean(),
    ),
    Mistake(
        "kl_log_sigma_for_log_variance",
        "Your KL holds log σ where log σ² belongs.",
        lambda mu, logvar: -0.5 * (1 + 0.5 * logvar - mu**2 - logvar.exp()).sum(1).mean(),
    ),
    Mistake(
        "exp_missing",
        EXP_MISSING,
        lambda mu, logvar: -0.5 * (1 + logvar - mu**2 - logvar**2).sum(1).mean(),
    ),
    # The same less its value at N(0, I), where a KL is measured as a difference of two losses.
    Mistake(
        "exp_missing",
        EXP_MISSING,
        lambda mu, logvar: -0.5 * (logvar - mu**2 - logvar**2).sum(1).mean(),
    ),
)


def negative_elbo(
    x_hat: torch.Tensor, x: torch.Tensor, mu: torch.Tensor, logvar: torch.Tensor
) -> torch.Tensor:
    """The negative ELBO of a Bernoulli decoder in nats per image (Kingma & Welling 2014, eq. 3)."""
    return bce(x_hat, x) + kl_divergence(mu, logvar)


def sample(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """Draw z from N(mu, exp(logvar)), (N, Z)."""
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
