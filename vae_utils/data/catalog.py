"""Facts about each data set: title, shape, classes, files, checksums."""

import difflib
from dataclasses import dataclass

from vae_utils.data.errors import DataError

DIGITS = tuple("0123456789")
CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CIFAR_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


@dataclass(frozen=True)
class SetFacts:
    """Facts about one data set.

    Args:
        title: The name that is printed.
        noun: What the images are called in the printed line about the data in use.
        classes: The name of each label.
        shape: Shape of an image, (C, H, W).
        full_sizes: Number of images in the full training and test set; (0, 0) if there is none.
        torchvision_name: The class in torchvision.datasets. Its folder has the same name.
        embedded_file: File in vae_utils/embedded; empty if there is none.
        embedded_sha256: SHA-256 of that file.
    """

    title: str
    noun: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    full_sizes: tuple[int, int]
    torchvision_name: str = ""
    embedded_file: str = ""
    embedded_sha256: str = ""


CATALOG = {
    "mnist": SetFacts(
        title="MNIST",
        noun="digits",
        classes=DIGITS,
        shape=(1, 28, 28),
        full_sizes=(60_000, 10_000),
        torchvision_name="MNIST",
        embedded_file="mnist10k.npz",
        embedded_sha256="fa4250ce1a7e753b0183c219daea2be12bc6f161782529894d1838cd73faf962",
    ),
    "fashion_mnist": SetFacts(
        title="Fashion-MNIST",
        noun="images",
        classes=CLOTHES,
        shape=(1, 28, 28),
        full_sizes=(60_000, 10_000),
        torchvision_name="FashionMNIST",
        embedded_file="fashion_mnist10k.npz",
        embedded_sha256="67580ac9ffbe567b02994c0722e267bea5ceda28a023465d4a6885e7d931222c",
    ),
    "cifar10": SetFacts(
        title="CIFAR-10",
        noun="images",
        classes=CIFAR_CLASSES,
        shape=(3, 32, 32),
        full_sizes=(50_000, 10_000),
        torchvision_name="CIFAR10",
    ),
    "photo_patches": SetFacts(
        title="Photo patches",
        noun="patches",
        classes=("temple", "flower"),
        shape=(3, 32, 32),
        full_sizes=(0, 0),
    ),
}


def facts_of(name: str) -> SetFacts:
    """Return the facts about a data set.

    Args:
        name: A key of CATALOG.

    Returns:
        The facts.

    Raises:
        DataError: There is no data set with this name.

    Example:
        >>> facts_of("mnist").title
        'MNIST'
    """
    if name in CATALOG:
        return CATALOG[name]
    plain = str(name).lower().replace("-", "_").replace(" ", "_")
    near = difflib.get_close_matches(plain, CATALOG, n=1)
    raise DataError(
        "name of a data set",
        found=repr(name),
        expected="one of " + ", ".join(CATALOG),
        todo=f"Did you mean {near[0]!r}?" if near else "Choose one of these.",
    )
