"""Images that a decoder generates: from the prior, and from one image's posterior."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor

from vae_utils.plots.decoding import Decode, decoded
from vae_utils.plots.inputs import ArrayLike, Images, as_image, to_numpy
from vae_utils.plots.mosaic import Tile, in_rows, mosaic_figure


def plot_prior_samples(
    decode: Decode,
    latent_dim: int,
    *,
    n: int = 40,
    columns: int = 10,
    seed: int = 0,
    title: str = "Decoded samples of the prior N(0, I)",
) -> Figure:
    """Decode samples of the prior: the images that the model generates.

    Args:
        decode: Maps latents `(N, Z)` to N images.
        latent_dim: Z.
        n: Number of samples.
        columns: Images per row.
        seed: Seed of the samples.
        title: Title of the figure.

    Raises:
        ValueError: `decode` does not return one image for each latent.

    Example:
        >>> import torch
        >>> w = torch.randn(8, 784)
        >>> figure = plot_prior_samples(lambda z: torch.sigmoid(z @ w), latent_dim=8, n=10)
        >>> figure.axes[0].images[0].get_array().shape
        (28, 298, 3)
    """
    z = torch.randn(n, latent_dim, generator=torch.Generator().manual_seed(seed))
    images = decoded(decode, z)
    return mosaic_figure(in_rows(list(images.pixels), columns), title, images.notes)


def plot_variations(
    decode: Decode,
    mu: ArrayLike,
    logvar: ArrayLike,
    *,
    scales: Sequence[float] = (1, 20),
    n: int = 8,
    seed: int | Generator = 0,
    original: ArrayLike | None = None,
    title: str = "One image, sampled many times",
) -> Figure:
    """Decode samples of one image's posterior, with the original and an enlarged variance.

    A row for scale s shows the decoded z = μ + √s·σ·ε. All rows use the same ε, so that they
    differ only by the scale.

    Args:
        decode: Maps latents `(N, Z)` to N images.
        mu: `(Z,)` or `(1, Z)`, the mean of the posterior.
        logvar: The same shape, log σ².
        scales: Factors of the variance. 1 is the model's own variance.
        n: Number of samples for each scale.
        seed: Seed of the samples, or a `torch.Generator`.
        original: The encoded image. It is shown first.
        title: Title of the figure.

    Raises:
        ValueError: `mu` and `logvar` do not describe one image, or a scale is negative.

    Example:
        >>> import torch
        >>> w = torch.randn(8, 784)
        >>> figure = plot_variations(
        ...     lambda z: torch.sigmoid(z @ w), mu=torch.zeros(8), logvar=torch.zeros(8), n=5
        ... )
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['1 × σ²', '20 × σ²']
    """
    mean = _one_vector(mu, "mu")
    sigma = torch.exp(0.5 * _one_vector(logvar, "logvar"))
    if mean.shape != sigma.shape:
        raise ValueError(
            f"mu and logvar must have the same length, but have {len(mean)} and {len(sigma)}."
        )
    if not scales or min(scales) < 0:
        raise ValueError(f"scales must be factors of the variance, 0 or more, got {scales}.")
    noise = torch.randn(n, len(mean), generator=_generator(seed))
    codes = [mean + scale**0.5 * sigma * noise for scale in scales]
    images = decoded(decode, torch.cat([mean[None], *codes]))

    source = as_image(original, "original") if original is not None else None
    rows: list[list[Tile]] = []
    for r in range(len(scales)):
        drawn = images.pixels[1 + r * n : 1 + (r + 1) * n]
        rows.append([*_reference_tiles(source, images), *drawn])
    references = ["original"] * (source is not None) + ["mean"]
    return mosaic_figure(
        rows,
        title,
        [*(source.notes if source else []), *images.notes],
        row_labels=[f"{scale:g} × σ²" for scale in scales],
        column_labels=[*references, *(f"sample {i + 1}" for i in range(n))],
    )


def _reference_tiles(source: Images | None, images: Images) -> list[Tile]:
    """Return the images to compare a row with: the original, and the decoded mean."""
    mean_tile = images.pixels[0]
    return [mean_tile] if source is None else [source.pixels[0], mean_tile]


def _one_vector(values: ArrayLike, what: str) -> Tensor:
    array = to_numpy(values, what)
    if array.size == 0 or array.size != array.shape[-1]:
        raise ValueError(f"{what} must have shape (Z,) or (1, Z), but has {array.shape}.")
    return torch.tensor(array, dtype=torch.float32).reshape(-1)


def _generator(seed: int | Generator) -> Generator:
    return seed if isinstance(seed, Generator) else torch.Generator().manual_seed(seed)
