"""What comes right before and right after the sigmoid of a decoder.

An activation before the sigmoid keeps pixels from being dark or bright. A division by the largest
pixel after it makes all images equally bright; a softmax gives pixels a fixed sum.
"""

import math
from collections.abc import Callable

import numpy as np
import torch

from autograder.checks.vocabulary import expect
from autograder.protocol.remote import RemoteObject

BEFORE = (
    "Is there an activation right before the sigmoid? Remove it: the sigmoid needs values of both "
    "signs and of any size."
)
# PReLU starts with 0.25. No right decoder treats the two signs differently.
SMALLEST_SLOPE = 0.3
# Of all pixels of different images. A saturated sigmoid is not counted.
LARGEST_SHARE = 0.2
# A GELU or SiLU before the sigmoid has values slightly below those of large negative numbers.
END = 0.1


def expect_black_reached(low: float, high: float) -> None:
    """Expect that a ReLU or its like does not keep a sigmoid from dark values.

    Args:
        low: The darkest pixel of extreme codes.
        high: The brightest one. A second sigmoid never exceeds the sigmoid of 1.

    Raises:
        CheckFailed: If the pixels cannot be dark, and can be white.
    """
    expect(
        low < 0.45 or high < 0.74,
        f"Decoded pixels range from {low:.2f} to {high:.2f}: black cannot be reached. Is there an "
        "activation right before the sigmoid that removes negative values?",
        "relu_before_sigmoid",
    )


def expect_no_plateau(pixels: torch.Tensor) -> None:
    """Expect that extreme codes drive the sigmoid to its limits, and to no other limit.

    Args:
        pixels: Decoded from different codes far from 0, any shape.

    Raises:
        CheckFailed: If many pixels have one value between black and white.
    """
    low, high = float(pixels.min()), float(pixels.max())
    rounded = pixels.double().mul(1e4).round()
    # NumPy sorts; torch.unique takes 20 times as long.
    values, counts = map(torch.from_numpy, np.unique(rounded.numpy(), return_counts=True))
    values = values / 1e4
    between = (values > 0.005) & (values < 0.995)
    # Pixels that no feature reaches have one value too, but others are darker and brighter.
    at_end = (values < low + END) | (values > high - END)
    if not bool((between & at_end).any()):
        return
    most = int((counts * (between & at_end)).argmax())
    share, value = float(counts[most]) / pixels.numel(), float(values[most])
    expect(
        share < LARGEST_SHARE,
        f"For extreme codes, {share:.0%} of the decoded pixels have the value {value:.2f}, and the "
        f"others are between {low:.2f} and {high:.2f}. {BEFORE}",
        "relu_before_sigmoid" if low > 0.4 else "activation_before_sigmoid",
    )


def expect_signs_alike(made: RemoteObject, logits: Callable[[], torch.Tensor]) -> None:
    """Expect that the sigmoid gets negative values as large as the positive ones.

    If the weights of a decoder's last layer change their sign and its biases are 0, so do the
    inputs of the sigmoid. Behind a leaky ReLU, a negative value is smaller than the positive one.

    Args:
        made: A module with biases of 0. Its weights are the same afterwards.
        logits: Calls it and computes the inputs of a sigmoid; NaN where they are not known.

    Raises:
        CheckFailed: If negative values are smaller.
    """
    weights = {name: p.detach() for name, p in made.parameters().items() if p.dim() > 1}
    right = logits()
    leaks = False
    for name, weight in reversed(weights.items()):
        made.load_state_dict({name: -weight}, strict=False)
        flipped = logits()
        made.load_state_dict({name: weight}, strict=False)
        known = torch.isfinite(right) & torch.isfinite(flipped)
        first, second = right[known], flipped[known]
        if not bool(first.abs().gt(1e-3).any()):
            continue
        size = float(first.abs().max())
        if torch.allclose(first, -second, atol=1e-2 * size):
            return
        below, above = (
            float(sum((sign * one).clamp(min=0).sum() for one in (first, second)))
            for sign in (-1, 1)
        )
        opposite = bool((first * second <= 1e-6 * size**2).all())
        leaks |= opposite and below < SMALLEST_SLOPE * above
    expect(
        not leaks,
        f"Negative values are made smaller before they reach the decoder's sigmoid. {BEFORE}",
        "leaky_relu_before_sigmoid",
    )


def expect_not_normalised(pixels: torch.Tensor) -> None:
    """Expect that images decoded with very small weights have no white pixels and no fixed sum.

    Args:
        pixels: Decoded with such weights, (N, ...): a sigmoid makes all pixels grey.

    Raises:
        CheckFailed: If each image has a pixel of exactly 1, or its pixels, rows, columns or
            channels have the sum 1.
    """
    # A sigmoid returns grey for such weights. A division by the maximum may make all of them 1.
    expect(
        not bool(((pixels == 0) | (pixels == 1)).all() and (pixels == 0).any()),
        "Decoded pixels are only black and white, whatever the weights are. Return the value of "
        "the last activation itself: do not round it, and do not sample from it.",
        "decoder_draws_pixels",
    )
    side = math.isqrt(pixels[0].numel())
    squares = [pixels.view(len(pixels), side, side)] if side**2 == pixels[0].numel() else []
    for shown in (pixels.flatten(1), pixels, *squares):
        for dim in range(1, shown.dim()):
            one = shown.shape[dim] > 1 and (shown.sum(dim) - 1).abs().max() < 1e-4
            expect(
                not one,
                "The decoded pixels have the sum 1 along an axis, as a softmax makes them: then "
                "one of them can only be bright if the others are dark. Use a sigmoid, which "
                "computes each pixel alone.",
                "softmax_pixels",
            )
    brightest = pixels.flatten(1).amax(1)
    expect(
        float((brightest - 1).abs().max()) > 1e-6,
        "The brightest pixel of every decoded image is exactly 1, also for weights near 0: the "
        "image is divided by its own maximum. A sigmoid as the last step is enough.",
        "divided_by_maximum",
    )
