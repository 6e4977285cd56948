"""Posterior and prior: counts, contours, densities and KLs are correct."""

import math

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from reading_figures import title_of
from scipy.stats import norm

from vae_utils import plot_kl_per_dimension, plot_marginal, plot_posterior_vs_prior
from vae_utils.plots.posterior import aggregate_density
from vae_utils.plots.style import BLUE, NEUTRAL

RANDOM = np.random.default_rng(4)
Z = RANDOM.normal(size=(2000, 3))


def test_the_marginal_counts_codes_in_fifty_bins_centred_on_zero():
    figure = plot_marginal(Z, dims=(2, 0))
    mesh = figure.axes[0].collections[0]
    reach = max(3.5, np.abs(Z[:, [2, 0]]).max())
    edges = np.linspace(-reach, reach, 51)
    expected = np.histogram2d(Z[:, 2], Z[:, 0], bins=[edges, edges])[0]
    np.testing.assert_array_equal(mesh.get_array(), expected.T)
    assert figure.axes[0].get_xlim() == pytest.approx((-reach, reach))
    assert figure.axes[0].get_aspect() == 1
    assert figure.axes[0].get_xlabel() == "latent 2"
    assert figure.axes[0].get_ylabel() == "latent 0"


def test_contours_are_the_circles_of_one_two_and_three_sigma():
    contours = plot_marginal(Z).axes[0].collections[1]
    density = [math.exp(-(s**2) / 2) / (2 * math.pi) for s in (3, 2, 1)]
    np.testing.assert_allclose(contours.levels, density)
    for path, radius in zip(contours.get_paths(), (3, 2, 1), strict=True):
        np.testing.assert_allclose(np.linalg.norm(path.vertices, axis=1), radius, atol=0.01)


def test_the_title_has_mean_and_standard_deviation():
    codes = np.array([[1.0, -2.0], [3.0, -2.0]])
    assert "mean (2.00, −2.00), standard deviation (1.00, 0.00)" in title_of(plot_marginal(codes))


def test_no_code_is_outside_the_bins():
    codes = np.concatenate([Z, [[12.0, -9.0, 0.0]]])
    assert plot_marginal(codes).axes[0].collections[0].get_array().sum() == 2001


def test_nan_codes_are_counted():
    codes = Z.copy()
    codes[:4, 1] = np.nan
    assert "4 codes of 2,000 with NaN" in title_of(plot_marginal(codes))


@pytest.mark.parametrize("dims", [(0, 3), (-1, 0)])
def test_a_latent_that_is_not_there_is_refused(dims):
    with pytest.raises(ValueError, match="within the 3 latents"):
        plot_marginal(Z, dims)


def test_the_aggregate_posterior_is_the_mean_of_the_densities():
    mu, sigma, z = RANDOM.normal(size=20), RANDOM.uniform(0.2, 2, 20), np.linspace(-4, 4, 9)
    expected = np.mean([norm.pdf(z, m, s) for m, s in zip(mu, sigma, strict=True)], axis=0)
    np.testing.assert_allclose(aggregate_density(mu, sigma, z), expected)


def test_each_panel_draws_its_latent_over_the_prior():
    mu = torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    logvar = torch.log(torch.tensor([[1.0, 0.09], [1.0, 0.09]]))
    figure = plot_posterior_vs_prior(mu, logvar)
    panels = [ax for ax in figure.axes if ax.lines]
    assert [ax.texts[0].get_text().split("\n")[0] for ax in panels] == ["latent 1", "latent 0"]
    posterior, prior = panels[0].lines
    z = posterior.get_xdata()
    expected = (norm.pdf(z, 1, 0.3) + norm.pdf(z, -1, 0.3)) / 2
    np.testing.assert_allclose(posterior.get_ydata(), expected, atol=1e-6)
    np.testing.assert_allclose(prior.get_ydata(), norm.pdf(z), atol=1e-9)
    assert prior.get_linestyle() == "--"
    for line in panels[1].lines:  # this latent's posterior equals the prior
        np.testing.assert_allclose(line.get_ydata(), norm.pdf(z), atol=1e-6)


def test_of_many_latents_those_with_the_largest_kl_are_plotted():
    mu = torch.randn(50, 30) * torch.linspace(0, 3, 30)
    figure = plot_posterior_vs_prior(mu, torch.zeros(50, 30))
    assert len([ax for ax in figure.axes if ax.lines]) == 12
    assert "12 latents of 30" in title_of(figure)


def test_bars_are_the_kl_of_each_latent_largest_first():
    mu = torch.tensor([[0.0, 2.0, 0.0], [0.0, -2.0, 0.0]])
    logvar = torch.tensor([[0.0, -1.0, 0.5]] * 2)
    figure = plot_kl_per_dimension(mu, logvar)
    kl = (0.5 * (mu**2 + logvar.exp() - 1 - logvar)).mean(0)
    bars = figure.axes[0].patches
    np.testing.assert_allclose([bar.get_height() for bar in bars], kl[[1, 2, 0]], atol=1e-6)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["1", "2", "0"]
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [BLUE, NEUTRAL, NEUTRAL]
    assert f"{kl.sum():.2f} nats in total, 1 of 3 latents active" in title_of(figure)
    assert "nats" in figure.axes[0].get_ylabel()


def test_rows_with_nan_are_skipped_and_counted():
    mu = torch.randn(10, 3)
    mu[0, 0] = torch.nan
    figure = plot_kl_per_dimension(mu, torch.zeros(10, 3))
    assert "1 code of 10 with NaN" in title_of(figure)
    expected = (0.5 * mu[1:] ** 2).mean(0).sort(descending=True).values
    np.testing.assert_allclose(
        [b.get_height() for b in figure.axes[0].patches], expected, rtol=1e-5
    )


@pytest.mark.parametrize("plot", [plot_kl_per_dimension, plot_posterior_vs_prior])
def test_shapes_that_differ_are_refused(plot):
    with pytest.raises(ValueError, match=r"must both be \(N, Z\), not \(5, 3\) and \(5, 2\)"):
        plot(torch.zeros(5, 3), torch.zeros(5, 2))
