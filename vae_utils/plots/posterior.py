"""Posterior and prior: counts in the plane of two latents, each latent's density and KL."""

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from vae_utils.metrics.codes import active_units, kl_per_dimension
from vae_utils.plots.inputs import ArrayLike, Points, as_points, to_numpy
from vae_utils.plots.style import (
    BLUE,
    INK,
    NEUTRAL,
    RED,
    SEQUENTIAL,
    add_colour_bar,
    add_legend,
    new_figure,
    number_text,
    set_title,
)

SIGMAS = (1, 2, 3)  # radii of the prior's contours
MOST_POSTERIORS = 2000  # in one density; more take time and change no line visibly
MOST_DIGITS = 70  # along an axis, so that the numbers of many latents do not overlap
ACTIVE_VARIANCE = 0.01  # of a latent's mean over the images; Burda et al. 2016, section 5.2


def plot_marginal(
    codes: ArrayLike,
    dims: tuple[int, int] = (0, 1),
    *,
    bins: int = 50,
    title: str | None = None,
) -> Figure:
    """Plot a histogram of codes in the plane of two latents, with the contours of N(0, I).

    Both axes are centred on 0 and have the same scale, so that a shift or a stretch is visible. The
    contours are the circles of 1, 2 and 3 standard deviations.

    Args:
        codes: `(N, Z)` latents. For a comparison with the prior, use samples of the posteriors, not
            their means.
        dims: The two latents, from 0.
        bins: Number of bins along each axis.
        title: Title of the figure.

    Raises:
        ValueError: There is no such latent, or the codes have another shape.

    Example:
        >>> import torch
        >>> figure = plot_marginal(torch.randn(1000, 4), dims=(2, 3))
        >>> figure.axes[0].get_xlabel()
        'latent 2'
    """
    points = as_points(codes)
    if not all(0 <= dim < points.values.shape[1] for dim in dims):
        raise ValueError(f"dims must be within the {points.values.shape[1]} latents, got {dims}.")
    x, y = points.values[:, dims[0]], points.values[:, dims[1]]
    reach = max(SIGMAS[-1] + 0.5, float(np.abs([x, y]).max()))

    figure, axes = new_figure(height=5.4)
    ax = axes[0, 0]
    limits = [[-reach, reach], [-reach, reach]]
    counts = ax.hist2d(x, y, bins=bins, range=limits, cmap=SEQUENTIAL, rasterized=True)[3]
    _draw_prior_contours(ax, reach)
    ax.set_aspect("equal")
    ax.set(xlabel=f"latent {dims[0]}", ylabel=f"latent {dims[1]}")
    add_colour_bar(ax, counts, "codes in a bin")
    mean, std = (
        ", ".join(number_text(float(value), ".2f") for value in pair)
        for pair in [(x.mean(), y.mean()), (x.std(), y.std())]
    )
    set_title(
        ax,
        title or f"Latents {dims[0]} and {dims[1]} of {len(x):,} codes, and N(0, I)",
        [f"mean ({mean}), standard deviation ({std})", *points.notes],
    )
    return figure


def plot_posterior_vs_prior(
    mu: ArrayLike,
    logvar: ArrayLike,
    *,
    most: int = 12,
    title: str = "Aggregate posterior and prior, latent by latent",
) -> Figure:
    """Plot each latent's aggregate posterior, the mean of all q(z|x), and the prior N(0, 1).

    Latents are sorted by their KL, the largest first.

    Args:
        mu: `(N, Z)` posterior means.
        logvar: `(N, Z)`, log σ². If you have logsigma, pass 2·logsigma.
        most: Maximum number of latents.
        title: Title of the figure.

    Raises:
        ValueError: `mu` and `logvar` differ in shape, or a σ is not finite and positive.

    Example:
        >>> import torch
        >>> figure = plot_posterior_vs_prior(torch.randn(50, 3), torch.zeros(50, 3))
        >>> len([ax for ax in figure.axes if ax.lines])
        3
    """
    means, sigmas, notes = _posteriors(mu, logvar)
    kl = _kl(means, sigmas)
    order = np.argsort(-kl)[:most]
    z = np.linspace(-4, 4, 401)
    drawn = _some(len(means))
    columns = min(4, len(order))
    rows = math.ceil(len(order) / columns)
    figure, axes = new_figure(rows, columns, height=1.55 * rows + 1.2, sharex=True, sharey=True)
    for ax, j in zip(axes.flat, order, strict=False):
        density = aggregate_density(means[drawn, j], sigmas[drawn, j], z)
        ax.fill_between(z, density, color=BLUE, alpha=0.35, linewidth=0)
        ax.plot(z, density, color=BLUE, gid="posterior")
        ax.plot(z, normal_density(z), color=INK, linestyle="--", linewidth=1.3, gid="prior")
        note = f"latent {j}\nKL {kl[j]:.2f}"
        ax.text(0.97, 0.95, note, transform=ax.transAxes, ha="right", va="top", fontsize=9)
    for ax in axes.flat[len(order) :]:
        ax.set_axis_off()
    figure.supxlabel("value of the latent", fontsize=11)
    figure.supylabel("density", fontsize=11)
    axes[0, 0].set(xticks=(-3, 0, 3), xlim=(z[0], z[-1]))
    axes[0, 0].set_ylim(0, 1.3 * axes[0, 0].get_ylim()[1])  # room for the panels' text
    notes.insert(0, "filled: all q(z|x) together; dashed: the prior N(0, 1); KL in nats")
    if len(kl) > len(order):
        notes.insert(1, f"the {len(order)} latents of {len(kl)} with the largest KL")
    if len(drawn) < len(means):
        notes.append(f"densities of {len(drawn):,} of the {len(means):,} posteriors")
    set_title(figure, title, notes)
    return figure


