"""The ELBO of a Bernoulli decoder, put together from known parts, and what goes wrong in it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from autograder.checks.vocabulary import Mistake, expect, expect_close
from autograder.protocol.remote import Affine, RemoteObject


@dataclass(frozen=True)
class KnownParts:
    """What the stand-ins compute."""

    mu: torch.Tensor
    logsigma: torch.Tensor
    by_mu: torch.Tensor
    by_logsigma: torch.Tensor
    decoder: torch.Tensor
    kl_mu: torch.Tensor
    kl_logsigma: torch.Tensor

    def theta(self, x: torch.Tensor, swapped: bool = False, mean: bool = False) -> torch.Tensor:
        """Probabilities of the pixels, (N, D)."""
        mu, logsigma = x @ self.mu, x @ self.logsigma
        if swapped:
            mu, logsigma = logsigma, mu
        z = mu if mean else mu @ self.by_mu + logsigma @ self.by_logsigma
        return (z @ self.decoder).sigmoid()

    def likelihood(self, x: torch.Tensor, **how: bool) -> torch.Tensor:
        """Compute log p(x | z) of each image, (N,)."""
        return -F.binary_cross_entropy(self.theta(x, **how), x, reduction="none").sum(1)

    def kl(self, x: torch.Tensor, swapped: bool = False) -> torch.Tensor:
        """What stands in for the KL of each image, (N,)."""
        mu, logsigma = x @ self.mu, x @ self.logsigma
        if swapped:
            mu, logsigma = logsigma, mu
        return mu @ self.kl_mu + logsigma @ self.kl_logsigma

    def elbo(self, x: torch.Tensor) -> torch.Tensor:
        """The ELBO of each image, (N,)."""
        return self.likelihood(x) - self.kl(x)

    def expect_gradient(self, got: torch.Tensor, x: torch.Tensor) -> None:
        """Expect the gradient of the summed ELBO by x, which passes through both terms."""

        def by_x(value: torch.Tensor) -> torch.Tensor:
            return torch.autograd.grad(value.sum(), x)[0]

        for wrong, what in (
            (by_x(self.likelihood(x)), "the KL"),
            (-by_x(self.kl(x)), "the likelihood"),
        ):
            expect(
                not torch.allclose(got, wrong, atol=1e-3),
                f"No gradient comes back through {what}: is something detached? Both terms train "
                "the model.",
                "elbo_detached",
            )
        expect_close(got, by_x(self.elbo(x)), "The gradient of the ELBO", tolerance=1e-3)


def known_parts(vae: RemoteObject, obs_dim: int, latent_dim: int) -> KnownParts:
    """Put known maps in the place of a model's four parts."""
    parts = KnownParts(
        mu=torch.randn(obs_dim, latent_dim) / obs_dim**0.5,
        logsigma=torch.randn(obs_dim, latent_dim) / obs_dim**0.5,
        by_mu=torch.randn(latent_dim, latent_dim) / latent_dim**0.5,
        by_logsigma=torch.randn(latent_dim, latent_dim) / latent_dim**0.5,
        decoder=torch.randn(latent_dim, obs_dim),
        # As large as the other term, so that neither hides the other.
        kl_mu=8 * torch.rand(latent_dim),
        kl_logsigma=8 * torch.rand(latent_dim),
    )
    both = ("mu", "logsigma")
    vae.plug("encoder", Affine([parts.mu]), Affine([parts.logsigma]), names=("x",))
    vae.plug("sample_with_reparam", Affine([parts.by_mu, parts.by_logsigma]), names=both)
    vae.plug("decoder", Affine([parts.decoder]), squash=True, names=("z",))
    vae.plug("kl_divergence", Affine([parts.kl_mu, parts.kl_logsigma]), names=both)
    return parts


