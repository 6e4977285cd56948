"""Confirmation: is a trained model as good on images that its code has never seen?

What a submission computed during training is not trusted. The values of its trained model, and
nothing else, go to fresh workers, which run the same cells and have seen no image. One worker
encodes and the other one decodes, so nothing but the code reaches the decoder.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch

from autograder.checks.vocabulary import CheckFailed, expect
from autograder.protocol.remote import Raised, RemoteObject
from autograder.records.text import printable

# Values that are no parameters, such as the statistics of batch normalisation.
SPARE_SHARE, SPARE_VALUES = 0.05, 2000
VALUE_BYTES = 4

State = dict[str, torch.Tensor]
ANOTHER_MODEL = (
    "Your cells make another model when they run again: {}. The trained values do not fit it. Does "
    "its structure change during training?"
)


class Apart:
    """A trained model in two workers, with the interface of a model.

    Args:
        encoding: The model in the worker that sees the images.
        decoding: The model in the worker that decodes; it never sees an image.
        parts: The names of the parts that are taken from `decoding`.
    """

    def __init__(self, encoding: RemoteObject, decoding: RemoteObject, parts: Sequence[str]):
        self.encoding, self.decoding, self.parts = encoding, decoding, tuple(parts)

    def __getattr__(self, name: str) -> RemoteObject:
        return getattr(self.decoding if name in self.parts else self.encoding, name)

    def __call__(self, *args: Any) -> Any:
        """Call the model in the worker that sees the images."""
        return self.encoding(*args)

    def given(self, part: str, *args: Any) -> Any:
        """Call the model in the worker that sees the images; return the inputs of a part."""
        return self.encoding.given(part, *args)

    def eval(self) -> None:
        """Set both models to eval mode."""
        self.encoding.eval()
        self.decoding.eval()

    def train(self) -> None:
        """Set both models to training mode."""
        self.encoding.train()
        self.decoding.train()


def trained_state(model: RemoteObject, budget: int) -> State:
    """Return the values of a trained model, by name.

    Args:
        model: The model.
        budget: The largest allowed number of trainable parameters; 0 for no limit.

    Raises:
        CheckFailed: If the state is larger than the budget allows.
    """
    state = model.state()
    if not isinstance(state, dict) or not all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        raise CheckFailed("The state of the trained model does not consist of tensors only.")
    # A layer with two names is in the state twice: equal values count once. In units of 4 bytes, so
    # that a wider type cannot hold more.
    sizes = {hashlib.sha256(value.numpy()).digest(): value.nbytes for value in state.values()}
    count = sum(-(-size // VALUE_BYTES) for size in sizes.values())
    spare = int(budget * SPARE_SHARE) + SPARE_VALUES
    expect(
        not budget or count <= budget + spare,
        f"The trained model's state has {count:,} values, its buffers included. The budget is "
        f"{budget:,} trainable parameters, and {spare:,} more values for buffers such as the "
        "statistics of batch normalisation. Which buffers are so large?",
        "over_budget",
    )
    return state


def apart(
    encoding: RemoteObject, decoding: RemoteObject, state: State, parts: Sequence[str]
) -> Apart:
    """Put a trained state into two fresh models; see `Apart`.

    Raises:
        CheckFailed: If the state does not fit the models, which the same cells made.
    """
    state = fitting(state, encoding)
    for model in (encoding, decoding):
        try:
            model.load_state(state)
        except Raised as error:
            raise CheckFailed(ANOTHER_MODEL.format(error)) from error
    return Apart(encoding, decoding, parts)


def fitting(state: State, new: RemoteObject) -> State:
    """Expect the names, shapes and types of a new model; return the state in its order.

    So nothing but values leaves the worker that has trained: a name, a shape or an order could
    contain more of them.

    Args:
        state: The trained state.
        new: The model in a fresh worker. Only its lazy layers have no shape yet.

    Raises:
        CheckFailed: If a name, a shape or a type differs.
    """
    untrained = new.state()
    if not isinstance(untrained, dict):
        raise CheckFailed("The state of a new model does not consist of tensors only.")
    order = dict.fromkeys((*untrained, *sorted(new.lazy_names())))
    for name, value in state.items():
        start = untrained.get(name)
        same = isinstance(start, torch.Tensor) and (start.shape, start.dtype) == (
            value.shape,
            value.dtype,
        )
        expect(
            same or (name in order and name not in untrained),
            ANOTHER_MODEL.format(
                f"`{printable(name, 60)}` of shape {tuple(value.shape)} is not in a new model"
            ),
        )
    return {name: state[name] for name in order if name in state}
