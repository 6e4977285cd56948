"""Find a missing layer, or other padding, in an encoder or decoder with the layers of the text.

The text lists these layers. Parts that reach the same sizes with other layers are right too: they
are not tested here.
"""

import contextlib
import functools

import torch
import torch.nn.functional as F

from autograder.checks.a06_vq_vae.vq_networks import (
    DECODER,
    ENCODER,
    HIDDENS,
    RESIDUAL_HIDDENS,
    TINY,
)
from autograder.checks.shared.known_layers import (
    Layer,
    Shape,
    Variants,
    layer_variant_checks,
    layers_of,
    layers_with,
    without_one_relu,
)
from autograder.checks.shared.networks import Checks
from autograder.checks.vocabulary import CheckFailed
from autograder.protocol.remote import Raised, RemoteObject

HALF = HIDDENS // 2
(CHANNELS, *_), (CODE, *_) = ENCODER.small, DECODER.small
ENCODER_SHAPES: tuple[Shape, ...] = ((HALF, CHANNELS, 4, 4), (HIDDENS, HALF, 4, 4))
THIRD: Shape = (HIDDENS, HIDDENS, 3, 3)
DECODER_SHAPES: tuple[Shape, ...] = ((HIDDENS, HALF, 4, 4), (HALF, 3, 4, 4))
FIRST: Shape = (HIDDENS, CODE, 3, 3)
LAST_OF_BLOCK: Shape = (HIDDENS, RESIDUAL_HIDDENS, 1, 1)
SAME = functools.partial(F.conv2d, padding=1)
HALVES = functools.partial(F.conv2d, stride=2, padding=1)
DOUBLES = functools.partial(F.conv_transpose2d, stride=2, padding=1)
# Without its corrections, a residual stack is a ReLU. The judge's own stack, which replaces one
# that has failed, returns its input.
STACKS: tuple[Layer, ...] = (torch.relu, lambda x: x)


def switch_blocks_off(made: RemoteObject) -> None:
    """Make the last weights of each residual block tiny, so that it returns its input.

    With weight normalization a block is not switched off, and no variant fits.
    """
    off = {
        name: TINY * parameter.detach()
        for name, parameter in made.parameters().items()
        if tuple(parameter.shape) == LAST_OF_BLOCK
    }
    # A model with its own `load_state_dict` keeps its parameters: then no variant fits.
    with contextlib.suppress(Raised):
        made.load_state_dict(off, strict=False)


def encoders(made: RemoteObject, x: torch.Tensor) -> Variants:
    """Yield the features that the encoder computes with a wrong layer or without one."""
    halving, third = layers_with(made, ENCODER_SHAPES, HALVES), layers_with(made, (THIRD,), SAME)
    if not halving:
        return
    first, second = halving
    for stack in STACKS:
        if not third and not layers_of(made, THIRD, SAME):
            yield (
                CheckFailed(
                    "In your encoder, the 3 × 3 convolution before the residual stack is missing. "
                    "See the table of its layers.",
                    "convolution_missing",
                ),
                stack(second(first(x).relu()).relu()),
            )
        for last in third:
            end: Layer = lambda hidden, stack=stack, last=last: stack(last(hidden))  # type: ignore[misc]  # noqa: E731
            inner = [("first convolution", first), ("second convolution", second)]
            yield from without_one_relu(x, "encoder", inner, end)
            wide = layers_of(made, ENCODER_SHAPES[0], functools.partial(HALVES, padding=2))[0]
            yield (
                CheckFailed(
                    "The first convolution of your encoder has padding 2: 32 × 32 pixels become "
                    "17 × 17 values. With padding 1 they become 16 × 16, as in the table of its "
                    "layers.",
                    "wrong_padding",
                ),
                end(second(wide(x).relu()).relu()),
            )


def decoders(made: RemoteObject, codes: torch.Tensor) -> Variants:
    """Yield the images that the decoder computes without its ReLU."""
    doubling, first = layers_with(made, DECODER_SHAPES, DOUBLES), layers_with(made, (FIRST,), SAME)
    if not doubling or not first:
        return
    for stack in STACKS:
        inner = [("first transposed convolution", doubling[0])]
        yield from without_one_relu(stack(first[0](codes)), "decoder", inner, doubling[1])


CHECKS: Checks = (
    *layer_variant_checks(
        ENCODER,
        encoders,
        "has_each_layer",
        "No convolution and no ReLU is missing in the encoder.",
        switch_blocks_off,
    ),
    *layer_variant_checks(
        DECODER,
        decoders,
        "has_each_relu",
        "No ReLU is missing in the decoder.",
        switch_blocks_off,
    ),
)
