"""The ELBO of a Bernoulli decoder, computed from known parts, and known mistakes in it."""

from dataclasses import dataclass

import torch

from autograder.checks.shared.elbo import sum_mistakes
from autograder.checks.shared.likelihood import BERNOULLI, reconstruction_mistakes
from autograder.checks.shared.parameterization import EACH_IMAGE
from autograder.checks.vocabulary import Mistake, expect, expect_close
from autograder.protocol.remote import Affine, RemoteObject

# The stub's KL is as large as the other term, so that an error in either is visible. A student may
# assert that it is positive: this is 7 times the deviation of the rest.
KL_BIAS = 25.0


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

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map rows (N, D) to mu and logsigma, (N, L) each."""
        return x @ self.mu, x @ self.logsigma

    def sample(self, mu: torch.Tensor, logsigma: torch.Tensor) -> torch.Tensor:
        """Compute what replaces the sample, (N, L)."""
        return mu @ self.by_mu + logsigma @ self.by_logsigma

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Map codes (N, L) to the probabilities of the pixels, (N, D)."""
        return (z @ self.decoder).sigmoid()

    def divergence(self, mu: torch.Tensor, logsigma: torch.Tensor) -> torch.Tensor:
        """Compute what replaces the KL of each image, (N,)."""
        return mu @ self.kl_mu + logsigma @ self.kl_logsigma + KL_BIAS

    def elbo_of(
        self, x: torch.Tensor, mu: torch.Tensor, logsigma: torch.Tensor, *of_kl: torch.Tensor
    ) -> torch.Tensor:
        """Return the ELBO with this sample's parameters and, if given, other ones of the KL."""
        term = BERNOULLI.term(EACH_IMAGE, self.decode(self.sample(mu, logsigma)), x)
        return -term - self.divergence(*(of_kl or (mu, logsigma)))

    def theta(self, x: torch.Tensor, swapped: bool = False, mean: bool = False) -> torch.Tensor:
        """Return the probabilities of the pixels, (N, D)."""
        mu, logsigma = self.encode(x)[:: -1 if swapped else 1]
        return self.decode(mu if mean else self.sample(mu, logsigma))

    def likelihood(self, x: torch.Tensor, **how: bool) -> torch.Tensor:
        """Compute log p(x | z) of each image, (N,)."""
        return -BERNOULLI.term(EACH_IMAGE, self.theta(x, **how), x)

    def kl(self, x: torch.Tensor, swapped: bool = False) -> torch.Tensor:
        """Compute what replaces the KL of each image, (N,)."""
        return self.divergence(*self.encode(x)[:: -1 if swapped else 1])

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


def known_parts(
    vae: RemoteObject, obs_dim: int, latent_dim: int, largest: float = 4.0
) -> KnownParts:
    """Replace a model's four parts by known maps.

    Args:
        vae: The model.
        obs_dim: Size of an observation, D.
        latent_dim: Size of a code, L.
        largest: About the largest logit of a pixel. A small number inside a logarithm, which is
            right, changes the value more for larger ones.
    """
    parts = KnownParts(
        mu=torch.randn(obs_dim, latent_dim) / obs_dim**0.5,
        logsigma=torch.randn(obs_dim, latent_dim) / obs_dim**0.5,
        by_mu=torch.randn(latent_dim, latent_dim) / latent_dim**0.5,
        by_logsigma=torch.randn(latent_dim, latent_dim) / latent_dim**0.5,
        decoder=torch.randn(latent_dim, obs_dim),
        kl_mu=2 * torch.rand(latent_dim),
        kl_logsigma=2 * torch.rand(latent_dim),
    )
    x = torch.rand(100, obs_dim).round()
    parts.decoder.mul_(largest / (parts.sample(*parts.encode(x)) @ parts.decoder).abs().max())
    both = ("mu", "logsigma")
    vae.set_stub("encoder", Affine([parts.mu]), Affine([parts.logsigma]), names=("x",))
    vae.set_stub("sample_with_reparam", Affine([parts.by_mu, parts.by_logsigma]), names=both)
    vae.set_stub("decoder", Affine([parts.decoder]), squash=True, names=("z",))
    kl = Affine([parts.kl_mu, parts.kl_logsigma], bias=KL_BIAS)
    vae.set_stub("kl_divergence", kl, names=both)
    return parts