def plot_kl_per_dimension(
    mu: ArrayLike,
    logvar: ArrayLike,
    *,
    title: str = "KL of each latent",
) -> Figure:
    """Plot each latent's KL from the prior, the largest first, and which latents are active.

    A latent is active if the variance of its posterior mean over the images is above 0.01 (Burda
    et al. 2016, section 5.2).

    Args:
        mu: `(N, Z)` posterior means of N ≥ 2 images.
        logvar: `(N, Z)`, log σ². If you have logsigma, pass 2·logsigma.
        title: Title of the figure.

    Raises:
        ValueError: `mu` and `logvar` differ in shape, or there are fewer than two images.

    Example:
        >>> import torch
        >>> mu = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        >>> figure = plot_kl_per_dimension(mu, torch.zeros(2, 2))
        >>> [round(float(bar.get_height()), 2) for bar in figure.axes[0].patches]
        [0.5, 0.0]
    """
    means, sigmas, notes = _posteriors(mu, logvar)
    kl = _kl(means, sigmas)
    active = active_units(torch.from_numpy(means), ACTIVE_VARIANCE).numpy()
    order = np.argsort(-kl, kind="stable")
    figure, axes = new_figure(height=3.6, grid=True)
    ax = axes[0, 0]
    ax.xaxis.grid(False)
    ax.bar(range(len(kl)), kl[order], color=[BLUE if active[j] else NEUTRAL for j in order])
    every = math.ceil(len(kl) * (len(str(len(kl))) + 1) / MOST_DIGITS)
    ax.set_xticks(range(0, len(kl), every), order[::every])
    ax.tick_params(axis="x", length=0)
    ax.set(xlabel="latent, sorted by KL", ylabel="KL from N(0, 1) (nats)")
    handles = [Patch(color=BLUE, label="active"), Patch(color=NEUTRAL, label="not active")]
    ax.set_ylim(0, max(1.18 * kl.max(), 1e-3))  # room for the legend
    add_legend(ax, handles=handles, loc="upper right", ncols=2)
    total = f"{kl.sum():.2f} nats in total, {active.sum()} of {len(kl)} latents active"
    set_title(ax, title, [f"{total} (variance of μ above {ACTIVE_VARIANCE})", *notes])
    return figure


def aggregate_density(
    mu: NDArray[np.float64], sigma: NDArray[np.float64], z: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the mean of the densities N(mu, sigma²) at z, exactly, without sampling.

    Args:
        mu: `(N,)`.
        sigma: `(N,)`.
        z: `(M,)`.

    Returns:
        `(M,)`.

    Example:
        >>> aggregate_density(np.zeros(2), np.ones(2), np.zeros(1)).round(3).tolist()
        [0.399]
    """
    scaled = (z[:, None] - mu) / sigma
    return np.asarray((normal_density(scaled) / sigma).mean(axis=1), dtype=np.float64)


def normal_density(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the density of N(0, 1).

    Example:
        >>> normal_density(np.zeros(1)).round(3).tolist()
        [0.399]
    """
    return np.asarray(np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), dtype=np.float64)


def _draw_prior_contours(ax: Axes, reach: float) -> None:
    """Draw the density of N(0, I) at 3, 2 and 1 standard deviations from 0."""
    line = np.linspace(-reach, reach, 201)
    marginal = normal_density(line)
    names = {float(normal_density(np.array(s)) * normal_density(np.array(0.0))): s for s in SIGMAS}
    contours = ax.contour(
        line,
        line,
        np.outer(marginal, marginal),
        levels=sorted(names),
        colors=RED,
        linewidths=1.4,
    )
    ax.clabel(contours, fmt={level: f"{s}σ" for level, s in names.items()}, fontsize=10)


def _posteriors(
    mu: ArrayLike, logvar: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Return means and standard deviations `(N, Z)` of the rows without NaN, and notes on NaN."""
    means, log_variances = to_numpy(mu, "mu"), to_numpy(logvar, "logvar")
    if means.ndim != 2 or means.shape != log_variances.shape:
        raise ValueError(
            f"mu and logvar must both be (N, Z), not {means.shape} and {log_variances.shape}."
        )
    points: Points = as_points(np.concatenate([means, log_variances], axis=1), "mu and logvar")
    kept_means, kept_log_variances = np.split(points.values, 2, axis=1)
    return kept_means, np.exp(kept_log_variances / 2), points.notes


def _some(count: int) -> NDArray[np.int64]:
    """Select the posteriors for the densities: all, or 2,000 at random."""
    if count <= MOST_POSTERIORS:
        return np.arange(count)
    return np.random.default_rng(0).choice(count, MOST_POSTERIORS, replace=False)


def _kl(means: NDArray[np.float64], sigmas: NDArray[np.float64]) -> NDArray[np.float64]:
    return kl_per_dimension(torch.from_numpy(means.copy()), torch.from_numpy(sigmas)).numpy()
