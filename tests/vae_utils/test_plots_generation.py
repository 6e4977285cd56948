"""Figures of decoded images: the pixels show which code each image was decoded from."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from reading_figures import SIDE, code_at, read_code, readable, tile, title_of, x_labels, y_labels
from scipy.stats import norm
from torch import nn

from vae_utils import (
    plot_class_conditional,
    plot_dimension_traversals,
    plot_manifold,
    plot_perturbation_strip,
    plot_prior_samples,
    plot_quarter_completions,
    plot_traversals,
    plot_variations,
)
from vae_utils.plots.conditional import UNKNOWN
from vae_utils.plots.decoding import decoded

QUANTILES = norm.ppf(np.linspace(0.05, 0.95, 7))


def test_prior_samples_have_a_standard_normal_distribution():
    figure = plot_prior_samples(readable, latent_dim=16, n=200, columns=20, seed=1)
    codes = np.array([code_at(figure, *divmod(i, 20), 16) for i in range(200)])
    assert abs(codes.mean()) < 0.05
    assert abs(codes.std() - 1) < 0.05
    again = plot_prior_samples(readable, latent_dim=16, n=200, columns=20, seed=1)
    np.testing.assert_array_equal(code_at(again, 3, 4, 16), code_at(figure, 3, 4, 16))


def test_variations_are_the_mean_plus_scaled_sigma():
    mu, logvar = torch.tensor([1.0, -2.0]), torch.log(torch.tensor([0.04, 0.25]))
    original = torch.rand(SIDE, SIDE)
    figure = plot_variations(readable, mu, logvar, scales=(1, 9), n=5, original=original)
    assert y_labels(figure) == ["1 × σ²", "9 × σ²"]
    assert x_labels(figure)[:3] == ["original", "mean", "sample 1"]
    for row in range(2):
        np.testing.assert_allclose(tile(figure, row, 0, (SIDE, SIDE))[..., 0], original, atol=1e-6)
        np.testing.assert_allclose(code_at(figure, row, 1, 2), mu, atol=1e-5)
    for column in range(2, 7):  # nine times the variance is three times the distance from the mean
        way = [code_at(figure, row, column, 2) - mu.numpy() for row in range(2)]
        np.testing.assert_allclose(way[1], 3 * way[0], atol=1e-4)


def test_variations_have_the_posteriors_standard_deviation():
    logvar = torch.log(torch.tensor([0.04, 0.25]))
    figure = plot_variations(readable, torch.zeros(1, 2), logvar[None], scales=[1], n=400)
    codes = np.array([code_at(figure, 0, c, 2) for c in range(1, 401)])
    np.testing.assert_allclose(codes.std(axis=0), [0.2, 0.5], rtol=0.15)


def test_variations_take_a_generator():
    pictures = [
        plot_variations(readable, torch.zeros(2), torch.zeros(2), seed=seed)
        for seed in (5, torch.Generator().manual_seed(5))
    ]
    np.testing.assert_array_equal(*[code_at(figure, 0, 3, 2) for figure in pictures])


@pytest.mark.parametrize(
    ("mu", "logvar", "scales", "sentence"),
    [
        (torch.zeros(3, 2), torch.zeros(3, 2), (1,), r"mu must have shape \(Z,\)"),
        (torch.zeros(2), torch.zeros(3), (1,), "must have the same length"),
        (torch.zeros(2), torch.zeros(2), (-1,), "0 or more"),
        (torch.zeros(2), torch.zeros(2), (), "0 or more"),
    ],
)
def test_invalid_arguments_of_variations_are_refused(mu, logvar, scales, sentence):
    with pytest.raises(ValueError, match=sentence):
        plot_variations(readable, mu, logvar, scales=scales)


def test_the_strip_changes_one_latent_through_the_quantiles():
    figure = plot_perturbation_strip(readable, latent_dim=5, dim=3)
    for column, value in enumerate(QUANTILES):
        expected = np.zeros(5)
        expected[3] = value
        np.testing.assert_allclose(code_at(figure, 0, column, 5), expected, atol=1e-5)
    assert x_labels(figure)[0] == "−1.64"
    assert x_labels(figure)[3] == "0.00"


def test_the_manifold_grows_to_the_right_and_upwards():
    figure = plot_manifold(readable, latent_dim=4, dims=(2, 1))
    for row in range(7):
        for column in range(7):
            expected = [0, QUANTILES[6 - row], QUANTILES[column], 0]
            np.testing.assert_allclose(code_at(figure, row, column, 4), expected, atol=1e-5)
    assert y_labels(figure)[0] == x_labels(figure)[-1] == "1.64"
    assert y_labels(figure)[-1] == x_labels(figure)[0] == "−1.64"


@pytest.mark.parametrize("dims", [(0, 4), (-1, 0), (1, 1)])
def test_dimensions_that_are_not_there_are_refused(dims):
    with pytest.raises(ValueError, match=r"There is no latent|two different"):
        plot_manifold(readable, latent_dim=4, dims=dims)


def test_a_dimension_traversal_changes_its_own_latent_alone():
    z = torch.tensor([0.5, -1.0, 1.5])
    figure = plot_dimension_traversals(readable, z, dims=[2, 0], span=2.0, n=5)
    for row, dim in enumerate([2, 0]):
        for column, value in enumerate([-2, -1, 0, 1, 2]):
            expected = z.clone()
            expected[dim] = value
            np.testing.assert_allclose(code_at(figure, row, column, 3), expected, atol=1e-5)
    assert y_labels(figure) == ["latent 2", "latent 0"]


def test_linear_traversals_are_straight_and_contain_both_ends():
    starts, ends = torch.randn(3, 6), torch.randn(3, 6)
    figure = plot_traversals(readable, starts, ends, n=10)
    for pair in range(3):
        for step in range(10):
            expected = starts[pair] + (ends[pair] - starts[pair]) * step / 9
            np.testing.assert_allclose(code_at(figure, pair, step, 6), expected, atol=1e-5)


def test_spherical_traversals_rotate_evenly_and_keep_their_length():
    start, end = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, 3.0, 0.0])
    figure = plot_traversals(readable, start, end, n=7, path="spherical")
    for step in range(7):
        angle = np.pi / 2 * step / 6
        expected = [3 * np.cos(angle), 3 * np.sin(angle), 0]
        np.testing.assert_allclose(code_at(figure, 0, step, 3), expected, atol=1e-5)


def test_both_paths_are_below_each_other_with_the_same_ends():
    figure = plot_traversals(readable, torch.randn(2, 4), torch.randn(2, 4), path="both")
    assert y_labels(figure) == [
        f"pair {pair}, {path}" for pair in (1, 2) for path in ("linear", "spherical")
    ]
    for column in (0, 9):
        np.testing.assert_allclose(
            code_at(figure, 0, column, 4), code_at(figure, 1, column, 4), atol=1e-5
        )


@pytest.mark.parametrize(
    "start", [torch.zeros(3), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([-2.0, -4.0, -6.0])]
)
def test_a_spherical_path_without_an_arc_is_straight(start):
    end = torch.tensor([2.0, 4.0, 6.0])
    figure = plot_traversals(readable, start, end, n=3, path="spherical")
    np.testing.assert_allclose(code_at(figure, 0, 1, 3), (start + end) / 2, atol=1e-5)


@pytest.mark.parametrize(
    ("starts", "ends", "path", "sentence"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 3), "linear", "the same shape"),
        (torch.full((1, 3), torch.nan), torch.zeros(1, 3), "linear", "must not contain NaN"),
        (torch.zeros(1, 3), torch.zeros(1, 3), "zigzag", "'linear', 'spherical' or 'both'"),
    ],
)
def test_invalid_arguments_of_traversals_are_refused(starts, ends, path, sentence):
    with pytest.raises(ValueError, match=sentence):
        plot_traversals(readable, starts, ends, path=path)


def test_each_column_has_its_class_and_each_row_its_z():
    figure = plot_class_conditional(
        lambda z, c: readable(torch.cat([z, c], 1)), latent_dim=4, num_classes=10, n=3
    )
    codes = np.array([[code_at(figure, r, k, 14) for k in range(10)] for r in range(3)])
    for k in range(10):
        np.testing.assert_allclose(codes[:, k, 4:], np.tile(np.eye(10)[k], (3, 1)), atol=1e-5)
    assert np.ptp(codes[:, :, :4], axis=1).max() < 1e-6  # the same z along a row
    assert np.ptp(codes[:, 0, :4], axis=0).min() > 0.01  # another z in each row
    assert x_labels(figure) == list("0123456789")


def test_a_quarter_is_at_its_position_in_the_image():
    x = torch.rand(3, 1, 28, 28)
    quarters = x[:, 0, 14:, :14].flatten(1)
    samples = torch.rand(3, 4, 1, 28, 28)
    figure = plot_quarter_completions(quarters, 1 - x, samples, x)
    assert x_labels(figure) == [
        "given",
        "baseline",
        *(f"CVAE {s}" for s in (1, 2, 3, 4)),
        "original",
    ]
    for i in range(3):
        given = tile(figure, i, 0)
        np.testing.assert_allclose(given[14:, :14, 0], x[i, 0, 14:, :14], atol=1e-6)
        np.testing.assert_allclose(given[:14, :], np.broadcast_to(to_rgb(UNKNOWN), (14, 28, 3)))
        np.testing.assert_allclose(given[14:, 14:], np.broadcast_to(to_rgb(UNKNOWN), (14, 14, 3)))
        np.testing.assert_allclose(tile(figure, i, 1)[..., 0], 1 - x[i, 0], atol=1e-6)
        for s in range(4):
            np.testing.assert_allclose(tile(figure, i, 2 + s)[..., 0], samples[i, s, 0], atol=1e-6)
        np.testing.assert_allclose(tile(figure, i, 6)[..., 0], x[i, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("quarters", "samples", "sentence"),
    [
        (torch.rand(3, 195), torch.rand(3, 2, 784), "196 values each"),
        (torch.rand(2, 196), torch.rand(3, 2, 784), r"the same length, but have \[2, 3, 3, 3\]"),
        (torch.rand(3, 196), torch.rand(3, 784), r"samples have shape \(3, 784\)"),
    ],
)
def test_completions_that_do_not_fit_are_refused(quarters, samples, sentence):
    x = torch.rand(3, 784)
    with pytest.raises(ValueError, match=sentence):
        plot_quarter_completions(quarters, x, samples, x)


def test_nans_of_a_decoder_are_counted():
    assert "NaN values" in title_of(plot_prior_samples(lambda z: readable(z) * torch.nan, 2, n=4))


@pytest.mark.parametrize(
    ("decode", "sentence"),
    [
        (lambda z: readable(z)[:3], "must return 10 images, but returned 3"),
        (lambda z: (readable(z), z), "returned a tuple"),
        (lambda z: z, "the output of decode must have shape"),
    ],
)
def test_invalid_outputs_of_a_decoder_are_refused(decode, sentence):
    with pytest.raises(ValueError, match=sentence):
        plot_prior_samples(decode, latent_dim=3, n=10)


def test_a_decoder_is_called_in_evaluation_mode_and_does_not_change():
    model = nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Sigmoid())
    model = model.double().train()
    before = model[1].running_mean.clone()
    pixels = decoded(model, np.ones((2, 3))).pixels
    np.testing.assert_array_equal(pixels[0], pixels[1])  # no dropout
    assert model.training
    assert model[2].training
    torch.testing.assert_close(model[1].running_mean, before)
    assert not any(p.grad is not None for p in model.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_decoder_on_the_gpu_is_called_there():
    model = nn.Sequential(nn.Linear(3, 16), nn.Sigmoid()).cuda()
    assert len(decoded(model, torch.zeros(2, 3))) == 2


def test_read_code_inverts_readable():
    z = torch.randn(1, 16)
    image = readable(z)[0, 0].numpy()[..., None].repeat(3, -1)
    np.testing.assert_allclose(read_code(image, 16), z[0], atol=1e-5)
