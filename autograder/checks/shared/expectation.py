"""Holds a KL against what it is an expectation of, and against torch's own."""

import math

import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as closed_form

from autograder.checks.shared.sampling import STANDARD_ERRORS
from autograder.checks.vocabulary import expect

DRAWS = 200_000


def expect_kl_is_expectation(got: float, mu: torch.Tensor, sigma: torch.Tensor) -> None:
    """Expect of a KL that it is the mean of log q(z) − log p(z) over draws z from q.

    Six standard errors of 200,000 draws: a right KL fails less than once in 10⁸ runs. With the same
    tolerance it is torch's own closed form.

    Args:
        got: What the submission gives, in nats.
        mu: Means of the posterior q, (1, Z).
        sigma: Its standard deviations, (1, Z).
    """
    q, prior = Normal(mu, sigma), Normal(0.0, 1.0)
    z = q.sample((DRAWS,))
    ratios = (q.log_prob(z) - prior.log_prob(z)).sum(-1)[:, 0].double()
    mean = float(ratios.mean())
    tolerance = STANDARD_ERRORS * float(ratios.std()) / math.sqrt(DRAWS) + 1e-3
    expect(
        abs(got - mean) <= tolerance,
        f"Averaged over draws, log q(z) − log p(z) is {mean:.3f}; your KL says {got:.3f}.",
    )
    right = float(closed_form(q, prior).sum())
    expect(
        abs(got - right) <= tolerance,
        f"`torch.distributions` makes this KL {right:.3f}; yours is {got:.3f}.",
    )
