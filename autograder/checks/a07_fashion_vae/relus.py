"""Find a missing ReLU in an encoder or a decoder of two convolutions.

The text asks for a ReLU after each inner layer. With one of several missing, the part is still no
linear map. So its values are compared with those of its own layers without one ReLU. The layers are
found by the shapes of their weights; a part with other layers is not tested.
"""

import functools
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F

from autograder.checks.a07_fashion_vae.convolutions import DECODER, ENCODER, SMALL
from autograder.checks.shared.networks import KEPT, Checks, Part, named_check
from autograder.checks.vocabulary import expect
from autograder.protocol.remote import RemoteObject, Submission

Layer = Callable[[torch.Tensor], torch.Tensor]
Shape = tuple[int, ...]
SAYS = (
    "Your {} computes its values without the ReLU after its {}. Two layers without an activation "
    "between them are one linear map."
)
C1, C2, K = SMALL.c1, SMALL.c2, (SMALL.k, SMALL.k)
ENCODER_SHAPES: tuple[Shape, ...] = ((C1, 1, *K), (C2, C1, *K))
DECODER_SHAPES: tuple[Shape, ...] = ((SMALL.features, SMALL.lat), (C2, C1, *K), (C1, 1, *K))
HEAD: Shape = (SMALL.lat, SMALL.features)


def layers_of(
    module: RemoteObject, shape: Shape, convolution: Callable[..., torch.Tensor]
) -> list[Layer]:
    """Return the layers of a module whose weights have this shape, in the module's order.

    Args:
        module: The module.
        shape: The shape of the weights: two numbers for a linear layer.
        convolution: The function of its convolutions.
    """
    parameters = {name: p.detach().double() for name, p in module.parameters().items()}
    return [
        functools.partial(
            F.linear if len(shape) == 2 else convolution,
            weight=weight,
            bias=parameters.get(name.removesuffix("weight") + "bias"),
        )
        for name, weight in parameters.items()
        if tuple(weight.shape) == shape
    ]


def without_one(
    x: torch.Tensor, layers: Sequence[tuple[str, Layer]], end: Layer
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the place of each ReLU, and the values without it.

    Args:
        x: The inputs.
        layers: The layers that a ReLU follows, with their names.
        end: The rest of the part.
    """
    for missing, _ in layers:
        hidden = x
        for name, layer in layers:
            hidden = layer(hidden)
            hidden = hidden if name == missing else hidden.relu()
        yield missing, end(hidden)


def encoders(made: RemoteObject, x: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the means that the encoder computes if one ReLU is missing."""
    found = [layers_of(made, shape, F.conv2d) for shape in ENCODER_SHAPES]
    if all(len(layers) == 1 for layers in found):
        names = ("first convolution", "second convolution")
        inner = [(name, layers[0]) for name, layers in zip(names, found, strict=True)]
        for head in layers_of(made, HEAD, F.conv2d):
            yield from without_one(x, inner, lambda hidden, head=head: head(hidden.flatten(1)))  # type: ignore[misc]


def decoders(made: RemoteObject, z: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the images that the decoder computes if one ReLU is missing."""
    found = [layers_of(made, shape, F.conv_transpose2d) for shape in DECODER_SHAPES]
    if all(len(layers) == 1 for layers in found):
        (linear,), (first,), (second,) = found
        side = round((SMALL.features / SMALL.c2) ** 0.5)
        folded: Layer = lambda code: linear(code).unflatten(1, (SMALL.c2, side, side))  # noqa: E731
        inner = [("linear layer", folded), ("first transposed convolution", first)]
        yield from without_one(z, inner, lambda hidden: second(hidden).sigmoid())


def relu_checks(
    part: Part, variants: Callable[[RemoteObject, torch.Tensor], Iterator[tuple[str, torch.Tensor]]]
) -> Checks:
    """Return a check that no ReLU is missing in a part."""

    @named_check(part.task, f"{part.task}_has_each_relu", f"No ReLU is missing in the {part.task}.")
    def each_relu(submission: Submission) -> None:
        # A layer that starts at 0 hides what is before it.
        made, x = part.filled(submission, 4, KEPT)
        got = part.outputs(made, x, SMALL)[0].detach().double()
        for place, wrong in variants(made, x.double()):
            expect(
                not torch.allclose(got, wrong, atol=1e-5),
                SAYS.format(part.task, place),
                "relu_missing",
            )

    return (each_relu,)


CHECKS = (*relu_checks(ENCODER, encoders), *relu_checks(DECODER, decoders))
