"""Reads the content of a figure; contains a decoder whose images show their latents."""

import numpy as np
import torch

SIDE = 4  # pixels of the readable images
RANGE = 8.0  # latents from -8 to 8 become intensities from 0 to 1


def title_of(figure):
    return figure.get_suptitle() or figure.axes[0].get_title(loc="left")


def mosaic_of(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


def tile(figure, row, column, size=(28, 28), gap=(2, 2)):
    """Cut one image (H, W, 3) out of a mosaic."""
    y, x = row * (size[0] + gap[0]), column * (size[1] + gap[1])
    return mosaic_of(figure)[y : y + size[0], x : x + size[1]]


def x_labels(figure):
    return [text.get_text() for text in figure.axes[0].get_xticklabels()]


def y_labels(figure):
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def readable(z):
    """Decode (N, Z), Z <= 16, into (N, 1, 4, 4): pixel j holds latent j."""
    pixels = torch.full((len(z), SIDE * SIDE), 0.5, dtype=z.dtype)
    pixels[:, : z.shape[1]] = z / (2 * RANGE) + 0.5
    return pixels.view(-1, 1, SIDE, SIDE)


def read_code(image, latent_dim):
    """Return the latents that `readable` wrote into an image (4, 4, 3)."""
    return (image[..., 0].reshape(-1)[:latent_dim] - 0.5) * 2 * RANGE


def code_at(figure, row, column, latent_dim):
    return read_code(tile(figure, row, column, (SIDE, SIDE)), latent_dim)
