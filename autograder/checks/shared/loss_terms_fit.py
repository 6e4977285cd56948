"""Explain a loss or an output of known parts that no known mistake computes.

The values that a submission should combine are known. Their weights are found by least squares.
"""

import math

import torch

from autograder.checks.vocabulary import CheckFailed

TOLERANCE = 1e-3


def expect_weights(
    got: torch.Tensor, recon: torch.Tensor, kl: torch.Tensor, what: str, sign: float = 1.0
) -> None:
    """Explain a sum of two terms with wrong weights.

    Args:
        got: The values of the submission's sum, (M,), M at least 3.
        recon: The right reconstruction terms, (M,).
        kl: The right KL terms, (M,).
        what: The sum, for messages, such as "`self.loss`".
        sign: 1 for a loss, and −1 for an ELBO.

    Raises:
        CheckFailed: If the values are a weighted sum of the two terms.
    """
    weights = _fit(torch.stack([recon, kl], 1), got)
    if weights is None:
        return
    of_recon, of_kl = (sign * float(weight) for weight in weights)
    if max(abs(of_recon - 1), abs(of_kl - 1)) <= TOLERANCE:
        return
    if abs(of_recon - of_kl) <= TOLERANCE * abs(of_recon):
        shown = f"{of_recon:.4g} times" if of_recon > 1 or of_recon < 0 else "a part of"
        by = f": it is divided by {1 / of_recon:.4g}" if 0 < of_recon < 1 else ""
        raise CheckFailed(
            f"{what[:1].upper()}{what[1:]} is {shown} what it should be{by}.", "loss_scaled"
        )
    if abs(of_recon - 1) <= TOLERANCE:
        raise CheckFailed(
            f"The KL has the weight {of_kl:.4g} in {what}. Its weight should be 1.", "kl_weighted"
        )
    if abs(of_kl - 1) <= TOLERANCE:
        raise CheckFailed(
            f"The reconstruction term has the weight {of_recon:.4g} in {what}. Its weight should "
            "be 1.",
            "recon_weighted",
        )
    raise CheckFailed(
        f"In {what} the reconstruction term has the weight {of_recon:.4g}, and the KL "
        f"{of_kl:.4g}. Both weights should be 1.",
        "terms_weighted",
    )


def expect_no_skip(got: torch.Tensor, right: torch.Tensor, x: torch.Tensor, what: str) -> None:
    """Explain an output that contains the image itself.

    Args:
        got: The submission's output, (N, ...).
        right: The right output, of the same shape.
        x: The images, of the same shape.
        what: The output, for messages.

    Raises:
        CheckFailed: If the output is a weighted sum of the right output and of the images.
    """
    weights = _fit(torch.stack([right.flatten(), x.flatten()], 1), got.flatten())
    if weights is not None and abs(float(weights[1])) > TOLERANCE:
        raise CheckFailed(
            f"{what} contains the image itself. The image should reach it through the code only: "
            "remove the connection that goes around the code.",
            "skip_connection",
        )


def expect_density(
    got: torch.Tensor, squares: torch.Tensor, logs: torch.Tensor, pixels: int
) -> None:
    """Explain a Gaussian −log p with wrong weights of its three terms.

    Args:
        got: The submission's values, (M,), for several σ.
        squares: The sums of ((x − mean) / σ)², (M,).
        logs: D log σ, (M,).
        pixels: Number of pixels, D.

    Raises:
        CheckFailed: If the values are a weighted sum of the three terms.
    """
    constant = torch.full_like(squares, pixels * 0.5 * math.log(2 * math.pi))
    weights = _fit(torch.stack([0.5 * squares, logs, constant], 1), got)
    if weights is None:
        return
    if float((weights - 1).abs().max()) <= TOLERANCE:
        return
    scale = float(weights[0])
    if float((weights - scale).abs().max()) <= TOLERANCE * max(1.0, abs(scale)):
        in_bits = abs(scale * math.log(2) - 1) <= TOLERANCE
        raise CheckFailed(
            "Your reconstruction term is in bits. Use the natural logarithm: the KL is in nats."
            if in_bits
            else f"Your reconstruction term is {scale:.4g} times what it should be.",
            "recon_in_bits" if in_bits else "recon_factor",
        )
    names = ("the squares", "log σ_x", "the constant")
    wrong = [
        f"the factor of {name} is {float(weight):.4g} times what it should be"
        for name, weight in zip(names, weights, strict=True)
        if abs(float(weight) - 1) > TOLERANCE
    ]
    raise CheckFailed(f"In your density, {'; '.join(wrong)}.", "recon_factor")


def _fit(basis: torch.Tensor, values: torch.Tensor) -> torch.Tensor | None:
    """Return the weights (K,) of a basis (M, K) that give the values (M,), or None."""
    basis, values = basis.detach().double(), values.detach().double()
    if not bool(torch.isfinite(values).all()):
        return None
    weights = torch.linalg.lstsq(basis, values[:, None]).solution[:, 0]
    gap = float((basis @ weights - values).abs().max())
    return weights if gap <= TOLERANCE * float(values.abs().max()) else None
