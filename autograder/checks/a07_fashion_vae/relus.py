"""Find a missing ReLU in an encoder or a decoder of two convolutions.

The text asks for a ReLU after each inner layer. A part with other layers is not tested.
"""

import torch
import torch.nn.functional as F

from autograder.checks.a07_fashion_vae.convolutions import DECODER, ENCODER, SMALL
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
from autograder.protocol.remote import RemoteObject

C1, C2, K = SMALL.c1, SMALL.c2, (SMALL.k, SMALL.k)
ENCODER_SHAPES: tuple[Shape, ...] = ((C1, 1, *K), (C2, C1, *K))
DECODER_SHAPES: tuple[Shape, ...] = ((SMALL.features, SMALL.lat), (C2, C1, *K), (C1, 1, *K))
HEAD: Shape = (SMALL.lat, SMALL.features)


def encoders(made: RemoteObject, x: torch.Tensor) -> Variants:
    """Yield the means that the encoder computes if one ReLU is missing."""
    if found := layers_with(made, ENCODER_SHAPES, F.conv2d):
        names = ("first convolution", "second convolution")
        inner = list(zip(names, found, strict=True))
        for head in layers_of(made, HEAD, F.conv2d):
            end: Layer = lambda hidden, head=head: head(hidden.flatten(1))  # type: ignore[misc]  # noqa: E731
            yield from without_one_relu(x, "encoder", inner, end)


def decoders(made: RemoteObject, z: torch.Tensor) -> Variants:
    """Yield the images that the decoder computes if one ReLU is missing."""
    if found := layers_with(made, DECODER_SHAPES, F.conv_transpose2d):
        linear, first, second = found
        side = round((SMALL.features / SMALL.c2) ** 0.5)
        folded: Layer = lambda code: linear(code).unflatten(1, (SMALL.c2, side, side))  # noqa: E731
        inner = [("linear layer", folded), ("first transposed convolution", first)]
        yield from without_one_relu(z, "decoder", inner, lambda hidden: second(hidden).sigmoid())


CHECKS: Checks = (
    *layer_variant_checks(ENCODER, encoders, "has_each_relu", "No ReLU is missing in the encoder."),
    *layer_variant_checks(DECODER, decoders, "has_each_relu", "No ReLU is missing in the decoder."),
)
