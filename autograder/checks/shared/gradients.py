"""Expect that gradients pass through a method whose parts are stubs, on every path.

Each stub adds a bias to each of its outputs. The gradients of these biases are compared with those
of the same computation in the judge: a detached path changes at least one of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from autograder.checks.vocabulary import expect, fail
from autograder.protocol.remote import RemoteObject

Biases = dict[str, list[torch.Tensor]]
MISTAKE = "detached_in_forward"


def expect_gradients(
    model: RemoteObject,
    call: Callable[[], Any],
    run: Callable[[Biases], Sequence[torch.Tensor]],
    parts: Mapping[str, int],
    names: Sequence[str],
    *,
    where: str = "forward",
) -> None:
    """Expect that gradients reach every stub as they do in the right computation.

    Args:
        model: The model; its parts are stubs, and its outputs have the right values.
        call: Calls the tested method with `trace`; returns one output, or a tuple of them.
        run: Computes the right outputs in the judge, from the biases of the stubs.
        parts: The number of outputs of each stub, by the part's name; first the parts that are
            nearest to the outputs.
        names: The names of the outputs, in order.
        where: The name of the tested method, for the message.

    Raises:
        CheckFailed: If something on a path is detached.
    """
    shapes = [tuple(output.shape) for output in run(_biases(parts))]
    weights = [torch.randn(shape) for shape in shapes]
    if _wrong(model, call, run, parts, weights) is None:
        return
    # Find the first output and the first part between which the gradient is wrong.
    for name, position in zip(names, range(len(names)), strict=True):
        alone = [w if k == position else torch.zeros_like(w) for k, w in enumerate(weights)]
        found = _wrong(model, call, run, parts, alone)
        if found:
            part, arrives = found
            what = "only a part of the gradient" if arrives else "no gradient"
            fail(
                f"`{where}`: from `{name}`, {what} reaches `self.{part}`, so training cannot "
                "improve the model as it should. Is something detached, or computed without "
                "gradients?",
                MISTAKE,
            )
    expect(False, f"The gradients through `{where}` are wrong. Is something detached?", MISTAKE)


def _biases(parts: Mapping[str, int]) -> Biases:
    return {
        part: [torch.zeros((), requires_grad=True) for _ in range(count)]
        for part, count in parts.items()
    }


def _wrong(
    model: RemoteObject,
    call: Callable[[], Any],
    run: Callable[[Biases], Sequence[torch.Tensor]],
    parts: Mapping[str, int],
    weights: Sequence[torch.Tensor],
) -> tuple[str, bool] | None:
    """Return the first part with a wrong gradient, and whether any gradient reaches it; or None."""
    for part in parts:
        getattr(model, part).zero_grad()
    got = call()
    outputs = got if isinstance(got, tuple) else (got,)
    total = _total(outputs, weights)
    if total.requires_grad:
        total.backward()
    biases = _biases(parts)
    right = _total(run(biases), weights)
    right.backward()
    for part, own in biases.items():
        expected = [0.0 if bias.grad is None else float(bias.grad) for bias in own]
        arrived = [_gradient(model, part, number) for number in range(len(own))]
        if any(
            abs(got - wanted) > 1e-3 * max(1.0, abs(wanted))
            for got, wanted in zip(arrived, expected, strict=True)
        ):
            return part, any(arrived)
    return None


def _gradient(model: RemoteObject, part: str, number: int) -> float:
    """Return the gradient of one bias of a stub; 0 if there is none."""
    grad = getattr(getattr(model, part).biases, str(number)).grad.value()
    return float(grad) if isinstance(grad, torch.Tensor) and grad.numel() == 1 else 0.0


def _total(outputs: Sequence[Any], weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the weighted sum of all outputs that are tensors of the right shape."""
    return sum(
        (
            (weight * output).sum()
            for output, weight in zip(outputs, weights, strict=False)
            if isinstance(output, torch.Tensor) and output.shape == weight.shape
        ),
        torch.zeros(()),
    )
