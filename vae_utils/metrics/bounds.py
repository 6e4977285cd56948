"""Bounds on log p(x) over a whole data set, in nats and bits, and the reconstruction error."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vae_utils.metrics.view import Batches, VaeView
from vae_utils.modules import evaluation_mode, module_of

GREY_LEVELS = 256
ROWS_AT_ONCE = 8192  # latents decoded in one call; limits the memory if k is large


@dataclass(frozen=True)
class ElboReport:
    """The ELBO of a data set and its two terms, means over its images, in nats.

    Args:
        reconstruction: −E log p(x|z), where z is sampled from q(z|x).
        kl: KL(q(z|x) ‖ N(0, I)).
        dimensions: Pixels times channels of an image.
        likelihood: "bernoulli" or "gaussian".
        images: Number of images in the means.
        nan_images: Number of images that resulted in NaN or infinity. The means skip them.

    Example:
        >>> report = ElboReport(90.0, 20.0, dimensions=784, likelihood="bernoulli", images=1000)
        >>> report.elbo
        -110.0
        >>> print(report)
        ELBO -110.00 nats (0.202 bits/dim) = -90.00 reconstruction - 20.00 KL, over 1,000 images
    """

    reconstruction: float
    kl: float
    dimensions: int
    likelihood: str
    images: int
    nan_images: int = 0

    @property
    def elbo(self) -> float:
        """E log p(x|z) − KL, in nats: a lower bound on log p(x)."""
        return -self.reconstruction - self.kl

    @property
    def bits_per_dimension(self) -> float:
        """−ELBO / (D ln 2), plus log₂ 256 for a Gaussian.

        A Gaussian is a density over pixels that were scaled from 0…256 to 0…1. log₂ 256 corrects
        this scaling. The result is comparable with a code for 8-bit pixels (`dequantize=True`).
        """
        bits = -self.elbo / (self.dimensions * math.log(2))
        return bits + (math.log2(GREY_LEVELS) if self.likelihood == "gaussian" else 0.0)

    def __str__(self) -> str:
        line = (
            f"ELBO {self.elbo:.2f} nats ({self.bits_per_dimension:.3f} bits/dim) = "
            f"{-self.reconstruction:.2f} reconstruction - {self.kl:.2f} KL, "
            f"over {self.images:,} images"
        )
        return line + (f"; {self.nan_images:,} more resulted in NaN" if self.nan_images else "")


def evaluate_elbo(view: VaeView, loader: Batches, samples: int = 1, seed: int = 0) -> ElboReport:
    """Compute the ELBO of a VAE on a whole data set.

    ELBO(x) = E_q(z|x)[log p(x|z)] − KL(q(z|x) ‖ N(0, I)); Kingma & Welling 2014, equation 3. The
    expectation is a mean over samples, the KL is exact. The Gaussian log-density has its constants.

    Args:
        view: The VAE.
        loader: Yields batches (x, y) on the model's device, x in [0, 1].
        samples: Number of samples of z for each image.
        seed: Seed of these samples. The random state of torch does not change.

    Returns:
        The two terms, and the ELBO computed from them.

    Raises:
        ValueError: The shapes do not fit, the decoder's output is not a probability, or every
            image results in NaN or infinity.

    Example:
        >>> batches = [(torch.full((4, 8), 0.5), torch.zeros(4))]
        >>> def encode(x):
        ...     return torch.zeros(4, 2), torch.zeros(4, 2)
        >>> view = VaeView(encode, decode=lambda z: torch.full((4, 8), 0.5))
        >>> print(evaluate_elbo(view, batches))
        ELBO -5.55 nats (1.000 bits/dim) = -5.55 reconstruction - 0.00 KL, over 4 images
    """
    _require_count("samples", samples)
    reconstructions, kls, dimensions = [], [], 0
    generators = _Generators(seed)
    with evaluation_mode(*view.modules):
        for x, y in loader:
            conditions = view.conditions(x, y)
            mu, sigma = _finite_posterior(*view.posterior(x, conditions))
            log_px = torch.stack(
                [
                    _log_likelihood(view, x, _sample(mu, sigma, generators), conditions)
                    for _ in range(samples)
                ]
            ).mean(dim=0)
            q, prior = Normal(mu, sigma, validate_args=False), Normal(0.0, 1.0)
            kls.append(kl_divergence(q, prior).sum(dim=1).double().cpu())
            reconstructions.append(-log_px.cpu())
            dimensions = x[0].numel()
    reconstruction, kl = _joined(reconstructions), _joined(kls)
    good = torch.isfinite(reconstruction) & torch.isfinite(kl)
    _require_some_finite(good)
    return ElboReport(
        reconstruction=float(reconstruction[good].mean()),
        kl=float(kl[good].mean()),
        dimensions=dimensions,
        likelihood=view.likelihood,
        images=int(good.sum()),
        nan_images=int((~good).sum()),
    )


def importance_weighted_bound(view: VaeView, loader: Batches, k: int = 50, seed: int = 0) -> float:
    """Compute the importance-weighted bound on log p(x). A larger k gives a tighter bound.

    L_k(x) = E[log 1/k Σᵢ p(x|zᵢ) p(zᵢ) / q(zᵢ|x)], z₁ … z_k from q(z|x); Burda, Grosse &
    Salakhutdinov 2016, equation 8. With k = 1 its expectation is the ELBO.

    Args:
        view: The VAE.
        loader: Yields batches (x, y) on the model's device, x in [0, 1].
        k: Number of samples of z for each image.
        seed: Seed of these samples. The random state of torch does not change.

    Returns:
        Mean over the images, in nats. It does not include images that result in NaN; a printed
        line reports their number.

    Raises:
        ValueError: The same as for `evaluate_elbo`.

    Example:
        >>> batches = [(torch.full((4, 8), 0.5), torch.zeros(4))]
        >>> def encode(x):
        ...     return torch.zeros(4, 2), torch.zeros(4, 2)
        >>> view = VaeView(encode, decode=lambda z: torch.full((len(z), 8), 0.5))
        >>> round(importance_weighted_bound(view, batches, k=5), 3)  # −8 ln 2: q is the prior
        -5.545
    """
    _require_count("k", k)
    generators, bounds = _Generators(seed), []
    with evaluation_mode(*view.modules):
        for x, y in loader:
            conditions = view.conditions(x, y)
            mu, sigma = _finite_posterior(*view.posterior(x, conditions))
            bounds.append(_weighted_bound(view, x, mu, sigma, conditions, k, generators).cpu())
    bound = _joined(bounds)
    good = torch.isfinite(bound)
    _require_some_finite(good)
    if not good.all():
        print(f"{int((~good).sum()):,} of {len(good):,} images resulted in NaN and are skipped.")
    return float(bound[good].mean())


def reconstruction_error(reconstruct: Callable[[Tensor], Any], loader: Batches) -> float:
    """Compute the mean squared error of reconstructions over a whole data set.

    This is (x − x̂)², the mean over all pixels of all images.

    Args:
        reconstruct: Maps x to x̂ with the same number of pixels, or to a tuple that starts with x̂.
        loader: Yields batches (x, y) on the model's device.

    Returns:
        The error. It is NaN if any reconstruction contains NaN.

    Raises:
        ValueError: x̂ has another number of pixels, or the loader is empty.

    Example:
        >>> reconstruction_error(lambda x: x - 0.5, [(torch.ones(3, 1, 2, 2), torch.zeros(3))])
        0.25
    """
    total, pixels = 0.0, 0
    with evaluation_mode(module_of(reconstruct)):
        for x, _ in loader:
            output = reconstruct(x)
            x_hat = output[0] if isinstance(output, tuple | list) else output
            _require_same_pixels(x, x_hat)
            total += float((x_hat.flatten(1) - x.flatten(1)).double().square().sum())
            pixels += x.numel()
    if pixels == 0:
        raise ValueError("The loader has no batch.")
    return total / pixels


class _Generators:
    """One random generator per device, all with the same seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._by_device: dict[torch.device, torch.Generator] = {}

    def on(self, device: torch.device) -> torch.Generator:
        if device not in self._by_device:
            self._by_device[device] = torch.Generator(device=device).manual_seed(self._seed)
        return self._by_device[device]


