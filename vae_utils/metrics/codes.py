"""What the codes of a data set tell: which latents are active, how well classes lie apart."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence


def active_units(mu: Tensor, threshold: float = 0.01) -> Tensor:
    """Say which latent dimensions a VAE uses: those whose posterior mean varies over the data.

    Dimension j is active if the variance over x of E_q(z|x)[z_j] is above the threshold; Burda,
    Grosse & Salakhutdinov 2016, section 5.2.

    Args:
        mu: posterior means of many images, (N, Z), N ≥ 2.
        threshold: a variance.

    Returns:
        bool, (Z,); its `.sum()` is the number of active units.

    Raises:
        ValueError: mu has another shape, or NaN.

    Example:
        >>> active_units(torch.tensor([[1.0, 0.01], [-1.0, 0.0]]))
        tensor([ True, False])
    """
    _require_codes("mu", mu, at_least=2)
    return mu.var(dim=0) > threshold


def kl_per_dimension(mu: Tensor, sigma: Tensor) -> Tensor:
    """Evaluate KL(q(z_j|x) ‖ N(0, 1)) for each latent dimension j, the mean over images.

    Args:
        mu: posterior means, (N, Z).
        sigma: posterior standard deviations, (N, Z), positive.

    Returns:
        (Z,) in nats; near 0 where the dimension carries nothing.

    Raises:
        ValueError: the shapes differ, there are NaNs, or a sigma isn't positive.

    Example:
        >>> kl_per_dimension(torch.tensor([[1.0, 0.0]]), torch.ones(1, 2))
        tensor([0.5000, 0.0000])
    """
    _require_codes("mu", mu)
    _require_codes("sigma", sigma)
    if mu.shape != sigma.shape or not (sigma > 0).all():
        raise ValueError("sigma must be positive and have the shape of mu.")
    return kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)).mean(dim=0)


def nearest_centroid_accuracy(
    codes: Tensor,
    labels: Tensor,
    test_codes: Tensor | None = None,
    test_labels: Tensor | None = None,
) -> float:
    """Classify each code by the nearest class mean: how far the classes lie apart.

    Args:
        codes: (N, Z), of which the class means are taken.
        labels: (N,) of integers.
        test_codes: codes to classify, (M, Z); the same ones if not given.
        test_labels: their labels, (M,).

    Returns:
        Share of right answers, 0 to 1.

    Raises:
        ValueError: shapes don't fit, or there are NaNs.

    Example:
        >>> codes = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
        >>> nearest_centroid_accuracy(codes, torch.tensor([0, 0, 1, 1]))
        1.0
    """
    test_codes, test_labels = _test_part(codes, labels, test_codes, test_labels)
    classes = labels.unique()
    centroids = torch.stack([codes[labels == label].mean(dim=0) for label in classes])
    nearest = classes[torch.cdist(test_codes, centroids).argmin(dim=1)]
    return float((nearest == test_labels).double().mean())


def linear_probe_accuracy(
    codes: Tensor,
    labels: Tensor,
    test_codes: Tensor | None = None,
    test_labels: Tensor | None = None,
) -> float:
    """Classify codes by logistic regression: how much of the class a linear map can read off.

    Codes are standardized first, by the mean and deviation of `codes`.

    Args:
        codes: (N, Z), which the regression is fitted to.
        labels: (N,) of integers, at least two classes.
        test_codes: codes to classify, (M, Z); the same ones if not given.
        test_labels: their labels, (M,).

    Returns:
        Share of right answers, 0 to 1.

    Raises:
        ValueError: shapes don't fit, there are NaNs, or there is only one class.

    Example:
        >>> codes = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
        >>> linear_probe_accuracy(codes, torch.tensor([0, 0, 1, 1]))
        1.0
    """
    from sklearn.linear_model import LogisticRegression  # slow to import: only where it is used
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    test_codes, test_labels = _test_part(codes, labels, test_codes, test_labels)
    if len(labels.unique()) < 2:
        raise ValueError("A linear probe needs at least two classes.")
    probe: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(codes.detach().cpu().numpy(), labels.cpu().numpy())
    return float(probe.score(test_codes.detach().cpu().numpy(), test_labels.cpu().numpy()))


def codebook_perplexity(indices: Tensor, num_embeddings: int) -> float:
    """Evaluate how many code vectors a VQ-VAE uses, in effect, over a whole data set.

    exp(−Σ pₖ ln pₖ) with pₖ the share of code vector k; van den Oord et al. 2017 report it.

    Args:
        indices: which code vector stands at each place, whole numbers of any shape.
        num_embeddings: vectors in the codebook, K.

    Returns:
        From 1 (a single one is used) to K (all equally).

    Raises:
        ValueError: there are no indices, or they aren't whole numbers below K.

    Example:
        >>> round(codebook_perplexity(torch.tensor([[0, 1], [2, 3]]), num_embeddings=512), 6)
        4.0
    """
    if indices.is_floating_point() or indices.numel() == 0:
        raise ValueError("indices must be whole numbers, and at least one.")
    if indices.min() < 0 or indices.max() >= num_embeddings:
        raise ValueError(
            f"indices go from {int(indices.min())} to {int(indices.max())}; a codebook of "
            f"{num_embeddings} has 0 to {num_embeddings - 1}."
        )
    shares = torch.bincount(indices.flatten(), minlength=num_embeddings).double()
    return math.exp(float(torch.special.entr(shares / shares.sum()).sum()))


def _test_part(
    codes: Tensor, labels: Tensor, test_codes: Tensor | None, test_labels: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the codes and labels to classify, once everything is seen to fit."""
    if (test_codes is None) != (test_labels is None):
        raise ValueError("Give test_codes and test_labels together, or neither.")
    test_codes = codes if test_codes is None else test_codes
    test_labels = labels if test_labels is None else test_labels
    for name, some_codes, some_labels in [
        ("codes", codes, labels),
        ("test_codes", test_codes, test_labels),
    ]:
        _require_codes(name, some_codes)
        if some_labels.shape != some_codes.shape[:1]:
            raise ValueError(
                f"{name} has {len(some_codes):,} rows and labels of shape "
                f"{tuple(some_labels.shape)}."
            )
    if test_codes.shape[1] != codes.shape[1]:
        raise ValueError("codes and test_codes must have the same number of dimensions.")
    return test_codes, test_labels


def _require_codes(name: str, codes: Tensor, at_least: int = 1) -> None:
    if codes.dim() != 2 or len(codes) < at_least:
        raise ValueError(
            f"{name} must have shape (N, Z) with N ≥ {at_least}, not {tuple(codes.shape)}."
        )
    bad = int((~torch.isfinite(codes)).any(dim=1).sum())
    if bad:
        raise ValueError(f"{bad:,} of {len(codes):,} rows of {name} hold NaN or infinity.")
