"""Calls a decoder for a figure: on its own device, without gradient, in evaluation mode."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vae_utils.modules import evaluation_mode, module_of
from vae_utils.plots.inputs import Images, as_images

# Maps (N, Z) latents to images: an nn.Module, a bound method or any function.
Decode: TypeAlias = Callable[..., Tensor | NDArray[Any]]


def decoded(decode: Decode, codes: Tensor | NDArray[Any], *conditions: Tensor) -> Images:
    """Decode a batch of codes into images for plotting.

    Args:
        decode: Maps `(N, Z)` float32 (and each condition `(N, C)`) to N images.
        codes: `(N, Z)`.
        conditions: Further arguments of `decode`, one row per code.

    Raises:
        ValueError: `decode` returns something else than one image for each code.

    Example:
        >>> decoded(lambda z: torch.sigmoid(z @ torch.ones(2, 784)), torch.zeros(3, 2)).size
        (28, 28)
    """
    output = evaluated(decode, codes, *conditions)
    if isinstance(output, tuple):
        raise ValueError("decode must return images only, but returned a tuple.")
    images = as_images(output, "the output of decode")
    if len(images) != len(codes):
        raise ValueError(f"decode must return {len(codes)} images, but returned {len(images)}.")
    return images


def evaluated(function: Callable[..., Any], *arguments: Tensor | NDArray[Any]) -> Any:
    """Call a function without gradient; a module on its device, in its dtype, without dropout.

    Example:
        >>> evaluated(nn.Dropout(0.5).double(), torch.ones(3))
        tensor([1., 1., 1.])
    """
    module = module_of(function)
    with evaluation_mode(module):
        return function(*[_like_weights(module, torch.as_tensor(a)) for a in arguments])


def _like_weights(module: nn.Module | None, values: Tensor) -> Tensor:
    """Move values to the module's device and dtype. For a plain function, use float32."""
    weight = None if module is None else next(module.parameters(), None)
    return values.float() if weight is None else values.to(weight)
