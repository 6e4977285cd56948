"""Checks of encoders that give (mu, log σ), and of their KL, shared by several assignments.

mu and logsigma are (N, Z); every KL is (N,): summed within an image, images kept apart.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from autograder.checks.shared.expectation import expect_kl_is_expectation
from autograder.checks.vocabulary import (
    CheckFailed,
    Mistake,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
    kind,
)

Encode = Callable[[torch.Tensor], Any]
Kl = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def posterior(n: int, latent_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make means and log σ of both signs, (n, latent_dim) each."""
    return 1.5 * torch.randn(n, latent_dim), 0.7 * torch.randn(n, latent_dim)


def expect_one_each(got: Any, n: int, what: str) -> torch.Tensor:
    """Expect one number for each image, (n,)."""
    if isinstance(got, float) or (isinstance(got, torch.Tensor) and got.dim() == 0):
        raise CheckFailed(
            f"{what} is one number for the whole batch. It should be one for each image, "
            f"({n},): training takes their mean later.",
            "batch_reduced",
        )
    if isinstance(got, torch.Tensor) and got.dim() >= 2 and got.shape[0] == n:
        raise CheckFailed(
            f"{what} has {got[0].numel()} numbers for each image: what belongs to one image is to "
            "be summed up.",
            "not_summed",
        )
    return expect_tensor(got, (n,), what)


# The encoder


