"""The full sets: downloaded once, complete or not at all. torchvision's download is replaced."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torchvision
from conftest import write_idx_set

from vae_utils import DataError, load_dataset
from vae_utils.data.download import cache_folder


@pytest.fixture
def downloads(monkeypatch):
    """Replace torchvision's MNIST, and record the folders of its downloads."""
    calls = []

    def download(root, download):
        calls.append(Path(root))
        print("message of a downloader")
        write_idx_set(Path(root))

    monkeypatch.setattr(torchvision.datasets, "MNIST", download)
    return calls


def break_download(monkeypatch, error, half_written=False):
    def download(root, download):
        if half_written:
            write_idx_set(Path(root))
            (Path(root) / "MNIST/raw/t10k-labels-idx1-ubyte").write_bytes(b"\0\0")
        if error:
            raise error

    monkeypatch.setattr(torchvision.datasets, "MNIST", download)


def test_downloads_into_the_cache_once(downloads, capsys):
    first = load_dataset("mnist", source="full")
    assert len(first) == 20
    assert capsys.readouterr().out.splitlines()[0] == (
        f"MNIST: downloading the full set to {cache_folder()}, once"
    )

    load_dataset("mnist", train=False, source="full")
    assert "downloading" not in capsys.readouterr().out
    assert len(downloads) == 1
    assert not list(cache_folder().glob(".partial-*"))


def test_downloads_into_the_named_folder(downloads, tmp_path, monkeypatch):
    monkeypatch.setenv("VAELAB_DATA", str(tmp_path))
    load_dataset("mnist", source="full", quiet=True)
    assert (tmp_path / "MNIST/raw/train-images-idx3-ubyte").is_file()
    assert not cache_folder().exists()


def test_set_in_the_named_folder_is_not_downloaded_again(downloads, idx_folder, monkeypatch):
    root, _ = idx_folder
    monkeypatch.setenv("VAELAB_DATA", str(root))
    load_dataset("mnist", source="full", quiet=True)
    assert downloads == []


def test_downloader_does_not_write_to_the_notebook(downloads, capsys):
    load_dataset("mnist", source="full")
    output = capsys.readouterr()
    assert "message" not in output.out
    assert output.err == ""


def test_cifar_is_downloaded_and_read_by_torchvision(monkeypatch, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)

    class FakeCifar:
        def __init__(self, root, train=True, download=False):
            batches = Path(root) / "cifar-10-batches-py"
            if download:
                batches.mkdir()
            assert batches.is_dir()
            self.data, self.targets = images, [3, 1, 4, 1]

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", FakeCifar)
    cifar = load_dataset("cifar10", quiet=True)
    np.testing.assert_array_equal(cifar.images.permute(0, 2, 3, 1), images)
    assert cifar.labels.tolist() == [3, 1, 4, 1]
    assert (cache_folder() / "cifar-10-batches-py").is_dir()


def test_a_missing_network_raises_a_data_error(monkeypatch):
    break_download(monkeypatch, OSError("Name or service not known"))
    with pytest.raises(DataError, match=r"download of MNIST: .*service not known.*'embedded'"):
        load_dataset("mnist", source="full")


def test_a_wrong_checksum_raises_a_data_error(monkeypatch):
    break_download(monkeypatch, RuntimeError("File not found or corrupted."))
    with pytest.raises(DataError, match="corrupted"):
        load_dataset("mnist", source="full")


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_an_incomplete_set_is_never_in_the_cache(monkeypatch, error):
    break_download(monkeypatch, error, half_written=True)
    with pytest.raises((DataError, KeyboardInterrupt)):
        load_dataset("mnist", source="full")
    assert list(cache_folder().iterdir()) == []


def test_the_error_can_be_pickled():
    error = DataError("file", found="a", expected="b", todo="Do c.")
    assert str(pickle.loads(pickle.dumps(error))) == "file: found a, expected b. Do c."
