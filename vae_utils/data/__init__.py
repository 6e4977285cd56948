"""Data: load a set by name, and a loader that keeps it in memory."""

from vae_utils.data.errors import DataError
from vae_utils.data.image_set import ImageSet
from vae_utils.data.load import describe, load_dataset
from vae_utils.data.loader import Loader, make_loader

__all__ = ["DataError", "ImageSet", "Loader", "describe", "load_dataset", "make_loader"]
