"""Placeholder images: a worker sees no image of a data set, so `load_dataset` returns noise there.

The judge sends each image when it is needed. A cell of a submission may still load a data set, for
example to compute the number of batches: the placeholders have the right number, shape and type.
"""

import numpy as np

from vae_utils.data import load, photos
from vae_utils.data.catalog import CATALOG, SetFacts

# The number of training and of test images.
EMBEDDED, PATCHES = (9000, 1000), (5700, 1700)
# The share of pixels that are not black; the others are uniform from 0 to 255.
BRIGHT = 0.25

Arrays = tuple[np.ndarray, np.ndarray]


def placeholders(facts: SetFacts, count: int) -> Arrays:
    """Return noise: images uint8 (count, C, H, W), and labels (count,) of each class in turn."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, *facts.shape), np.uint8)
    pixels[generator.random(pixels.shape, np.float32) > BRIGHT] = 0
    return pixels, np.arange(count) % len(facts.classes)


def use_placeholders() -> None:
    """Replace the images that come with the course and with scikit-learn by placeholders."""

    def embedded(name: str, facts: SetFacts, train: bool) -> Arrays:
        return placeholders(facts, EMBEDDED[0 if train else 1])

    def patches(train: bool = True) -> Arrays:
        return placeholders(CATALOG["photo_patches"], PATCHES[0 if train else 1])

    load._embedded = embedded
    photos.patches = patches