SUMMED = "Sum over the pixels; images stay apart."
ELBO_MISTAKES = (
    Mistake(
        "elbo_sign",
        "You return the negative ELBO. A bound on a log-likelihood is large where the model is "
        "good; training turns the sign.",
        lambda p, x: -p.elbo(x),
    ),
    Mistake(
        "kl_added",
        "Your ELBO adds the KL. The code has to be paid for: the KL is taken away.",
        lambda p, x: p.likelihood(x) + p.kl(x),
    ),
    Mistake(
        "recon_sign",
        "Your first term has the wrong sign: cross-entropy is the negative log-likelihood.",
        lambda p, x: -p.likelihood(x) - p.kl(x),
    ),
    Mistake(
        "recon_mean_over_pixels",
        f"Your likelihood averages over pixels, while the KL sums over latents. {SUMMED}",
        lambda p, x: p.likelihood(x) / x.shape[1] - p.kl(x),
    ),
    Mistake(
        "recon_over_the_batch",
        f"Your likelihood mixes the images of the batch. {SUMMED}",
        lambda p, x: p.likelihood(x).sum() - p.kl(x),
    ),
    Mistake(
        "recon_over_the_batch",
        f"Your likelihood mixes the images of the batch. {SUMMED}",
        lambda p, x: p.likelihood(x).mean() - p.kl(x),
    ),
    Mistake(
        "recon_over_the_batch",
        f"Your likelihood mixes the images of the batch. {SUMMED}",
        lambda p, x: p.likelihood(x).mean() / x.shape[1] - p.kl(x),
    ),
    Mistake(
        "kl_over_the_batch",
        "Your KL mixes the images of the batch: each image has its own.",
        lambda p, x: p.likelihood(x) - p.kl(x).mean(),
    ),
    Mistake("kl_dropped", "The KL is not in your ELBO.", lambda p, x: p.likelihood(x)),
    Mistake("recon_dropped", "The likelihood is not in your ELBO.", lambda p, x: -p.kl(x)),
    Mistake(
        "decodes_mu",
        "`elbo` decodes mu itself: draw z with `self.sample_with_reparam` first, in eval mode too.",
        lambda p, x: p.likelihood(x, mean=True) - p.kl(x),
    ),
    Mistake(
        "arguments_swapped",
        "`elbo` calls `self.sample_with_reparam` with logsigma first; it takes (mu, logsigma).",
        lambda p, x: p.likelihood(x, swapped=True) - p.kl(x),
    ),
    Mistake(
        "arguments_swapped",
        "`elbo` calls `self.kl_divergence` with logsigma first; it takes (mu, logsigma).",
        lambda p, x: p.likelihood(x) - p.kl(x, swapped=True),
    ),
    Mistake(
        "recon_swapped",
        "Prediction and data have changed places in your cross-entropy: the prediction comes "
        "first, the data second.",
        lambda p, x: -F.binary_cross_entropy(x, p.theta(x), reduction="none").sum(1) - p.kl(x),
    ),
    Mistake(
        "recon_logits",
        "Your likelihood squashes the pixels a second time: the decoder has already applied the "
        "sigmoid, so these are no logits.",
        lambda p, x: (
            -F.binary_cross_entropy_with_logits(p.theta(x), x, reduction="none").sum(1) - p.kl(x)
        ),
    ),
    Mistake(
        "recon_half",
        "Half of your likelihood is missing: black pixels have a probability too.",
        lambda p, x: (x * p.theta(x).log()).sum(1) - p.kl(x),
    ),
    Mistake(
        "recon_squared_error",
        "Your likelihood is a squared error. Here each pixel is a coin: it is Bernoulli.",
        lambda p, x: -((p.theta(x) - x) ** 2).sum(1) - p.kl(x),
    ),
    Mistake(
        "recon_not_log",
        "Your first term holds θ where log θ belongs.",
        lambda p, x: (x * p.theta(x) + (1 - x) * (1 - p.theta(x))).sum(1) - p.kl(x),
    ),
    Mistake(
        "greys_rounded",
        "You round the greys to black and white. Use them as they are.",
        lambda p, x: (
            -F.binary_cross_entropy(p.theta(x), x.round(), reduction="none").sum(1) - p.kl(x)
        ),
    ),
)
