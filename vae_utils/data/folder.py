"""Reads a data set from a folder in torchvision's layout, or CIFAR-10 from an npz file."""

from pathlib import Path

import numpy as np

from vae_utils.data.catalog import SetFacts
from vae_utils.data.errors import DataError
from vae_utils.data.files import read_idx, read_npz

CIFAR_FOLDER = "cifar-10-batches-py"
IDX_FILES = {
    True: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    False: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}

Arrays = tuple[np.ndarray, np.ndarray]


def read(facts: SetFacts, root: Path, train: bool) -> Arrays:
    """Read one part of a data set from a folder.

    Args:
        facts: The data set.
        root: The folder that contains `MNIST/raw`, `FashionMNIST/raw`, `cifar-10-batches-py` or
            `cifar10*.npz`.
        train: True for the training part, False for the test part.

    Returns:
        images uint8 (N, C, H, W), and labels (N,).

    Raises:
        DataError: A file is missing or damaged, or images and labels do not fit together.
    """
    if facts.torchvision_name == "CIFAR10":
        images, labels = _read_cifar(root, train)
        where = root
    else:
        where = root / facts.torchvision_name / "raw"
        images_file, labels_file = IDX_FILES[train]
        images = read_idx(_find_idx(where, images_file), dims=3)[:, None]
        labels = read_idx(_find_idx(where, labels_file), dims=1)
    _require_fit(facts, where, images, labels)
    return images, labels


def has(facts: SetFacts, root: Path) -> bool:
    """Return whether a folder contains every file of a data set."""
    if facts.torchvision_name == "CIFAR10":
        return (root / CIFAR_FOLDER).is_dir() or bool(_cifar_npz_files(root))
    raw = root / facts.torchvision_name / "raw"
    return all(
        (raw / name).is_file() or (raw / f"{name}.gz").is_file()
        for names in IDX_FILES.values()
        for name in names
    )


def _find_idx(raw: Path, name: str) -> Path:
    for path in (raw / name, raw / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(
        raw / name,
        found="no such file",
        expected="this file, plain or as .gz (torchvision's layout)",
        todo="Put the set there, or use source='full' to download it, or 'embedded'.",
    )


def _require_fit(facts: SetFacts, where: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Raise a DataError unless the arrays can be images and labels of the data set."""
    if images.shape[1:] != facts.shape or images.dtype != np.uint8:
        raise DataError(
            where,
            found=f"images of shape {images.shape[1:]}, {images.dtype}",
            expected=f"{facts.shape}, uint8, for {facts.title}",
            todo="These files belong to another data set. Check the folder.",
        )
    if labels.shape != images.shape[:1]:
        raise DataError(
            where,
            found=f"{len(images):,} images and labels of shape {labels.shape}",
            expected="one label per image, and at least one image",
            todo="Take both files from the same part of the set.",
        )
    if len(labels) == 0 or labels.max() >= len(facts.classes) or labels.min() < 0:
        raise DataError(
            where,
            found=f"labels up to {labels.max()}" if len(labels) else "no image",
            expected=f"labels 0 to {len(facts.classes) - 1}",
            todo="Download the label file again.",
        )


def _cifar_npz_files(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("cifar*10*.npz") if path.is_file())


def _read_cifar(root: Path, train: bool) -> Arrays:
    if (root / CIFAR_FOLDER).is_dir():
        return _read_cifar_batches(root, train)
    npz_files = _cifar_npz_files(root)
    if len(npz_files) != 1:
        names = ", ".join(path.name for path in npz_files)
        raise DataError(
            root,
            found=f"several files: {names}" if names else "no CIFAR-10",
            expected=f"{CIFAR_FOLDER}, or one cifar10*.npz with x_train, y_train, x_test, y_test",
            todo="Put it there, use source='full' to download it, or load 'photo_patches', "
            "which needs no download.",
        )
    parts = read_npz(npz_files[0])
    part = "train" if train else "test"
    images = parts[f"x_{part}"]
    if images.ndim != 4:
        raise DataError(
            npz_files[0],
            found=f"x_{part} of shape {images.shape}",
            expected="(N, 32, 32, 3)",
            todo="Create this file again.",
        )
    return images.transpose(0, 3, 1, 2), parts[f"y_{part}"].reshape(-1)


def _read_cifar_batches(root: Path, train: bool) -> Arrays:
    from torchvision.datasets import CIFAR10  # slow to import

    try:
        # torchvision checks the md5 of each file before it unpickles the file.
        data = CIFAR10(str(root), train=train, download=False)
    except RuntimeError as error:
        raise DataError(
            root / CIFAR_FOLDER,
            found="missing files, or files with a wrong md5",
            expected="the six batches of CIFAR-10 as published",
            todo="Delete this folder and load with source='full'.",
        ) from error
    return data.data.transpose(0, 3, 1, 2), np.asarray(data.targets)
