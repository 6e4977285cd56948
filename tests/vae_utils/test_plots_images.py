"""Grids of images: each image at its position, with its own label."""

import numpy as np
import pytest
import torch
from reading_figures import mosaic_of, tile, title_of, x_labels, y_labels

from vae_utils import plot_reconstructions, plot_samples, visualize_mnist, visualize_samples

X = torch.rand(30, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def captions(figure):
    return [(text.get_text(), text.xy) for text in figure.axes[0].texts]


def test_samples_are_in_reading_order():
    figure = plot_samples(X, n=12, columns=5)
    for i in range(12):
        np.testing.assert_allclose(tile(figure, *divmod(i, 5))[..., 0], X[i, 0], atol=1e-7)
    assert (tile(figure, 2, 2) == 1).all()  # the empty positions are white
    assert title_of(figure) == "Samples (12 of 30)"


def test_a_label_is_below_its_image():
    figure = plot_samples(X[:6], torch.tensor([5, 0, 4, 1, 9, 2]), columns=3)
    texts = captions(figure)
    assert [text for text, _ in texts] == list("504192")
    height = mosaic_of(figure).shape[0]
    for i, (_, (x, y)) in enumerate(texts):
        row, column = divmod(i, 3)
        assert x == column * 30 + 13.5
        step = height - 28  # the second row's top
        assert y == pytest.approx(row * step + 27.5)


def test_labels_can_have_names():
    figure = plot_samples(X[:2], [1, 0], class_names=["Bag", "Boot"])
    assert [text for text, _ in captions(figure)] == ["Boot", "Bag"]


def test_labels_of_another_number_are_refused():
    with pytest.raises(ValueError, match="labels must have shape"):
        plot_samples(X, torch.zeros(29))


def test_colour_images_are_shown_in_colour():
    photos = torch.rand(2, 3, 32, 32)
    figure = plot_samples(photos)
    np.testing.assert_allclose(
        tile(figure, 0, 1, size=(32, 32)), photos[1].movedim(0, -1), atol=1e-7
    )


def test_the_title_reports_nans_and_values_outside():
    x = X[:4].clone()
    x[1, 0, 5, 5] = torch.nan
    x[2, 0, 0, 0] = 7.0
    title = title_of(plot_samples(x))
    assert "1 NaN value of 3,136" in title
    assert "outside [0, 1] (" in title
    assert "to 7)" in title


def test_the_title_reports_only_the_images_in_the_figure():
    x = X.clone()
    x[-1] = torch.nan
    assert "NaN" not in title_of(plot_samples(x, n=10))


def test_each_row_of_reconstructions_has_its_images_and_name():
    rows = {"input": X, "noisy": X.flip(0), "rebuilt": (1 - X).flatten(1)}
    figure = plot_reconstructions(rows, n=7, labels=torch.arange(30))
    assert y_labels(figure) == ["input", "noisy", "rebuilt"]
    assert x_labels(figure) == [str(i) for i in range(7)]
    for i in range(7):
        np.testing.assert_allclose(tile(figure, 0, i)[..., 0], X[i, 0], atol=1e-7)
        np.testing.assert_allclose(tile(figure, 1, i)[..., 0], X[29 - i, 0], atol=1e-7)
        np.testing.assert_allclose(tile(figure, 2, i)[..., 0], 1 - X[i, 0], atol=1e-7)
    ticks = figure.axes[0].get_yticks()
    np.testing.assert_allclose(ticks, [13.5, 43.5, 73.5])  # each name at its row's middle


def test_a_row_with_nan_is_named():
    broken = X.clone()
    broken[0, 0, 0, :3] = torch.nan
    assert "rebuilt: 3 NaN values" in title_of(plot_reconstructions({"in": X, "rebuilt": broken}))


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({}, "at least one"),
        ({"input": X, "rebuilt": X[:5]}, "input: 30, rebuilt: 5"),
        ({"input": X[:, :, :, :20], "rebuilt": X}, "28×20, 28×28"),
        ({"input": X, "rebuilt": torch.rand(30, 5)}, "rebuilt must have shape"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows, sentence):
    with pytest.raises(ValueError, match=sentence):
        plot_reconstructions(rows)


def test_visualize_mnist_shows_the_loaders_batch_with_labels():
    figure = visualize_mnist([(X, torch.arange(30) % 10), None], n=4)
    np.testing.assert_allclose(tile(figure, 0, 3)[..., 0], X[3, 0], atol=1e-7)
    assert [text for text, _ in captions(figure)] == list("0123")


@pytest.mark.parametrize("loader", [[], [X], [(X, X, X)]])
def test_visualize_mnist_needs_pairs(loader):
    with pytest.raises(ValueError, match=r"batches \(x, y\)"):
        visualize_mnist(loader)


def test_visualize_samples_takes_images_or_a_model():
    class Model(torch.nn.Module):
        def sample(self, num_samples):
            assert not self.training
            return X[:num_samples].flatten(1)

    model = Model().train()
    for samples in (X, model):
        figure = visualize_samples(samples, 3)
        assert mosaic_of(figure).shape == (28, 88, 3)
        np.testing.assert_allclose(tile(figure, 0, 2)[..., 0], X[2, 0], atol=1e-7)
    assert model.training
