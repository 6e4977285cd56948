"""Small synthetic data sets in the layouts of real ones."""

import gzip
import struct

import numpy as np
import pytest

IDX_NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def idx_bytes(array):
    """Return uint8 values in the idx format, written from the description of the format."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def write_idx_set(root, folder="MNIST", sizes=(20, 10), packed=False, seed=0):
    """Write a data set in torchvision's layout; return its arrays by part."""
    random = np.random.default_rng(seed)
    raw = root / folder / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for part, size in zip(("train", "test"), sizes, strict=True):
        images = random.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        labels = (np.arange(size) % 10).astype(np.uint8)
        for name, array in zip(IDX_NAMES[part], (images, labels), strict=True):
            content = idx_bytes(array)
            if packed:
                (raw / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (raw / name).write_bytes(content)
        arrays[part] = (images, labels)
    return arrays


@pytest.fixture(autouse=True)
def no_data_folder_of_the_user(monkeypatch, tmp_path):
    """Keep the tests away from the data and the cache of the user."""
    monkeypatch.delenv("VAELAB_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def idx_folder(tmp_path):
    """Return a folder with 20 + 10 synthetic digits, and their arrays."""
    root = tmp_path / "data"
    return root, write_idx_set(root)
