"""Call a decoder for a figure: on its own device, without gradient, in evaluation mode."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vae_utils.modules import evaluation_mode, module_of
from vae_utils.plots.inputs import Images, as_images

# (N, Z) latents to images; an nn.Module, a bound method or any function.
Decode: TypeAlias = Callable[..., Tensor | NDArray[Any]]


def decoded(decode: Decode, codes: Tensor | NDArray[Any], *conditions: Tensor) -> Images:
    """Decode a batch of codes into images that are ready to draw.

    Args:
        decode: maps `(N, Z)` float32 (and each condition `(N, C)`) to N images.
        codes: `(N, Z)`.
        conditions: further arguments of `decode`, a row for each code.

    Raises:
        ValueError: `decode` gives something else than one image for each code.

    Example:
        >>> decoded(lambda z: torch.sigmoid(z @ torch.ones(2, 784)), torch.zeros(3, 2)).size
        (28, 28)
    """
    output = evaluated(decode, codes, *conditions)
    if isinstance(output, tuple):
        raise ValueError("decode must give images alone, but gave a tuple.")
    images = as_images(output, "what decode gives")
    if len(images) != len(codes):
        raise ValueError(f"decode must give one image a code: {len(codes)}, not {len(images)}.")
    return images


def evaluated(function: Callable[..., Any], *arguments: Tensor | NDArray[Any]) -> Any:
    """Call a module, a method of one or a function: its device and dtype, no gradient, no dropout.

    Example:
        >>> evaluated(nn.Dropout(0.5).double(), torch.ones(3))
        tensor([1., 1., 1.])
    """
    module = module_of(function)
    with evaluation_mode(module):
        return function(*[_like_weights(module, torch.as_tensor(a)) for a in arguments])


def _like_weights(module: nn.Module | None, values: Tensor) -> Tensor:
    """Move values to the module's device and dtype; for a plain function, make them float32."""
    weight = None if module is None else next(module.parameters(), None)
    return values.float() if weight is None else values.to(weight)