def _with_right_kl(mistake: Mistake) -> Mistake:
    """Turn a mistake in the reconstruction term into a mistake in the ELBO."""
    # The corpus uses another name for this mistake.
    name = "greys_rounded" if mistake.name == "recon_rounded" else mistake.name
    return Mistake(name, mistake.says, lambda p, x: -mistake.formula(p.theta(x), x) - p.kl(x))


def _clamped(limit: float) -> Mistake:
    """Return the mistake of a likelihood of probabilities that are cut off."""

    def formula(p: KnownParts, x: torch.Tensor) -> torch.Tensor:
        theta = p.theta(x).clamp(limit, 1 - limit)
        return -BERNOULLI.term(EACH_IMAGE, theta, x) - p.kl(x)

    return Mistake(
        "recon_clamped",
        f"The probabilities are cut off at {limit:g} and {1 - limit:g} in `elbo`. Use the "
        "decoder's output itself.",
        formula,
    )


def _with_epsilon(epsilon: float) -> Mistake:
    """Return the mistake of a number inside both logarithms."""

    def formula(p: KnownParts, x: torch.Tensor) -> torch.Tensor:
        theta = p.theta(x)
        pixels = x * (theta + epsilon).log() + (1 - x) * (1 - theta + epsilon).log()
        return pixels.sum(1) - p.kl(x)

    return Mistake(
        "recon_epsilon",
        f"The number {epsilon:g} inside the logarithms changes the log-likelihood. Use a much "
        "smaller one, or none.",
        formula,
    )


EPSILONS = (1e-5, 1e-4, 1e-3, 1e-2, 0.1)
LIMITS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.001)
SIGMA_PASSED = (
    "logsigma_changed",
    "`elbo` calls `self.{}` with exp(logsigma), which is σ. Its second argument is logsigma.",
)
SWAPPED = "`elbo` calls `self.{}` with logsigma first. The order is (mu, logsigma)."
ELBO_MISTAKES = (
    Mistake(
        "elbo_divided_by_images",
        "Your ELBO is divided by the number of images. Each image has its own ELBO: do not divide "
        "it.",
        lambda p, x: p.elbo(x) / len(x),
    ),
    Mistake(
        "encoder_swapped",
        "In `elbo`, the two values that `self.encoder` returns are exchanged: mu is the first one.",
        lambda p, x: p.elbo_of(x, *p.encode(x)[::-1]),
    ),
    Mistake(
        "kl_of_the_code",
        "`elbo` calls `self.kl_divergence` with z in the place of mu. The KL needs the mean "
        "itself.",
        lambda p, x: p.elbo_of(x, *p.encode(x), p.sample(*p.encode(x)), p.encode(x)[1]),
    ),
    Mistake(
        SIGMA_PASSED[0],
        SIGMA_PASSED[1].format("kl_divergence"),
        lambda p, x: p.elbo_of(x, *p.encode(x), p.encode(x)[0], p.encode(x)[1].exp()),
    ),
    Mistake(
        SIGMA_PASSED[0],
        SIGMA_PASSED[1].format("sample_with_reparam"),
        lambda p, x: p.elbo_of(x, p.encode(x)[0], p.encode(x)[1].exp(), *p.encode(x)),
    ),
    Mistake(
        SIGMA_PASSED[0],
        "`elbo` calls `self.sample_with_reparam` and `self.kl_divergence` with exp(logsigma), "
        "which is σ. Their second argument is logsigma.",
        lambda p, x: p.elbo_of(x, p.encode(x)[0], p.encode(x)[1].exp()),
    ),
    *(_with_epsilon(epsilon) for epsilon in EPSILONS),
    *(_clamped(limit) for limit in LIMITS),
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
