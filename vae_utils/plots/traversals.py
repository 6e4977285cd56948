"""Traversals of the latent space: one or two latents changed, and paths between two images."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from matplotlib.figure import Figure

from vae_utils.plots.decoding import Decode, decoded
from vae_utils.plots.inputs import ArrayLike
from vae_utils.plots.latent import grid_codes
from vae_utils.plots.mosaic import mosaic_figure
from vae_utils.plots.paths import (
    code_pairs,
    linear_path,
    normal_quantiles,
    one_code,
    spherical_path,
)
from vae_utils.plots.style import number_text

PathKind: TypeAlias = Literal["linear", "spherical", "both"]

QUANTILES = "0.05 to 0.95 quantiles of N(0, 1)"


def plot_perturbation_strip(
    decode: Decode,
    latent_dim: int,
    dim: int = 0,
    *,
    n: int = 7,
    title: str | None = None,
) -> Figure:
    """Decode codes that are 0 except for one latent, which goes from its 5 % to its 95 % quantile.

    The values are `norm.ppf` of n evenly spaced probabilities, so that their density is that of
    the prior.

    Args:
        decode: Maps latents `(N, Z)` to N images.
        latent_dim: Z.
        dim: The latent to change, from 0.
        n: Number of images.
        title: Title of the figure.

    Raises:
        ValueError: There is no such latent.

    Example:
        >>> import torch
        >>> w = torch.randn(4, 784)
        >>> figure = plot_perturbation_strip(lambda z: torch.sigmoid(z @ w), latent_dim=4, dim=2)
        >>> [text.get_text() for text in figure.axes[0].get_xticklabels()][:4]
        ['−1.64', '−0.84', '−0.39', '0.00']
    """
    values = normal_quantiles(n)
    codes = np.zeros((n, latent_dim))
    codes[:, _known(dim, latent_dim)] = values
    images = decoded(decode, codes)
    return mosaic_figure(
        [list(images.pixels)],
        title or f"Latent {dim} changed" + ", all others 0" * (latent_dim > 1),
        images.notes,
        column_labels=[number_text(value, ".2f") for value in values],
        x_label=f"latent {dim}, at the {QUANTILES}",
    )


def plot_manifold(
    decode: Decode,
    latent_dim: int = 2,
    dims: tuple[int, int] = (0, 1),
    *,
    n: int = 7,
    title: str | None = None,
) -> Figure:
    """Decode codes that are 0 except for two latents, each at n quantiles of the prior.

    The first latent increases to the right, the second upwards, as in a scatter plot.

    Args:
        decode: Maps latents `(N, Z)` to N images.
        latent_dim: Z.
        dims: The two latents to change, from 0.
        n: Number of images along each axis.
        title: Title of the figure.

    Raises:
        ValueError: There is no such latent, or both are the same.

    Example:
        >>> import torch
        >>> w = torch.randn(2, 784)
        >>> figure = plot_manifold(lambda z: torch.sigmoid(z @ w))
        >>> figure.axes[0].images[0].get_array().shape  # 7 × 7 images of 28, gaps of 2
        (208, 208, 3)
    """
    across, up = (_known(dim, latent_dim) for dim in dims)
    if across == up:
        raise ValueError(f"dims must be two different latents, got {dims}.")
    values = normal_quantiles(n)
    codes = np.zeros((n * n, latent_dim))
    codes[:, [across, up]] = grid_codes(values, values)
    images = decoded(decode, codes)
    rows = images.pixels.reshape(n, n, *images.pixels.shape[1:])
    labels = [number_text(value, ".2f") for value in values]
    return mosaic_figure(
        [list(row) for row in rows],
        title or f"Latents {across} and {up} changed" + ", all others 0" * (latent_dim > 2),
        images.notes,
        row_labels=labels[::-1],
        column_labels=labels,
        x_label=f"latent {across}, at the {QUANTILES}",
        y_label=f"latent {up}",
    )


def plot_dimension_traversals(
    decode: Decode,
    z: ArrayLike,
    dims: Sequence[int] | None = None,
    *,
    span: float = 3.0,
    n: int = 9,
    title: str = "One latent changed at a time",
) -> Figure:
    """Start from one image's code and change one latent at a time, one row per latent.

    Args:
        decode: Maps latents `(N, Z)` to N images.
        z: `(Z,)` or `(1, Z)`, the code to start from.
        dims: The latents to change, from 0. By default the first eight.
        span: Each latent goes from -span to span.
        n: Images per row.
        title: Title of the figure.

    Raises:
        ValueError: The code is not one row, or there is no such latent.

    Example:
        >>> import torch
        >>> w = torch.randn(4, 784)
        >>> decode = lambda z: torch.sigmoid(z @ w)
        >>> figure = plot_dimension_traversals(decode, torch.zeros(4), dims=[1, 3])
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['latent 1', 'latent 3']
    """
    start = one_code(z, "z")
    changed = [_known(dim, len(start)) for dim in (dims or range(min(8, len(start))))]
    values = np.linspace(-span, span, n)
    codes = np.tile(start, (len(changed), n, 1))
    for row, dim in enumerate(changed):
        codes[row, :, dim] = values
    images = decoded(decode, codes.reshape(-1, len(start)))
    rows = images.pixels.reshape(len(changed), n, *images.pixels.shape[1:])
    return mosaic_figure(
        [list(row) for row in rows],
        title,
        images.notes,
        row_labels=[f"latent {dim}" for dim in changed],
        column_labels=[number_text(value, ".2f") for value in values],
        x_label="value of the latent",
    )


def plot_traversals(
    decode: Decode,
    starts: ArrayLike,
    ends: ArrayLike,
    *,
    n: int = 10,
    path: PathKind = "linear",
    title: str = "From one image to another",
) -> Figure:
    """Decode n points on a path between two codes (interpolation), for each pair of codes.

    The linear path is straight. The spherical path rotates from one direction to the other with
    constant speed, so that the distance from 0 stays typical for the prior.

    Args:
        decode: Maps latents `(N, Z)` to N images.
        starts: `(P, Z)`, the start of each of P paths; `(Z,)` for one path.
        ends: `(P, Z)`, the end of each path.
        n: Images on each path, with both ends.
        path: "linear", "spherical", or "both", one below the other.
        title: Title of the figure.

    Raises:
        ValueError: The pairs do not fit, or the path is unknown.

    Example:
        >>> import torch
        >>> w = torch.randn(4, 784)
        >>> figure = plot_traversals(
        ...     lambda z: torch.sigmoid(z @ w), torch.randn(3, 4), torch.randn(3, 4), path="both"
        ... )
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()][:2]
        ['pair 1, linear', 'pair 1, spherical']
    """
    walks = {"linear": linear_path, "spherical": spherical_path}
    if path not in (*walks, "both"):
        raise ValueError(f"path must be 'linear', 'spherical' or 'both', got {path!r}.")
    first, last = code_pairs(starts, ends)
    kinds = list(walks) if path == "both" else [path]
    codes = [walks[kind](a, b, n) for a, b in zip(first, last, strict=True) for kind in kinds]
    images = decoded(decode, np.concatenate(codes))
    rows = images.pixels.reshape(len(codes), n, *images.pixels.shape[1:])
    return mosaic_figure(
        [list(row) for row in rows],
        title,
        images.notes,
        row_labels=[f"pair {p + 1}, {kind}" for p in range(len(first)) for kind in kinds],
        column_labels=[f"{share:.0%}" for share in np.linspace(0, 1, n)],
        x_label="share of the path",
    )


def _known(dim: int, latent_dim: int) -> int:
    if not 0 <= dim < latent_dim:
        raise ValueError(f"There is no latent {dim}: latents are 0 to {latent_dim - 1}.")
    return int(dim)
