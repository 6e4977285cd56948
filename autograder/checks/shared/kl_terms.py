"""Find the wrong term of a KL from its values, if no known mistake computes them.

A KL of the usual form is a sum of four terms over all entries: mu², σ², log σ and a constant. Their
weights are fitted to the values at random posteriors by least squares, and compared with ½, ½, −1
and −½ (Kingma & Welling 2014, appendix B).
"""

from collections.abc import Callable

import torch

from autograder.checks.shared.parameterization import Parameterization, Reduction
from autograder.checks.vocabulary import CheckFailed, expect

Pair = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
WEIGHTS = torch.tensor([0.5, 0.5, -1.0, -0.5], dtype=torch.float64)
TERMS = ("mu²", "σ²", "log σ", "the constant")
NATS_IN_BITS = 1.4426950408889634
# Numbers of the fit: a wrong weight differs by more, a right KL in float32 by less.
TOLERANCE = 1e-3
# The largest error of a KL that is a sum of these terms, relative to its largest value.
FIT = 2e-4
IMAGES, LATENTS, CALLS = 4, 3, 12


def _entries(mu: torch.Tensor, sigma: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the four terms of each entry, (N, Z) each, without their weights."""
    return mu**2, sigma**2, sigma.log(), torch.ones_like(mu)


def fitted_weights(kl: Pair, own: Parameterization, reduction: Reduction) -> torch.Tensor | None:
    """Return the weights of the four terms, (4,); None if the KL is no sum of these terms."""
    rows, values = [], []
    for _ in range(CALLS):
        mu, value = own.posterior(IMAGES, LATENTS)
        terms = _entries(mu.double(), own.to_sigma(value.double()))
        rows.append(torch.stack([reduction.of(term).reshape(-1) for term in terms], 1))
        values.append(kl(mu, value).detach().double().reshape(-1))
        if values[-1].shape != rows[-1][:, 0].shape:
            return None
    basis, found = torch.cat(rows), torch.cat(values)
    if not bool(torch.isfinite(found).all()):
        return None
    weights = torch.linalg.lstsq(basis, found[:, None]).solution[:, 0]
    gap = float((basis @ weights - found).abs().max())
    return weights if gap <= FIT * max(1.0, float(found.abs().max())) else None


def expect_known_terms(kl: Pair, own: Parameterization, reduction: Reduction) -> None:
    """Name the terms with a wrong weight.

    Args:
        kl: The submission's KL, which is wrong, as a function of mu and the second parameter.
        own: What the second parameter is.
        reduction: How the right KL is reduced.

    Raises:
        CheckFailed: If the values show what is wrong.
    """
    weights = fitted_weights(kl, own, reduction)
    if weights is None:
        return
    shares = weights / WEIGHTS
    if float((shares - 1).abs().max()) <= TOLERANCE:
        return
    scale = float(shares[0])
    if float((shares - scale).abs().max()) <= TOLERANCE * max(1.0, abs(scale)):
        expect(
            abs(scale - NATS_IN_BITS) > 2 * TOLERANCE,
            "Your KL is in bits: its logarithm has base 2. It should be in nats, with the natural "
            "logarithm.",
            "kl_in_bits",
        )
        raise CheckFailed(
            f"Your KL is {scale:.4g} times what it should be: a factor is wrong. Is there a weight "
            "of the KL in it?",
            "kl_scaled",
        )
    wrong = [
        f"the factor of {term} is {_times(float(share))}"
        for term, share in zip(TERMS[:3], shares[:3], strict=True)
        if abs(float(share) - 1) > TOLERANCE
    ]
    if abs(float(shares[3]) - 1) > TOLERANCE:
        wrong.append(f"the constant is {_times(float(shares[3]))}")
    log = float(shares[2])
    base = {NATS_IN_BITS: "2", NATS_IN_BITS / 3.321928094887362: "10"}
    for factor, name in base.items():
        expect(
            len(wrong) > 1 or abs(log - factor) > TOLERANCE,
            f"Your KL uses the logarithm to base {name}. It needs the natural logarithm.",
            "kl_log_base",
        )
    if len(wrong) <= 3:
        raise CheckFailed(f"In your KL, {'; '.join(wrong)}.", "kl_factor")


def _times(share: float) -> str:
    if abs(share) <= TOLERANCE:
        return "0: the term is missing"
    if abs(share + 1) <= TOLERANCE:
        return "right, but its sign is wrong"
    return f"{share:.4g} times what it should be"
