"""Inputs of figures: every valid shape and dtype gives the same image, others a clear error."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from vae_utils import plot_embeddings, plot_losses, plot_samples
from vae_utils.plots.inputs import as_image, as_images, as_labels, as_points, to_numpy
from vae_utils.plots.style import NAN_COLOUR

GREY = torch.rand(5, 28, 28, generator=torch.Generator().manual_seed(1))
COLOUR = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    "images",
    [
        GREY,
        GREY.flatten(1),
        GREY[:, None],
        GREY[..., None],
        GREY.numpy(),
        GREY.double(),
        GREY.clone().requires_grad_(),
        GREY.tolist(),
        list(GREY),
    ],
    ids=["NHW", "flat", "N1HW", "NHW1", "numpy", "float64", "grad", "list", "tensors"],
)
def test_every_form_of_grey_images_gives_the_same_pixels(images):
    pixels = as_images(images).pixels
    assert pixels.shape == (5, 28, 28, 3)
    for channel in range(3):
        np.testing.assert_allclose(pixels[..., channel], GREY, atol=1e-7)


@pytest.mark.parametrize(
    "images",
    [COLOUR, COLOUR.flatten(1), COLOUR.movedim(1, -1), COLOUR.numpy()],
    ids=["N3HW", "flat", "NHW3", "numpy"],
)
def test_colour_images_keep_their_channels(images):
    pixels = as_images(images).pixels
    np.testing.assert_allclose(pixels, COLOUR.movedim(1, -1), atol=1e-7)


def test_half_precision_and_bfloat16_are_read():
    for dtype in (torch.float16, torch.bfloat16):
        np.testing.assert_allclose(as_images(GREY.to(dtype)).pixels[..., 0], GREY, atol=4e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_images_on_the_gpu_are_read():
    np.testing.assert_allclose(as_images(GREY.cuda()).pixels[..., 0], GREY, atol=1e-7)


def test_bytes_are_divided_by_255_and_bits_are_not():
    grey = torch.tensor([[0, 51, 102, 255]], dtype=torch.uint8)
    np.testing.assert_allclose(as_images(grey).pixels[0, ..., 0].ravel(), [0, 0.2, 0.4, 1])
    bits = torch.tensor([[0, 1, 1, 0]], dtype=torch.uint8)
    for binary in (bits, bits.bool(), bits.long()):
        np.testing.assert_allclose(as_images(binary).pixels[0, ..., 0].ravel(), [0, 1, 1, 0])


def test_values_outside_are_clipped_counted_and_reported():
    images = as_images(torch.tensor([[-0.5, 0.0, 1.0, 3.0]]))
    np.testing.assert_allclose(images.pixels[0, ..., 0].ravel(), [0, 0, 1, 1])
    assert images.notes == ["50 % of values outside [0, 1] (−0.5 to 3), clipped"]


def test_rounding_errors_above_one_are_not_reported():
    assert as_images(torch.full((1, 4), 1.0000001)).notes == []


def test_nans_have_their_own_colour_and_are_counted():
    grey, colour = GREY.clone(), COLOUR.clone()
    grey[2, 3, 4:6] = torch.nan
    colour[0, 1, 7, 8] = torch.nan
    images = as_images(grey)
    assert images.notes == ["2 NaN values of 3,920, in magenta"]
    is_magenta = (images.pixels == to_rgb(NAN_COLOUR)).all(axis=-1)
    assert np.argwhere(is_magenta).tolist() == [[2, 3, 4], [2, 3, 5]]
    np.testing.assert_array_equal(as_images(colour).pixels[0, 7, 8], to_rgb(NAN_COLOUR))


def test_images_with_only_nan_are_converted():
    assert as_images(torch.full((2, 4), torch.nan)).nan_count == 8


def test_infinities_count_as_outside():
    images = as_images(torch.tensor([[0.0, torch.inf, -torch.inf, 1.0]]))
    np.testing.assert_allclose(images.pixels[0, ..., 0].ravel(), [0, 1, 0, 1])
    assert images.outside_count == 2


def test_the_callers_images_do_not_change():
    images = np.full((1, 4, 4, 3), 2.0)
    images[0, 0, 0, 0] = np.nan
    before = images.copy()
    as_images(images)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    "images",
    [
        torch.rand(5, 783),
        torch.rand(5, 2, 28, 28),
        torch.rand(784),
        torch.rand(0, 784),
        torch.rand(2, 3, 4, 5, 6),
        torch.tensor(3.0),
    ],
    ids=lambda images: str(tuple(images.shape)),
)
def test_other_shapes_are_refused_and_the_error_lists_the_valid_ones(images):
    with pytest.raises(ValueError, match=r"x_hat must have shape \(N, H\*W\).*but have \("):
        as_images(images, "x_hat")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (torch.rand(2, 4, dtype=torch.complex64), "real numbers"),
        (np.array([["a", "b"]]), "real numbers"),
        ([[0.0, 1.0], [0.0]], "the same shape"),
    ],
)
def test_values_that_are_no_numbers_are_refused(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        to_numpy(values, "images")


@pytest.mark.parametrize("shape", [(784,), (28, 28), (1, 28, 28), (1, 784), (1, 1, 28, 28)])
def test_a_single_image_needs_no_batch_dimension(shape):
    np.testing.assert_allclose(as_image(GREY[0].reshape(shape)).pixels[0, ..., 0], GREY[0])


def test_a_single_colour_image_stays_one_image():
    np.testing.assert_allclose(as_image(COLOUR[0]).pixels[0], COLOUR[0].movedim(0, -1))


def test_two_images_are_not_a_single_one():
    with pytest.raises(ValueError, match="single image, but has 5"):
        as_image(GREY[:, None])


def test_codes_with_nan_are_removed_and_counted():
    codes = torch.tensor([[0.0, 1.0], [torch.nan, 0.0], [2.0, torch.inf], [3.0, 4.0]])
    points = as_points(codes.requires_grad_())
    assert points.values.tolist() == [[0, 1], [3, 4]]
    assert points.kept.tolist() == [True, False, False, True]
    assert points.notes == ["2 codes of 4 with NaN or infinity, not drawn"]


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        (torch.rand(5), r"shape \(N, 2\), but have \(5,\)"),
        (torch.rand(5, 3), r"shape \(N, 2\), but have \(5, 3\)"),
        (torch.rand(0, 2), r"shape \(N, 2\)"),
        (torch.full((3, 2), torch.nan), "at least one row without NaN"),
    ],
)
def test_codes_that_cannot_be_plotted_are_refused(codes, sentence):
    with pytest.raises(ValueError, match=sentence):
        as_points(codes, dims=2)


@pytest.mark.parametrize("plot", [plot_samples, plot_embeddings, lambda x: plot_losses({"a": x})])
def test_a_single_number_is_refused_everywhere(plot):
    with pytest.raises(ValueError, match="must be"):
        plot(torch.tensor(3.0))


def test_labels_may_be_numbers_whole_floats_or_words():
    assert as_labels(torch.tensor([3, 0]), 2).name(0) == "3"
    assert as_labels(np.array([3.0, 0.0]), 2).index.tolist() == [3, 0]
    assert as_labels(["dog", "cat"], 2).names == ["cat", "dog"]
    assert as_labels([1, 0], 2, ["bag", "boot"]).name(0) == "boot"
    assert as_labels([-1, 4], 2).names == ["-1", "4"]


@pytest.mark.parametrize("labels", [torch.zeros(3), torch.zeros(2, 10), torch.tensor(1)])
def test_labels_that_do_not_fit_are_refused(labels):
    with pytest.raises(ValueError, match=r"labels must have shape \(2,\)"):
        as_labels(labels, 2)


def test_a_class_without_a_name_is_refused():
    with pytest.raises(ValueError, match="a name for each of 6 classes"):
        as_labels([5, 0], 2, ["a", "b"])
