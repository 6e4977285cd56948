"""Data: load a data set by its name, and iterate over it in batches."""

from vae_utils.data.errors import DataError
from vae_utils.data.image_set import ImageSet
from vae_utils.data.load import load_dataset
from vae_utils.data.loader import Loader, make_loader

__all__ = ["DataError", "ImageSet", "Loader", "load_dataset", "make_loader"]
