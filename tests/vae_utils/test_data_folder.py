"""A folder in torchvision's layout, compressed or not. Errors name every damage."""

import gzip

import numpy as np
import pytest
import torch
from conftest import write_idx_set

from vae_utils import DataError, load_dataset


def raw(root, name):
    return root / "MNIST" / "raw" / name


@pytest.mark.parametrize("packed", [False, True])
def test_images_and_labels_are_read_unchanged(tmp_path, packed):
    arrays = write_idx_set(tmp_path, packed=packed)

    for part, (images, labels) in arrays.items():
        digits = load_dataset("mnist", train=part == "train", source=tmp_path, quiet=True)
        np.testing.assert_array_equal(digits.images[:, 0], images)
        assert digits.labels.tolist() == labels.tolist()
        assert digits.origin == str(tmp_path)


def test_variable_names_the_folder(idx_folder, monkeypatch, capsys):
    root, _ = idx_folder
    monkeypatch.setenv("VAELAB_DATA", str(root))

    assert len(load_dataset("mnist")) == 20
    assert capsys.readouterr().out == f"MNIST: part of the set, 20 training digits from {root}\n"
    assert len(load_dataset("mnist", source="embedded", quiet=True)) == 9000


def test_fashion_is_read_from_its_own_folder(tmp_path):
    write_idx_set(tmp_path, "MNIST", seed=1)
    fashion = write_idx_set(tmp_path, "FashionMNIST", seed=2)

    images = load_dataset("fashion_mnist", source=tmp_path, quiet=True).images
    np.testing.assert_array_equal(images[:, 0], fashion["train"][0])


def test_variable_with_a_missing_folder(monkeypatch):
    monkeypatch.setenv("VAELAB_DATA", "/no/such/folder")
    with pytest.raises(DataError, match=r"VAELAB_DATA: found '/no/such/folder'.*unset it"):
        load_dataset("mnist")


def test_misspelt_source():
    with pytest.raises(DataError, match="'auto', 'embedded', 'full' or a folder"):
        load_dataset("mnist", source="embeded")


def test_missing_file_is_named(idx_folder):
    root, _ = idx_folder
    raw(root, "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="train-labels-idx1-ubyte: found no such file"):
        load_dataset("mnist", source=root)


def test_truncated_file_says_how_many_bytes(idx_folder):
    root, _ = idx_folder
    path = raw(root, "train-images-idx3-ubyte")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"found 15,596 bytes, expected 15,696"):
        load_dataset("mnist", source=root)


def test_empty_file(idx_folder):
    root, _ = idx_folder
    raw(root, "t10k-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match="0 bytes that begin with nothing"):
        load_dataset("mnist", train=False, source=root)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:200],  # truncated
        lambda content: content[:60] + bytes([content[60] ^ 255]) + content[61:],  # a flipped byte
        lambda content: content[:-8] + bytes(8),  # a wrong checksum at the end
        lambda content: b"<html>not found</html>",
    ],
)
def test_damaged_gzip(tmp_path, damage):
    write_idx_set(tmp_path, packed=True)
    path = raw(tmp_path, "train-images-idx3-ubyte.gz")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz: found a damaged gzip file"):
        load_dataset("mnist", source=tmp_path)


def test_a_recompressed_file_is_accepted(tmp_path):
    write_idx_set(tmp_path, packed=True)
    path = raw(tmp_path, "train-images-idx3-ubyte.gz")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=1))
    assert len(load_dataset("mnist", source=tmp_path, quiet=True)) == 20


def test_a_label_file_with_the_name_of_an_image_file(idx_folder):
    root, _ = idx_folder
    labels = raw(root, "train-labels-idx1-ubyte").read_bytes()
    raw(root, "train-images-idx3-ubyte").write_bytes(labels)
    with pytest.raises(DataError, match="expected an idx file, which begins with 00000803"):
        load_dataset("mnist", source=root)


def test_images_and_labels_of_different_parts(idx_folder):
    root, _ = idx_folder
    test_labels = raw(root, "t10k-labels-idx1-ubyte").read_bytes()
    raw(root, "train-labels-idx1-ubyte").write_bytes(test_labels)
    with pytest.raises(DataError, match="20 images and labels of shape"):
        load_dataset("mnist", source=root)


def test_labels_out_of_range(idx_folder):
    root, _ = idx_folder
    path = raw(root, "train-labels-idx1-ubyte")
    path.write_bytes(path.read_bytes()[:-1] + bytes([77]))
    with pytest.raises(DataError, match="found labels up to 77, expected labels 0 to 9"):
        load_dataset("mnist", source=root)


def cifar_arrays(n=6):
    images = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    labels = (np.arange(n) % 10).astype(np.uint8)
    return {"x_train": images, "y_train": labels, "x_test": images[:2], "y_test": labels[:2]}


def test_cifar_from_an_npz_gets_its_channels_first(tmp_path):
    arrays = cifar_arrays()
    np.savez(tmp_path / "cifar10_small.npz", **arrays)

    images = load_dataset("cifar10", source=tmp_path, quiet=True).images
    assert images.shape == (6, 3, 32, 32)
    assert torch.equal(images.permute(0, 2, 3, 1), torch.from_numpy(arrays["x_train"]))


def test_cifar_npz_without_an_array(tmp_path):
    arrays = cifar_arrays()
    del arrays["y_test"]
    np.savez(tmp_path / "cifar10.npz", **arrays)
    with pytest.raises(DataError, match="y_test"):
        load_dataset("cifar10", source=tmp_path)


def test_npz_that_holds_pickled_objects_is_not_unpickled(tmp_path):
    np.savez(tmp_path / "cifar10.npz", **cifar_arrays() | {"x_train": np.array([{}], object)})
    with pytest.raises(DataError, match="found content that cannot be read"):
        load_dataset("cifar10", source=tmp_path)


def test_cifar_npz_of_other_images(tmp_path):
    arrays = cifar_arrays()
    arrays["x_train"] = arrays["x_train"][:, :28, :28]
    np.savez(tmp_path / "cifar10.npz", **arrays)
    with pytest.raises(DataError, match=r"\(3, 28, 28\), uint8, expected \(3, 32, 32\)"):
        load_dataset("cifar10", source=tmp_path)


def test_two_possible_files_are_an_error(tmp_path):
    np.savez(tmp_path / "cifar10.npz", **cifar_arrays())
    np.savez(tmp_path / "cifar10_small.npz", **cifar_arrays())
    with pytest.raises(DataError, match=r"several files: cifar10.npz, cifar10_small.npz"):
        load_dataset("cifar10", source=tmp_path)


def test_cifar_batches_with_a_wrong_checksum(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"half a batch")
    with pytest.raises(DataError, match="a wrong md5"):
        load_dataset("cifar10", source=tmp_path)


def test_a_folder_without_cifar_names_the_photographs(tmp_path):
    with pytest.raises(DataError, match="photo_patches"):
        load_dataset("cifar10", source=tmp_path)
