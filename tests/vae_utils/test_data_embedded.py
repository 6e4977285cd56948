"""The embedded subsets: correct images and proportions, verified at every load."""

import hashlib

import numpy as np
import pytest
import torch

from vae_utils import DataError, load_dataset
from vae_utils.data import load
from vae_utils.data.catalog import CATALOG

EMBEDDED = ["mnist", "fashion_mnist"]


@pytest.mark.parametrize("name", EMBEDDED)
def test_sizes_of_the_training_and_the_test_part(name):
    train = load_dataset(name, quiet=True)
    test = load_dataset(name, train=False, quiet=True)

    assert train.images.shape == (9000, 1, 28, 28)
    assert test.images.shape == (1000, 1, 28, 28)
    assert train.images.dtype == torch.uint8
    assert train.labels.dtype == torch.int64
    assert train.origin == "embedded"


@pytest.mark.parametrize("name", EMBEDDED)
def test_classes_keep_their_proportions(name):
    train = load_dataset(name, quiet=True).labels.bincount() / 9000
    test = load_dataset(name, train=False, quiet=True).labels.bincount() / 1000

    assert len(train) == len(test) == 10
    assert (train - test).abs().max() < 0.001


@pytest.mark.parametrize("name", EMBEDDED)
def test_first_images_are_of_mixed_classes(name):
    assert len(load_dataset(name, quiet=True).labels[:100].unique()) == 10


@pytest.mark.parametrize("name", EMBEDDED)
def test_no_image_is_in_both_parts(name):
    train = {image.numpy().tobytes() for image in load_dataset(name, quiet=True).images}
    test = {image.numpy().tobytes() for image in load_dataset(name, train=False, quiet=True).images}

    assert not train & test


def test_digits_match_their_labels():
    # A zero has a hole and a one has few dark pixels: this shows that images and labels match.
    digits = load_dataset("mnist", quiet=True)
    ink = digits.images.float().mean(dim=(1, 2, 3))
    centre = digits.images[:, 0, 12:16, 12:16].float().mean(dim=(1, 2))

    assert ink[digits.labels == 1].mean() < 0.7 * ink[digits.labels != 1].mean()
    assert centre[digits.labels == 0].mean() < 0.2 * centre[digits.labels == 1].mean()


def test_grey_levels_are_the_original_bytes():
    digits = load_dataset("mnist", quiet=True).images
    assert digits.min() == 0
    assert digits.max() == 255
    assert len(digits.unique()) == 256


@pytest.mark.parametrize("name", EMBEDDED)
def test_file_is_small_and_its_checksum_is_the_pinned_one(name):
    path = load.EMBEDDED_FOLDER / CATALOG[name].embedded_file

    assert path.stat().st_size <= 5_000_000
    assert hashlib.sha256(path.read_bytes()).hexdigest() == CATALOG[name].embedded_sha256


def test_changed_file_is_refused(tmp_path, monkeypatch):
    # One byte of one pixel array differs. Everything else is correct.
    content = bytearray((load.EMBEDDED_FOLDER / "mnist10k.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "mnist10k.npz").write_bytes(content)
    monkeypatch.setattr(load, "EMBEDDED_FOLDER", tmp_path)

    with pytest.raises(DataError, match=r"mnist10k.npz: found SHA-256 .* install the package"):
        load_dataset("mnist", quiet=True)


def test_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "EMBEDDED_FOLDER", tmp_path)

    with pytest.raises(DataError, match=r"fashion_mnist10k.npz: found no readable file"):
        load_dataset("fashion_mnist", quiet=True)


def test_a_printed_line_names_the_data_in_use(capsys):
    load_dataset("mnist")
    load_dataset("fashion_mnist", train=False)
    assert capsys.readouterr().out == (
        "MNIST: embedded subset, 9,000 training digits\n"
        "Fashion-MNIST: embedded subset, 1,000 test images\n"
    )

    load_dataset("mnist", quiet=True)
    assert capsys.readouterr().out == ""


def test_two_loads_share_no_memory():
    first = load_dataset("mnist", quiet=True)
    first.images.zero_()
    assert load_dataset("mnist", quiet=True).images.max() == 255


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(DataError, match="Did you mean 'fashion_mnist'"):
        load_dataset("Fashion-MNIST")


def test_cifar_has_no_subset_and_the_error_names_the_photographs():
    with pytest.raises(DataError, match="photo_patches"):
        load_dataset("cifar10", source="embedded")


def test_photo_patches_are_real_colour_without_overlap_between_parts():
    from sklearn.datasets import load_sample_images

    train = load_dataset("photo_patches", quiet=True)
    test = load_dataset("photo_patches", train=False, quiet=True)
    china = load_sample_images().images[0]

    assert train.images.shape[1:] == test.images.shape[1:] == (3, 32, 32)
    assert set(train.labels.tolist()) == set(test.labels.tolist()) == {0, 1}
    np.testing.assert_array_equal(train.images[0].permute(1, 2, 0), china[:32, :32])
    np.testing.assert_array_equal(train.images[1].permute(1, 2, 0), china[:32, 8:40])
    np.testing.assert_array_equal(test.images[0].permute(1, 2, 0), china[:32, 480:512])
    assert "CIFAR" not in repr(train)