def expect_posterior(got: Any, n: int, latent_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Expect mu and logsigma, (n, latent_dim) each."""
    expect(
        isinstance(got, tuple) and len(got) == 2,
        f"The encoder should return the two values (mu, logsigma), got {kind(got)}.",
    )
    return (
        expect_tensor(got[0], (n, latent_dim), "`mu`"),
        expect_tensor(got[1], (n, latent_dim), "`logsigma`"),
    )


def expect_both_signs(mu: torch.Tensor, logsigma: torch.Tensor) -> None:
    """Expect that mu and logsigma of very different images take both signs, and differ."""
    for name, out in (("mu", mu), ("logsigma", logsigma)):
        expect(
            bool((out < 0).any() and (out > 0).any()),
            f"`{name}` only ever has one sign: a mean and a logarithm may have any. Is there an "
            "activation, or an exponential, after the last layer?",
            "activation_on_head",
        )
    expect(
        not torch.equal(mu, logsigma),
        "mu and logsigma come from the same layer: each has its own.",
        "same_head",
    )


def expect_sees_each_image(encode: Encode, x: torch.Tensor, latent_dim: int) -> None:
    """Expect that each row depends on its own image alone, and that gradients pass.

    Args:
        encode: The encoder, in eval mode.
        x: At least three images.
        latent_dim: Size of a code.
    """
    both = torch.stack(expect_posterior(encode(x), len(x), latent_dim), dim=1)
    expect(float(both[:, 0].std(0).max()) > 1e-6, "Every image gets the same `mu`: is `x` used?")
    alone = torch.stack(expect_posterior(encode(x[2:3]), 1, latent_dim), dim=1)
    expect_close(alone, both[2:3], "What the encoder says of an image alone, and in a batch,")
    x = x.clone().requires_grad_()
    for number, name in enumerate(("mu", "logsigma")):
        out = expect_posterior(encode(x), len(x), latent_dim)[number]
        expect_grad(out, {"x": x}, f"`{name}`", "encoder_detached")


# The KL


def kl(mu: torch.Tensor, logsigma: torch.Tensor) -> torch.Tensor:
    """KL(N(mu, σ²) ‖ N(0, I)) of each row, (N,) (Kingma & Welling 2014, appendix B)."""
    return (0.5 * (mu**2 + (2 * logsigma).exp() - 1) - logsigma).sum(1)


KL_MISTAKES = (
    Mistake(
        "kl_without_half",
        "Your KL is twice what it should be: a factor of ½ is missing.",
        lambda mu, s: 2 * kl(mu, s),
    ),
    Mistake(
        "kl_without_half",
        "A factor of ½ is missing in your KL.",
        lambda mu, s: (mu**2 + (2 * s).exp() - 1 - s).sum(1),
    ),
    Mistake(
        "log_sigma_read_as_logvar",
        "Your KL is what you get when logsigma is read as log σ². Here it is log σ.",
        lambda mu, s: kl(mu, s / 2),
    ),
    Mistake(
        "log_sigma_halved",
        "Your KL takes half of logsigma where it takes all of it: ½ log σ² is log σ.",
        lambda mu, s: (0.5 * (mu**2 + (2 * s).exp() - 1 - s)).sum(1),
    ),
    Mistake(
        "sigma_for_variance",
        "Your KL holds σ where σ² belongs.",
        lambda mu, s: (0.5 * (mu**2 + s.exp() - 1) - s).sum(1),
    ),
    Mistake(
        "exp_missing",
        "Your KL uses logsigma where σ is due: it is a logarithm.",
        lambda mu, s: (0.5 * (mu**2 + s**2 - 1) - s).sum(1),
    ),
    Mistake(
        "kl_mean_over_latents",
        "Your KL averages over the latent dimensions. Dimensions add up.",
        lambda mu, s: kl(mu, s) / mu.shape[1],
    ),
    Mistake(
        "kl_sign",
        "Your KL has the wrong sign: it is 0 at N(0, I) and positive everywhere else.",
        lambda mu, s: -kl(mu, s),
    ),
    Mistake(
        "kl_mu_not_squared",
        "The means enter your KL without their square.",
        lambda mu, s: (0.5 * (mu + (2 * s).exp() - 1) - s).sum(1),
    ),
    Mistake(
        "kl_without_one",
        "A constant is missing: your KL is not 0 at N(0, I).",
        lambda mu, s: kl(mu, s) + 0.5 * mu.shape[1],
    ),
    Mistake(
        "kl_only_entropy",
        "Your KL has no prior in it: only the posterior's own entropy is there.",
        lambda mu, s: -s.sum(1),
    ),
    Mistake(
        "kl_only_entropy",
        "Your KL has no prior in it: only the posterior's own entropy is there, constants and all.",
        lambda mu, s: -(s + 0.5 * (1 + math.log(2 * math.pi))).sum(1),
    ),
)


def expect_kl_values(called: Kl) -> None:
    """Expect the closed form at random mu and logsigma, for several images and for one."""
    for n in (3, 1):
        mu, logsigma = posterior(n, 4)
        got = called(mu, logsigma)
        expect_close(got, kl(mu, logsigma), "The KL", (mu, logsigma), KL_MISTAKES)


def expect_kl_known_numbers(called: Kl) -> None:
    """Expect 0 at the prior, and 2 at mu = 2 and σ = 1."""
    got = called(torch.tensor([[0.0], [2.0]]), torch.zeros(2, 1))
    expect_close(got, torch.tensor([0.0, 2.0]), "The KL at mu = 0 and at mu = 2, with σ = 1,")


def expect_kl_averages_draws(called: Kl) -> None:
    """Expect the mean of log q(z) − log p(z) over draws from q, within six standard errors."""
    mu, logsigma = posterior(1, 3)
    expect_kl_is_expectation(float(called(mu, logsigma)), mu, logsigma.exp())


def expect_kl_gradient(called: Kl) -> None:
    """Expect that the KL trains the encoder: its gradient by mu is mu, by log σ it is σ² − 1."""
    mu, logsigma = (t.requires_grad_() for t in posterior(3, 5))
    value = called(mu, logsigma)
    inputs = {"mu": mu, "logsigma": logsigma}
    by_mu, by_logsigma = expect_grad(value, inputs, "the KL", "kl_detached")
    expect_close(by_mu, mu.detach(), "The gradient of the KL by mu")
    right = ((2 * logsigma).exp() - 1).detach()
    expect_close(by_logsigma, right, "The gradient of the KL by logsigma")
