"""The ELBO of a Bernoulli decoder, computed from known parts, and known mistakes in it."""

from dataclasses import dataclass

import torch

from autograder.checks.shared.elbo import sum_mistakes
from autograder.checks.shared.likelihood import BERNOULLI, reconstruction_mistakes
from autograder.checks.shared.parameterization import EACH_IMAGE
from autograder.checks.vocabulary import Mistake, expect, expect_close
from autograder.protocol.remote import Affine, RemoteObject


@dataclass(frozen=True)
class KnownParts:
    """The functions that the stubs compute."""

    mu: torch.Tensor
    logsigma: torch.Tensor
    by_mu: torch.Tensor
    by_logsigma: torch.Tensor
    decoder: torch.Tensor
    kl_mu: torch.Tensor
    kl_logsigma: torch.Tensor

    def theta(self, x: torch.Tensor, swapped: bool = False, mean: bool = False) -> torch.Tensor:
        """Return the probabilities of the pixels, (N, D)."""
        mu, logsigma = x @ self.mu, x @ self.logsigma
        if swapped:
            mu, logsigma = logsigma, mu
        z = mu if mean else mu @ self.by_mu + logsigma @ self.by_logsigma
        return (z @ self.decoder).sigmoid()

    def likelihood(self, x: torch.Tensor, **how: bool) -> torch.Tensor:
        """Compute log p(x | z) of each image, (N,)."""
        return -BERNOULLI.term(EACH_IMAGE, self.theta(x, **how), x)

    def kl(self, x: torch.Tensor, swapped: bool = False) -> torch.Tensor:
        """Compute what replaces the KL of each image, (N,)."""
        mu, logsigma = x @ self.mu, x @ self.logsigma
        if swapped:
            mu, logsigma = logsigma, mu
        return mu @ self.kl_mu + logsigma @ self.kl_logsigma

    def elbo(self, x: torch.Tensor) -> torch.Tensor:
        """Return the ELBO of each image, (N,)."""
        return self.likelihood(x) - self.kl(x)

    def expect_gradient(self, got: torch.Tensor, x: torch.Tensor) -> None:
        """Expect the gradient of the summed ELBO by x, which passes through both terms."""

        def by_x(value: torch.Tensor) -> torch.Tensor:
            return torch.autograd.grad(value.sum(), x)[0]

        # With detached codes, x has a gradient as the target of the likelihood only.
        def target() -> torch.Tensor:
            return -BERNOULLI.term(EACH_IMAGE, self.theta(x).detach(), x)

        for wrong, what in (
            (by_x(self.likelihood(x)), "the KL"),
            (-by_x(self.kl(x)), "the likelihood"),
            (by_x(target() - self.kl(x)), "z, from the likelihood to the encoder"),
            (by_x(target()), "mu and logsigma"),
        ):
            expect(
                not torch.allclose(got, wrong, atol=1e-3),
                f"No gradient flows through {what}. Is it detached? Both terms train the model.",
                "elbo_detached",
            )
        expect_close(got, by_x(self.elbo(x)), "The gradient of the ELBO", tolerance=1e-3)


def known_parts(vae: RemoteObject, obs_dim: int, latent_dim: int) -> KnownParts:
    """Replace a model's four parts by known maps."""
    parts = KnownParts(
        mu=torch.randn(obs_dim, latent_dim) / obs_dim**0.5,
        logsigma=torch.randn(obs_dim, latent_dim) / obs_dim**0.5,
        by_mu=torch.randn(latent_dim, latent_dim) / latent_dim**0.5,
        by_logsigma=torch.randn(latent_dim, latent_dim) / latent_dim**0.5,
        decoder=torch.randn(latent_dim, obs_dim),
        # The stub's KL is as large as the other term, so that an error in either is visible.
        kl_mu=8 * torch.rand(latent_dim),
        kl_logsigma=8 * torch.rand(latent_dim),
    )
    both = ("mu", "logsigma")
    vae.set_stub("encoder", Affine([parts.mu]), Affine([parts.logsigma]), names=("x",))
    vae.set_stub("sample_with_reparam", Affine([parts.by_mu, parts.by_logsigma]), names=both)
    vae.set_stub("decoder", Affine([parts.decoder]), squash=True, names=("z",))
    vae.set_stub("kl_divergence", Affine([parts.kl_mu, parts.kl_logsigma]), names=both)
    return parts


def _with_right_kl(mistake: Mistake) -> Mistake:
    """Turn a mistake in the reconstruction term into a mistake in the ELBO."""
    # The corpus uses another name for this mistake.
    name = "greys_rounded" if mistake.name == "recon_rounded" else mistake.name
    return Mistake(name, mistake.says, lambda p, x: -mistake.formula(p.theta(x), x) - p.kl(x))


SWAPPED = "`elbo` calls `self.{}` with logsigma first. The order is (mu, logsigma)."
ELBO_MISTAKES = (
    *(
        Mistake(m.name, m.says, lambda p, x, f=m.formula: -f(-p.likelihood(x), p.kl(x)))
        for m in sum_mistakes("your ELBO", sign="elbo_sign", subtracted="kl_added")
    ),
    Mistake(
        "kl_over_the_batch",
        "Your KL mixes the images of the batch. Compute one KL for each image.",
        lambda p, x: p.likelihood(x) - p.kl(x).mean(),
    ),
    Mistake(
        "decodes_mu",
        "`elbo` decodes mu itself. Sample z with `self.sample_with_reparam` first, also in "
        "eval mode.",
        lambda p, x: p.likelihood(x, mean=True) - p.kl(x),
    ),
    Mistake(
        "arguments_swapped",
        SWAPPED.format("sample_with_reparam"),
        lambda p, x: p.likelihood(x, swapped=True) - p.kl(x),
    ),
    Mistake(
        "arguments_swapped",
        SWAPPED.format("kl_divergence"),
        lambda p, x: p.likelihood(x) - p.kl(x, swapped=True),
    ),
    *(_with_right_kl(mistake) for mistake in reconstruction_mistakes(BERNOULLI, EACH_IMAGE)),
)