def _sample(mu: Tensor, sigma: Tensor, generators: _Generators) -> Tensor:
    """Sample z from q(z|x) = N(mu, sigma²), once for each row."""
    generator = generators.on(mu.device)
    return torch.normal(mu, sigma, generator=generator)


def _finite_posterior(mu: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Mark images whose posterior is not finite or positive: set mu to NaN, and sigma to 1."""
    bad = ~(torch.isfinite(mu) & torch.isfinite(sigma) & (sigma > 0)).all(dim=1, keepdim=True)
    return mu.masked_fill(bad, math.nan), sigma.masked_fill(bad, 1.0)


def _log_likelihood(view: VaeView, x: Tensor, z: Tensor, conditions: tuple[Tensor, ...]) -> Tensor:
    """Return log p(x|z) for each row, (N,) float64; NaN where the decoder returns NaN."""
    x_hat = view.decode(z, *conditions)
    _require_same_pixels(x, x_hat)
    x, x_hat = x.flatten(1), x_hat.flatten(1)
    finite = torch.isfinite(x_hat).all(dim=1)
    if view.likelihood == "gaussian":
        log_px = Normal(x_hat, view.sigma_x, validate_args=False).log_prob(x)
    else:
        _require_unit_range("decode returned", x_hat[finite], "for example from a sigmoid")
        _require_unit_range("the loader yielded", x, "as make_loader yields them")
        without_nan = x_hat.masked_fill(~finite[:, None], 0.5)
        log_px = -F.binary_cross_entropy(without_nan, x.to(without_nan), reduction="none")
    return log_px.double().sum(dim=1).masked_fill(~finite, math.nan)


def _weighted_bound(
    view: VaeView,
    x: Tensor,
    mu: Tensor,
    sigma: Tensor,
    conditions: tuple[Tensor, ...],
    k: int,
    generators: _Generators,
) -> Tensor:
    """Return log 1/k Σ wᵢ for each image of a batch, (N,) float64."""
    at_once = max(1, ROWS_AT_ONCE // len(x))
    total = torch.full((len(x),), -math.inf, dtype=torch.float64, device=mu.device)
    for start in range(0, k, at_once):
        copies = min(at_once, k - start)
        many_mu, many_sigma = mu.repeat(copies, 1), sigma.repeat(copies, 1)
        z = _sample(many_mu, many_sigma, generators)
        many_conditions = tuple(c.repeat(copies, *[1] * (c.dim() - 1)) for c in conditions)
        many_x = x.flatten(1).repeat(copies, 1)
        log_px = _log_likelihood(view, many_x, z, many_conditions)
        log_pz = Normal(0.0, 1.0).log_prob(z.nan_to_num()).double().sum(dim=1)
        q = Normal(many_mu, many_sigma, validate_args=False)
        log_w = log_px + log_pz - q.log_prob(z).double().sum(dim=1)
        total = torch.logaddexp(total, log_w.reshape(copies, len(x)).logsumexp(dim=0))
    return total - math.log(k)


def _require_count(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be 1 or more, got {value}.")


def _require_unit_range(who: str, values: Tensor, how: str) -> None:
    if values.numel() and (values.min() < 0 or values.max() > 1):
        raise ValueError(
            f"A Bernoulli likelihood needs values in [0, 1], {how}, but {who} values from "
            f"{float(values.min()):.3g} to {float(values.max()):.3g}."
        )


def _require_same_pixels(x: Tensor, x_hat: Tensor) -> None:
    if len(x_hat) != len(x) or x_hat.numel() != x.numel():
        raise ValueError(
            f"The model must return as many values as the images {tuple(x.shape)} have, but it "
            f"returned {tuple(x_hat.shape)}."
        )


def _joined(parts: list[Tensor]) -> Tensor:
    if not parts:
        raise ValueError("The loader has no batch. Is the set empty, or smaller than a batch?")
    return torch.cat(parts)


def _require_some_finite(good: Tensor) -> None:
    if not good.any():
        raise ValueError(f"All {len(good):,} images resulted in NaN. Did the training diverge?")
