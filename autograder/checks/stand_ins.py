"""Known affine maps in the place of a model's parts, so that only what joins them is judged.

They say nothing of how the parts are made, and remember what they were called with: what a
submission hands from one part to the next can then be looked at.
"""

from collections.abc import Sequence

import torch

from autograder.checking import CheckFailed
from autograder.submission import RemoteObject

SOURCE = """
import torch as _torch


class _StandIn(_torch.nn.Module):
    def __init__(self, weights, bias, shape, squash, noise):
        super().__init__()
        self.weights, self.shape, self.squash, self.noise = weights, shape, squash, noise
        # Gradients reach the stand-in, as they reach the parameters of what it stands for.
        self.bias = _torch.nn.Parameter(_torch.tensor(bias))
        self.calls = []

    def forward(self, *inputs):
        self.calls.append(inputs[0].detach().clone())
        outputs = []
        for weights, bias in zip(self.weights, self.bias):
            out = sum(x.flatten(1) @ w.to(x) for x, w in zip(inputs, weights, strict=True)) + bias
            out = out.sigmoid() if self.squash else out
            out = out + out.new_empty(out.shape).normal_() if self.noise else out
            outputs.append(out.unflatten(1, self.shape) if self.shape else out)
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    def count(self):
        return len(self.calls)

    def rows(self):
        import torch

        return torch.cat(self.calls)


def _put(model, name, part):
    # An instance attribute, since the part may be a plain method of the class; and a submodule
    # under another name, so that a model without layers of its own still has parameters.
    model.__dict__.pop(name, None)
    model._modules.pop(name, None)
    object.__setattr__(model, name, part)
    model.add_module("_stand_in_" + name, part)
"""


class StandIn:
    """What stands in a part's place.

    Args:
        made: The stand-in where it lives.
        name: The part's name.
    """

    def __init__(self, made: RemoteObject, name: str):
        self.made = made
        self.name = name

    def rows(self) -> torch.Tensor:
        """The first input of every call so far, row below row.

        Raises:
            CheckFailed: If it was never called.
        """
        if not self.made.count():
            raise CheckFailed(f"`self.{self.name}` is never called here.")
        rows: torch.Tensor = self.made.rows()
        return rows.double()

    def forget(self) -> None:
        """Forget all calls."""
        self.made.calls.clear()


def stand_in(
    model: RemoteObject,
    part: str,
    weights: Sequence[Sequence[torch.Tensor]],
    bias: Sequence[float] | None = None,
    shape: Sequence[int] = (),
    *,
    squash: bool = False,
    noise: bool = False,
) -> StandIn:
    """Put affine maps in a part's place.

    Args:
        model: The model.
        part: The part's name; a layer or a method.
        weights: For each output, one matrix (or vector) for each input.
        bias: For each output, what is added to it.
        shape: Shape of one row of each output; () leaves it flat.
        squash: Whether a sigmoid follows.
        noise: Whether standard normal noise is added.
    """
    submission = model.submission
    submission.run(SOURCE, "stand_in")
    made = submission.new(
        "_StandIn",
        [list(w) for w in weights],
        bias or [0.0] * len(weights),
        list(shape),
        squash,
        noise,
    )
    submission.object("_put")(model, part, made)
    submission.run("del _torch, _StandIn, _put", "stand_in")
    return StandIn(made, part)
