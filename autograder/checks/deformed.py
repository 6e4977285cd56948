"""Deformed images: images that no submission can know, made from images that everybody has."""

import math

import torch
import torch.nn.functional as F

# Uniform from −x to x: shift in pixels, rotation in degrees.
SHIFT, ROTATION = 1.0, 5.0
# Elastic part: the standard deviation in pixels of random shifts on a coarse grid of points.
ELASTIC, POINTS = 0.4, 5
# Interpolation blurs the edges of a digit. With this contrast they are as sharp as before.
DIGITS_CONTRAST = 1.4


def deformed(images: torch.Tensor, contrast: float = 1.0) -> torch.Tensor:
    """Shift, rotate and bend each image differently, with PyTorch's generator.

    The bending is a random field of shifts on a coarse grid, interpolated smoothly (Simard et al.
    2003, "Best practices for convolutional neural networks", section 2).

    Args:
        images: Images (N, C, S, S) in [0, 1]. Black continues a grey image at its edges, and a
            colour image is reflected there.
        contrast: The factor of each value's difference from 0.5.

    Returns:
        The deformed images, of the same shape, in [0, 1].
    """
    n, channels, size, _ = images.shape
    pixel = 2 / size  # the coordinates of `grid_sample` go from −1 to 1
    angle = _uniform(n) * math.radians(ROTATION)
    right, down = (_uniform(n) * SHIFT * pixel for _ in range(2))
    cos, sin = angle.cos(), angle.sin()
    affine = torch.stack([cos, -sin, right, sin, cos, down], 1).reshape(n, 2, 3)
    grid = F.affine_grid(affine, [n, 1, size, size], align_corners=False)
    coarse = ELASTIC * pixel * torch.randn(n, 2, POINTS, POINTS)
    bent = F.interpolate(coarse, (size, size), mode="bicubic", align_corners=True)
    padding = "zeros" if channels == 1 else "reflection"
    places = grid + bent.permute(0, 2, 3, 1)
    moved = F.grid_sample(images, places, "bilinear", padding, align_corners=False)
    return (0.5 + contrast * (moved - 0.5)).clamp(0, 1)


def deformed_digits(images: torch.Tensor) -> torch.Tensor:
    """Deform images of digits, (N, 1, 28, 28)."""
    return deformed(images, DIGITS_CONTRAST)


def deformed_photos(images: torch.Tensor) -> torch.Tensor:
    """Deform colour images (N, 3, S, S), mirror half of them, and change their colours a little."""
    mirrored = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images, images.flip(3))
    gains = 1 + 0.15 * _uniform(len(images), 3, 1, 1)
    return (deformed(mirrored) * gains).clamp(0, 1)


def _uniform(*shape: int) -> torch.Tensor:
    """Return uniform numbers from −1 to 1."""
    return 2 * torch.rand(*shape) - 1
