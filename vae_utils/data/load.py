"""load_dataset: loads every data set of the course by its name."""

import os
from pathlib import Path

import numpy as np
import torch

from vae_utils.data import download, folder, photos
from vae_utils.data.catalog import CATALOG, SetFacts, facts_of
from vae_utils.data.errors import DataError
from vae_utils.data.files import read_npz
from vae_utils.data.image_set import ImageSet

FOLDER_VARIABLE = "VAELAB_DATA"
EMBEDDED_FOLDER = Path(__file__).resolve().parent.parent / "embedded"


def load_dataset(
    name: str = "mnist",
    train: bool = True,
    source: str | Path = "auto",
    *,
    quiet: bool = False,
) -> ImageSet:
    """Load a data set, and print one line about the data that is in use.

    Args:
        name: "mnist", "fashion_mnist", "cifar10", or "photo_patches" (32×32 patches of the two
            photographs in scikit-learn: colour images that need no download).
        train: True for the training part, False for the test part.
        source: Where to load the data from.
            "auto": the folder in the environment variable VAELAB_DATA, if it is set. Otherwise
            the embedded subset (9,000 training and 1,000 test images). CIFAR-10 has no embedded
            subset and is downloaded.
            "embedded": the subset, independent of the variable.
            "full": the full set. torchvision downloads it once, into the folder VAELAB_DATA or
            into a cache folder.
            Any other value is a folder in torchvision's layout
            (`MNIST/raw/train-images-idx3-ubyte`, .gz or not; `FashionMNIST/raw/…`;
            `cifar-10-batches-py/…` or `cifar10*.npz`).
        quiet: Print nothing.

    Returns:
        The images, uint8 (N, C, H, W), with their labels.

    Raises:
        DataError: The data cannot be loaded. The message says what to do.

    Example:
        >>> digits = load_dataset("mnist")
        MNIST: embedded subset, 9,000 training digits
        >>> digits.images.shape, digits.images.dtype
        (torch.Size([9000, 1, 28, 28]), torch.uint8)
    """
    facts = facts_of(name)
    place = _resolve(name, source)
    if place == "scikit-learn":
        arrays, origin = photos.patches(train), "scikit-learn"
    elif place == "embedded":
        arrays, origin = _embedded(name, facts, train), "embedded"
    elif place == "full":
        root = _named_folder() or download.cache_folder()
        download.ensure(facts, root)
        arrays = folder.read(facts, root, train)
        is_whole = len(arrays[0]) == facts.full_sizes[0 if train else 1]
        origin = "full" if is_whole else str(root)
    else:
        arrays, origin = folder.read(facts, Path(place), train), str(place)
    image_set = _image_set(*arrays, name=name, origin=origin)
    if not quiet:
        print(_describe(image_set, train))
    return image_set


def _describe(image_set: ImageSet, train: bool) -> str:
    """Return one line about the data in a set that `load_dataset` loaded."""
    facts = CATALOG[image_set.name]
    part = "training" if train else "test"
    count = f"{len(image_set):,} {part} {facts.noun}"
    if image_set.origin == "embedded":
        return f"{facts.title}: embedded subset, {count}"
    if image_set.origin == "scikit-learn":
        return f"{facts.title}: {count}, cut from scikit-learn's two sample photographs"
    is_whole = len(image_set) == facts.full_sizes[0 if train else 1]
    which = f"{'full set' if is_whole else 'part of the set'}, {count}"
    where = "" if image_set.origin == "full" else f" from {image_set.origin}"
    return f"{facts.title}: {which}{where}"


def _resolve(name: str, source: str | Path) -> str | Path:
    """Return the place that the arguments name: "scikit-learn", "embedded", "full" or a folder."""
    if name == "photo_patches":
        return "scikit-learn"
    if source == "auto":
        return _named_folder() or ("embedded" if CATALOG[name].embedded_file else "full")
    if source in ("embedded", "full"):
        return source
    if not Path(source).is_dir():
        raise DataError(
            "source",
            found=f"{str(source)!r}, which is not an existing folder",
            expected="'auto', 'embedded', 'full' or a folder",
            todo="Check the spelling.",
        )
    return Path(source)


def _named_folder() -> Path | None:
    """Return the folder in the environment variable, or None if the variable is not set."""
    value = os.environ.get(FOLDER_VARIABLE, "")
    if not value:
        return None
    path = Path(value).expanduser()
    if not path.is_dir():
        raise DataError(
            f"environment variable {FOLDER_VARIABLE}",
            found=f"{value!r}, which is not an existing folder",
            expected="a folder in torchvision's layout (for example with MNIST/raw in it)",
            todo="Correct the variable, or unset it to use the embedded subset.",
        )
    return path


def _embedded(name: str, facts: SetFacts, train: bool) -> tuple[np.ndarray, np.ndarray]:
    if not facts.embedded_file:
        raise DataError(
            f"embedded subset of {facts.title}",
            found="no embedded subset",
            expected="'mnist' or 'fashion_mnist'",
            todo=f"Use load_dataset({name!r}, source='full'), or load 'photo_patches' (colour).",
        )
    parts = read_npz(EMBEDDED_FOLDER / facts.embedded_file, facts.embedded_sha256)
    part = "train" if train else "test"
    return parts[f"x_{part}"][:, None], parts[f"y_{part}"]


def _image_set(images: np.ndarray, labels: np.ndarray, name: str, origin: str) -> ImageSet:
    return ImageSet(
        images=torch.from_numpy(np.array(images, np.uint8)),  # a writable copy
        labels=torch.from_numpy(labels.astype(np.int64)),
        name=name,
        origin=origin,
    )
