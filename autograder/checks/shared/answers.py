"""What a model returns in training and afterwards: its types and shapes, expected before its loss.

A loss of values of another shape can be another loss. With a third axis, for example, a sum over
latents is a mean over them. The checks of each part have tested these shapes already, so another
shape means that the model returns something else there.
"""

from collections.abc import Sequence
from typing import Any

import torch

from autograder.checks.vocabulary import CheckFailed, expect, kind

# A code of a deterministic encoder gets this noise, in standard deviations of each of its numbers:
# too little for any decoder that was trained, too much for images that are hidden in low digits.
CODE_NOISE = 1e-3


def expect_values(got: Any, names: Sequence[str]) -> tuple[Any, ...]:
    """Expect one value for each of several names.

    Args:
        got: What the model returned.
        names: The names of the values, for the message.
    """
    expect(
        isinstance(got, tuple) and len(got) == len(names),
        f"In training and in eval mode, the model should return {len(names)} values "
        f"({', '.join(names)}); got {kind(got)}.",
    )
    return tuple(got)


def expect_like(got: Any, like: torch.Tensor, what: str) -> torch.Tensor:
    """Expect floating-point numbers of the shape of another tensor; return them as float32."""
    if not isinstance(got, torch.Tensor) or not got.is_floating_point() or got.shape != like.shape:
        shape = ", ".join(map(str, like.shape))
        found = f"{kind(got)} of type {got.dtype}" if isinstance(got, torch.Tensor) else kind(got)
        raise CheckFailed(
            f"In training and in eval mode, {what} should be a tensor of floats of shape ({shape}),"
            f" as in the checks above; got {found}."
        )
    return got.float()


def expect_gaussians(
    mu: Any, spread: Any, n: int, name: str = "logvar"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Expect a Gaussian over codes for each of n images: two tensors (N, Z).

    Args:
        mu: The means.
        spread: Their log-variances or deviations.
        n: The number of images, N.
        name: The name of `spread` in the message.
    """
    if not isinstance(mu, torch.Tensor) or mu.dim() != 2:
        raise CheckFailed(
            "In training and in eval mode, `mu` should be a tensor of shape (N, Z), as in the "
            f"checks above; got {kind(mu)}."
        )
    like = torch.empty(n, 1).expand(n, mu.shape[1])
    return expect_like(mu, like, "`mu`"), expect_like(spread, like, f"`{name}`")


def expect_codes(got: Any, n: int, most: int | None) -> torch.Tensor:
    """Expect a code for each of n images; return the codes with a little noise.

    Args:
        got: What the encoder returned, (N, ...).
        n: The number of images, N.
        most: The largest allowed number of values of a code; None for no limit.
    """
    shape = got.shape if isinstance(got, torch.Tensor) and got.dim() else torch.Size([n])
    codes = expect_like(got, torch.empty(1).expand(n, *shape[1:]), "the code")
    values = codes[:1].numel()
    expect(
        most is None or values <= most,
        f"In eval mode a code has {values:,} values; at most {most} are allowed.",
        "no_bottleneck",
    )
    return codes + CODE_NOISE * codes.std(0, correction=0) * torch.randn_like(codes)


def expect_pixels(x_hat: torch.Tensor) -> None:
    """Expect pixels in [0, 1], where they are numbers."""
    low, high = float(x_hat.min()), float(x_hat.max())
    expect(
        not (low < 0 or high > 1),
        f"In training and in eval mode, decoded pixels range from {low:.3g} to {high:.3g}; they "
        "should be in [0, 1].",
    )
