"""Numbers that describe the codes of a data set: active latents, class separation, perplexity."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence


def active_units(mu: Tensor, threshold: float = 0.01) -> Tensor:
    """Return which latents a VAE uses: those whose posterior mean varies over the data.

    Latent j is active if the variance over x of E_q(z|x)[z_j] is above the threshold; Burda,
    Grosse & Salakhutdinov 2016, section 5.2.

    Args:
        mu: Posterior means of many images, (N, Z), N ≥ 2.
        threshold: A variance.

    Returns:
        bool, (Z,). Its `.sum()` is the number of active units.

    Raises:
        ValueError: mu has another shape, or contains NaN or infinity.

    Example:
        >>> active_units(torch.tensor([[1.0, 0.01], [-1.0, 0.0]]))
        tensor([ True, False])
    """
    _require_codes("mu", mu, at_least=2)
    return mu.var(dim=0) > threshold


def kl_per_dimension(mu: Tensor, sigma: Tensor) -> Tensor:
    """Compute KL(q(z_j|x) ‖ N(0, 1)) for each latent j, the mean over the images.

    Args:
        mu: Posterior means, (N, Z).
        sigma: Posterior standard deviations, (N, Z), positive.

    Returns:
        (Z,) in nats. A value near 0 means that the latent carries no information.

    Raises:
        ValueError: The shapes differ, there are NaNs, or a sigma is not positive.

    Example:
        >>> kl_per_dimension(torch.tensor([[1.0, 0.0]]), torch.ones(1, 2))
        tensor([0.5000, 0.0000])
    """
    _require_codes("mu", mu)
    _require_codes("sigma", sigma)
    if mu.shape != sigma.shape or not (sigma > 0).all():
        raise ValueError("sigma must be positive and must have the shape of mu.")
    return kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)).mean(dim=0)


def linear_probe_accuracy(
    codes: Tensor,
    labels: Tensor,
    test_codes: Tensor | None = None,
    test_labels: Tensor | None = None,
) -> float:
    """Classify codes by logistic regression, to measure how much of the class is linear in them.

    Codes are standardized first, with the mean and standard deviation of `codes`.

    Args:
        codes: The codes that the regression is fitted to, (N, Z).
        labels: Their classes, integers (N,), at least two different ones.
        test_codes: The codes to classify, (M, Z). By default these are `codes`.
        test_labels: Their classes, (M,).

    Returns:
        Accuracy: the share of correct classes, 0 to 1.

    Raises:
        ValueError: Shapes do not fit, there are NaNs, or there is only one class.

    Example:
        >>> codes = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
        >>> linear_probe_accuracy(codes, torch.tensor([0, 0, 1, 1]))
        1.0
    """
    from sklearn.linear_model import LogisticRegression  # slow to import
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    test_codes, test_labels = _test_part(codes, labels, test_codes, test_labels)
    if len(labels.unique()) < 2:
        raise ValueError("A linear probe needs at least two classes.")
    probe: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(codes.detach().cpu().numpy(), labels.cpu().numpy())
    return float(probe.score(test_codes.detach().cpu().numpy(), test_labels.cpu().numpy()))


def codebook_perplexity(indices: Tensor, num_embeddings: int) -> float:
    """Compute how many code vectors a VQ-VAE effectively uses over a whole data set.

    exp(−Σ pₖ ln pₖ), where pₖ is the share of code vector k; van den Oord et al. 2017 report it.

    Args:
        indices: Index of the code vector at each position, whole numbers of any shape.
        num_embeddings: Number of vectors in the codebook, K.

    Returns:
        From 1 (one vector is used) to K (all are used equally often).

    Raises:
        ValueError: There are no indices, or they are not whole numbers from 0 to K − 1.

    Example:
        >>> round(codebook_perplexity(torch.tensor([[0, 1], [2, 3]]), num_embeddings=512), 6)
        4.0
    """
    if indices.is_floating_point() or indices.numel() == 0:
        raise ValueError("indices must be whole numbers, and there must be at least one.")
    if indices.min() < 0 or indices.max() >= num_embeddings:
        raise ValueError(
            f"indices are from {int(indices.min())} to {int(indices.max())}, but a codebook of "
            f"{num_embeddings} vectors has indices 0 to {num_embeddings - 1}."
        )
    shares = torch.bincount(indices.flatten(), minlength=num_embeddings).double()
    return math.exp(float(torch.special.entr(shares / shares.sum()).sum()))


def _test_part(
    codes: Tensor, labels: Tensor, test_codes: Tensor | None, test_labels: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the codes and labels to classify, after checking that all shapes fit."""
    if (test_codes is None) != (test_labels is None):
        raise ValueError("Pass both test_codes and test_labels, or neither.")
    test_codes = codes if test_codes is None else test_codes
    test_labels = labels if test_labels is None else test_labels
    for name, some_codes, some_labels in [
        ("codes", codes, labels),
        ("test_codes", test_codes, test_labels),
    ]:
        _require_codes(name, some_codes)
        if some_labels.shape != some_codes.shape[:1]:
            raise ValueError(
                f"{name} has {len(some_codes):,} rows, but its labels have shape "
                f"{tuple(some_labels.shape)}."
            )
    if test_codes.shape[1] != codes.shape[1]:
        raise ValueError("codes and test_codes must have the same number of latents.")
    return test_codes, test_labels


def _require_codes(name: str, codes: Tensor, at_least: int = 1) -> None:
    if codes.dim() != 2 or len(codes) < at_least:
        raise ValueError(
            f"{name} must have shape (N, Z) with N ≥ {at_least}, but has {tuple(codes.shape)}."
        )
    bad = int((~torch.isfinite(codes)).any(dim=1).sum())
    if bad:
        raise ValueError(f"{bad:,} of {len(codes):,} rows of {name} contain NaN or infinity.")
