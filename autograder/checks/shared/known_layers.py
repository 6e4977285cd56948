"""Find a missing layer of a part: compare its values with those of its own layers without it.

With one of several activations missing, a part is still no linear map. So the judge computes with
the part's own layers what the part would return without each activation. The layers are found by
the shapes of their weights; a part with other layers is not tested.
"""

import functools
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F

from autograder.checks.shared.networks import KEPT, Checks, Part, named_check
from autograder.checks.vocabulary import CheckFailed
from autograder.protocol.remote import RemoteObject, Submission

Layer = Callable[[torch.Tensor], torch.Tensor]
Shape = tuple[int, ...]
Variants = Iterator[tuple[CheckFailed, torch.Tensor]]


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


def layers_with(
    made: RemoteObject, shapes: tuple[Shape, ...], convolution: Callable[..., torch.Tensor]
) -> list[Layer]:
    """Return the only layer of each shape; an empty list if a shape has none, or several."""
    found = [layers_of(made, shape, convolution) for shape in shapes]
    return [one for (one,) in found] if all(len(layers) == 1 for layers in found) else []


def without_one_relu(
    x: torch.Tensor, part: str, layers: Sequence[tuple[str, Layer]], end: Layer
) -> Variants:
    """Yield the failure and the values of a part without each ReLU.

    Args:
        x: The inputs.
        part: The part's name in the message.
        layers: The layers that a ReLU follows, with their names.
        end: The rest of the part.
    """
    for missing, _ in layers:
        hidden = x
        for name, layer in layers:
            hidden = layer(hidden)
            hidden = hidden if name == missing else hidden.relu()
        message = (
            f"Your {part} computes its values without the ReLU after its {missing}. Two layers "
            "without an activation between them are one linear map."
        )
        yield CheckFailed(message, "relu_missing"), end(hidden)


def layer_variant_checks(
    part: Part,
    variants: Callable[[RemoteObject, torch.Tensor], Variants],
    name: str,
    sentence: str,
    prepare: Callable[[RemoteObject], None] = lambda made: None,
) -> Checks:
    """Make the check that a part does not compute the values of one of its wrong variants.

    Args:
        part: The part.
        variants: Yields the variants of a made part for inputs x, in float64.
        name: The check's name, after the task.
        sentence: The check's sentence.
        prepare: Changes the parameters of the made part, after Gaussian numbers replaced them.
    """

    @named_check(part.task, f"{part.task}_{name}", sentence)
    def no_variant(submission: Submission) -> None:
        # A layer that starts at 0 hides what is before it.
        made, x = part.filled(submission, 4, KEPT)
        prepare(made)
        got = part.outputs(made, x, *part.small)[0].detach().double()
        for failure, wrong in variants(made, x.double()):
            if torch.allclose(got, wrong, atol=1e-5):
                raise failure

    return (no_variant,)
