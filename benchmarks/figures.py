"""Time to plot each figure and write it as PNG, after its modules are loaded."""

import io
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.measure import Row
from vae_utils import load_dataset, plots

SECONDS, TSNE_CODES = 0.5, 2000
Z = 15


def measure() -> list[Row]:
    """Return the rows of all figures."""
    return [*figure_rows(), tsne_row()]


def figure_rows() -> list[Row]:
    """Measure the time of each public figure, the slowest first."""
    calls = figures()
    skipped = [n for n in plots.__all__ if n.startswith("plot_") and n not in calls]
    if skipped:
        print(f"skipped, because benchmarks/figures.py does not call them: {', '.join(skipped)}")
    timed = [
        Row(name, seconds_of(plot), unit="s", target=SECONDS)
        for name, plot in calls.items()
        if hasattr(plots, name)
    ]
    return sorted(timed, key=lambda row: -row.value)


def figures() -> dict[str, Callable[[], Any]]:
    """Return a call of every figure, with data of the size in the notebooks."""
    digits = load_dataset("mnist", train=False, quiet=True)
    x, y = digits.images / 255, digits.labels
    random = torch.Generator().manual_seed(0)
    weight, plane = torch.randn(Z, 784, generator=random), torch.randn(2, 784, generator=random)
    mu, logvar = torch.randn(1000, Z, generator=random), torch.zeros(1000, Z)

    def decode(z: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
        return torch.sigmoid(z @ weight)

    def decode_plane(z: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(z @ plane)

    curve = torch.linspace(200, 100, 20).tolist()
    quarters = x[:, 0, 14:, :14].flatten(1)
    calls: dict[str, Callable[[], Any]] = {
        "plot_samples": lambda: plots.plot_samples(x, y),
        "plot_losses": lambda: plots.plot_losses({"loss": curve, "val_loss": curve}, 120),
        "plot_reconstructions": lambda: plots.plot_reconstructions({"input": x, "output": x}),
        "plot_latent_space": lambda: plots.plot_latent_space(mu[:, :2], y),
        "plot_latent_space_images": lambda: plots.plot_latent_space_images(decode_plane),
        "plot_variations": lambda: plots.plot_variations(decode, mu[0], logvar[0]),
        "plot_prior_samples": lambda: plots.plot_prior_samples(decode, Z),
        "plot_class_conditional": lambda: plots.plot_class_conditional(decode, Z),
        "plot_quarter_completions": lambda: plots.plot_quarter_completions(
            quarters, x, x[:, None].expand(-1, 3, -1, -1, -1), x
        ),
        "plot_marginal": lambda: plots.plot_marginal(mu),
        "plot_perturbation_strip": lambda: plots.plot_perturbation_strip(decode, Z),
        "plot_manifold": lambda: plots.plot_manifold(decode_plane),
        "plot_traversals": lambda: plots.plot_traversals(decode, mu[:3], mu[3:6]),
        "plot_dimension_traversals": lambda: plots.plot_dimension_traversals(decode, mu[0]),
        "plot_kl_per_dimension": lambda: plots.plot_kl_per_dimension(mu, logvar),
        "plot_posterior_vs_prior": lambda: plots.plot_posterior_vs_prior(mu, logvar),
        "plot_codebook": lambda: plots.plot_codebook(
            torch.randn(512, 64, generator=random), torch.arange(10_000) % 300
        ),
        "plot_embeddings": lambda: plots.plot_embeddings(mu, y, "pca"),
    }
    return calls


def seconds_of(plot: Callable[[], Any]) -> float:
    """Return the median time to plot and write a figure, after a first call that loads modules."""
    write(plot())
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        write(plot())
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def write(figure: Any) -> None:
    """Write a figure as PNG into memory."""
    figure.savefig(io.BytesIO(), format="png")


def tsne_row() -> Row:
    """Measure the t-SNE of 2,000 codes of ten classes."""
    labels = torch.arange(TSNE_CODES) % 10
    random = torch.Generator().manual_seed(0)
    centres = 4 * torch.randn(10, Z, generator=random)
    codes = centres[labels] + torch.randn(TSNE_CODES, Z, generator=random)
    start = time.perf_counter()
    write(plots.plot_embeddings(codes, labels, "tsne"))
    return Row(f"t-SNE of {TSNE_CODES:,} codes", time.perf_counter() - start, unit="s")
