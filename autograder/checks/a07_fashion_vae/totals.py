"""The two terms of a VAE's loss as total sums, over a batch's images too, and mistakes in them.

Outputs and images are (N, ...); mu and sigma, the standard deviation, are (N, Z); every term is a
scalar.
"""

import math

import torch
import torch.nn.functional as F

from autograder.checks.vocabulary import Mistake


def bce(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of outputs x with images y, summed over pixels and images."""
    return F.binary_cross_entropy(x, y, reduction="sum")


RECON_MISTAKES = (
    Mistake(
        "recon_swapped",
        "Output and image have changed places in your cross-entropy, as in the formula on the "
        "assignment's original sheet (an erratum): the logarithm is of the output, which comes "
        "first.",
        lambda x, y: bce(y, x),
    ),
    Mistake(
        "recon_mean",
        "Your reconstruction loss averages over pixels and images. It is a total sum.",
        lambda x, y: F.binary_cross_entropy(x, y),
    ),
    Mistake(
        "recon_mean_over_images",
        "Your reconstruction loss averages over the images. Here it is a total sum: twice the "
        "images, twice the loss.",
        lambda x, y: bce(x, y) / len(x),
    ),
    Mistake(
        "recon_mean_over_pixels",
        "Your reconstruction loss averages over the pixels. Every pixel counts in full, as every "
        "latent does in the KL.",
        lambda x, y: bce(x, y) / x[0].numel(),
    ),
    Mistake(
        "recon_logits",
        "Your cross-entropy squashes the output a second time: the decoder has already applied "
        "the sigmoid, so these are no logits.",
        lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="sum"),
    ),
    Mistake(
        "recon_squared_error",
        "Your reconstruction loss is a squared error. Here it is the binary cross-entropy.",
        lambda x, y: F.mse_loss(x, y, reduction="sum"),
    ),
    Mistake(
        "recon_sign",
        "Your reconstruction loss has the wrong sign: a likelihood is to grow, a loss to fall.",
        lambda x, y: -bce(x, y),
    ),
    Mistake(
        "recon_half",
        "Half of your cross-entropy is missing: black pixels have a probability too.",
        lambda x, y: -(y * x.log()).sum(),
    ),
    Mistake(
        "recon_rounded",
        "You round the greys of the images to black and white. Use them as they are.",
        lambda x, y: bce(x, y.round()),
    ),
)


def kl(mu: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """KL(N(mu, sigma²) ‖ N(0, I)) over all latents and images (Kingma & Welling 2014, B)."""
    return (0.5 * (mu**2 + sigma**2 - 1) - sigma.log()).sum()


PRINTED = (
    "Your KL is the one printed on the assignment's original sheet, and that is an erratum: it is "
    "not 0 at N(0, I), and it is smallest at σ = 1/√2."
)
KL_MISTAKES = (
    Mistake("kl_as_printed", PRINTED, lambda m, s: (m**2 + s**2 - s.log() - 0.5).sum()),
    Mistake("kl_as_printed", PRINTED, lambda m, s: (m**2 + s**2 - s.log() - 0.5).mean()),
    Mistake("kl_as_printed", PRINTED, lambda m, s: (m**2 + s**2 - s.log()).sum() - 0.5),
    Mistake(
        "kl_without_half",
        "Your KL is twice what it should be: a factor of ½ is missing.",
        lambda m, s: 2 * kl(m, s),
    ),
    Mistake(
        "kl_without_half",
        "A factor of ½ is missing in your KL.",
        lambda m, s: (m**2 + s**2 - 1 - s.log()).sum(),
    ),
    Mistake(
        "kl_log_sigma_halved",
        "Your KL takes half of log σ where it takes all of it: ½ log σ² is log σ.",
        lambda m, s: 0.5 * (m**2 + s**2 - 1 - s.log()).sum(),
    ),
    Mistake(
        "sigma_read_as_variance",
        "Your KL is what you get when sigma is read as the variance σ². It is σ itself.",
        lambda m, s: kl(m, s.sqrt()),
    ),
    Mistake(
        "sigma_read_as_log_sigma",
        "Your KL is what you get when sigma is read as log σ. The encoder has already taken the "
        "exponential.",
        lambda m, s: kl(m, s.exp()),
    ),
    Mistake(
        "sigma_read_as_logvar",
        "Your KL is what you get when sigma is read as log σ². The encoder gives σ itself.",
        lambda m, s: kl(m, (s / 2).exp()),
    ),
    Mistake(
        "kl_sigma_not_squared",
        "Your KL holds σ where σ² belongs.",
        lambda m, s: (0.5 * (m**2 + s - 1) - s.log()).sum(),
    ),
    Mistake(
        "kl_mean",
        "Your KL averages over all of its numbers. It is a total sum.",
        lambda m, s: kl(m, s) / m.numel(),
    ),
    Mistake(
        "kl_mean_over_images",
        "Your KL averages over the images, while the reconstruction loss is a total sum: both "
        "terms must be counted alike.",
        lambda m, s: kl(m, s) / len(m),
    ),
    Mistake(
        "kl_mean_over_latents",
        "Your KL averages over the latent dimensions. Dimensions add up.",
        lambda m, s: kl(m, s) / m.shape[1],
    ),
    Mistake(
        "kl_sign",
        "Your KL has the wrong sign: it is 0 at N(0, I) and positive everywhere else.",
        lambda m, s: -kl(m, s),
    ),
    Mistake(
        "kl_log_sign",
        "In your KL, log σ has the wrong sign: a narrow cloud must cost something.",
        lambda m, s: (0.5 * (m**2 + s**2 - 1) + s.log()).sum(),
    ),
    Mistake(
        "kl_mu_not_squared",
        "The means enter your KL without their square.",
        lambda m, s: (0.5 * (m + s**2 - 1) - s.log()).sum(),
    ),
    Mistake(
        "kl_without_one",
        "A constant is missing: your KL is not 0 at N(0, I).",
        lambda m, s: kl(m, s) + 0.5 * m.numel(),
    ),
    Mistake(
        "kl_without_log",
        "Without log σ nothing keeps a cloud from shrinking to a point.",
        lambda m, s: 0.5 * (m**2 + s**2 - 1).sum(),
    ),
    Mistake(
        "kl_only_entropy",
        "Your KL has no prior in it: only the posterior's own entropy is there.",
        lambda m, s: -s.log().sum(),
    ),
    Mistake(
        "kl_only_entropy",
        "Your KL has no prior in it: only the posterior's own entropy is there, constants and all.",
        lambda m, s: -(s.log() + 0.5 * (1 + math.log(2 * math.pi))).sum(),
    ),
)
