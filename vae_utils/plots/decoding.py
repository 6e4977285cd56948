"""Call a decoder for a figure: on its own device, without gradient, in evaluation mode."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

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
    module = _module_of(decode)
    arguments = [_like_weights(module, torch.as_tensor(a)) for a in (codes, *conditions)]
    with torch.no_grad(), _in_evaluation_mode(module):
        output = decode(*arguments)
    if isinstance(output, tuple):
        raise ValueError("decode must give images alone, but gave a tuple.")
    images = as_images(output, "what decode gives")
    if len(images) != len(codes):
        raise ValueError(f"decode must give one image a code: {len(codes)}, not {len(images)}.")
    return images


def _module_of(decode: Decode) -> nn.Module | None:
    """Find the module behind `decode`, if it is one or a method of one."""
    owner = getattr(decode, "__self__", decode)
    return owner if isinstance(owner, nn.Module) else None


def _like_weights(module: nn.Module | None, values: Tensor) -> Tensor:
    """Move values to the module's device and dtype; for a plain function, make them float32."""
    weight = next(module.parameters(), None) if module else None
    return values.float() if weight is None else values.to(weight)


@contextmanager
def _in_evaluation_mode(module: nn.Module | None) -> Iterator[None]:
    """Set batch norm and dropout to evaluation, and each module back to what it was."""
    training = [m for m in module.modules() if m.training] if module else []
    for m in training:
        m.training = False
    try:
        yield
    finally:
        for m in training:
            m.training = True
