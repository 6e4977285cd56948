"""What a decoder draws: from the prior, and around one image at several variances."""

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
    title: str = "Decoded draws from the prior N(0, I)",
) -> Figure:
    """Decode latents drawn from the prior: what the model generates on its own.

    Args:
        decode: maps latents `(N, Z)` to N images.
        latent_dim: Z.
        n: how many to draw.
        columns: images in a row.
        seed: of the draws.
        title: what the figure shows.

    Raises:
        ValueError: `decode` doesn't give one image for each latent.

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
    """Decode many draws of one image's posterior, with its variance as it is and enlarged.

    A row for each scale s holds decoded z = μ + √s·σ·ε; the ε are the same in each row, so that
    rows differ by the scale alone.

    Args:
        decode: maps latents `(N, Z)` to N images.
        mu: `(Z,)` or `(1, Z)`, the posterior's mean.
        logvar: of the same shape, log σ².
        scales: factors of the variance, 1 being the model's own.
        n: draws for each scale.
        seed: of the draws, or a `torch.Generator`.
        original: the image that was encoded, shown first.
        title: what the figure shows.

    Raises:
        ValueError: `mu` and `logvar` don't describe one image, or a scale is negative.

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
            f"mu and logvar must be as long as each other, not {len(mean)} and {len(sigma)}."
        )
    if not scales or min(scales) < 0:
        raise ValueError(f"scales must be factors of the variance, 0 or more, not {scales}.")
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
        column_labels=[*references, *(f"draw {i + 1}" for i in range(n))],
    )


def _reference_tiles(source: Images | None, images: Images) -> list[Tile]:
    """What the draws of a row are compared with: the original, and the decoded mean."""
    mean_tile = images.pixels[0]
    return [mean_tile] if source is None else [source.pixels[0], mean_tile]


def _one_vector(values: ArrayLike, what: str) -> Tensor:
    array = to_numpy(values, what)
    if array.size == 0 or array.size != array.shape[-1]:
        raise ValueError(f"{what} must be of one image, (Z,) or (1, Z), but has {array.shape}.")
    return torch.tensor(array, dtype=torch.float32).reshape(-1)


def _generator(seed: int | Generator) -> Generator:
    return seed if isinstance(seed, Generator) else torch.Generator().manual_seed(seed)
