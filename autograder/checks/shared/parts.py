"""What is expected of the parts of any model: range, own layers, own rows, inputs unchanged."""

import itertools
from collections.abc import Callable

import torch

from autograder.checks.vocabulary import expect, expect_close
from autograder.protocol.remote import Raised, RemoteObject, Submission


def images(n: int, channels: int = 1, size: int = 28) -> torch.Tensor:
    """Make n images, (n, channels, size, size)."""
    return torch.rand(n, channels, size, size)


def expect_pixel_range(pixels: torch.Tensor) -> None:
    """Expect that pixels decoded from extreme codes fill [0, 1] and never leave it.

    Args:
        pixels: Of many codes far from 0, any shape.

    Raises:
        CheckFailed: If they leave it, or black or white is out of reach.
    """
    low, high = float(pixels.min()), float(pixels.max())
    expect(
        not -1.0001 <= low < -0.5 or high > 1.0001,
        f"Decoded pixels run from {low:.3g} to {high:.3g}, the range of a tanh. The images' "
        "pixels lie between 0 and 1: can your last activation give just those?",
        "tanh_output",
    )
    expect(
        low >= 0 and high <= 1,
        f"Decoded pixels run from {low:.3g} to {high:.3g}; the images' lie between 0 and 1. "
        "What does your last layer allow?",
        "no_sigmoid",
    )
    # A second sigmoid stays above ½ too; it never exceeds the sigmoid of 1.
    expect(
        low < 0.45 or high < 0.74,
        f"Decoded pixels run from {low:.2f} to {high:.2f}: black is out of reach. Is there an "
        "activation right before the sigmoid that keeps negative values from it?",
        "relu_before_sigmoid",
    )
    expect(
        low < 0.45 and high > 0.55,
        f"Decoded pixels stay between {low:.2f} and {high:.2f}, however extreme the code: black "
        "or white is out of reach. Is the sigmoid applied once, and last?",
        "squashed_twice",
    )


def expect_own_layers(model: RemoteObject, part: str = "") -> None:
    """Expect that no two layers of a part are one and the same.

    Args:
        model: The model.
        part: The part's attribute; "" for the model itself.
    """
    try:
        state = getattr(model, f"{part}.state_dict".lstrip("."))()
    except Raised:
        return  # A part that is no module has no layers to share.
    # A parameter is listed once, under one name. So two with names of their own are two, and may
    # begin with the same numbers, such as those of an identity.
    own = {name.removeprefix(f"{part}.") for name in model.parameters()}
    weights = [
        (name, w)
        for name, w in (state.items() if isinstance(state, dict) else ())
        if isinstance(w, torch.Tensor) and w.is_floating_point() and w.dim() > 1
    ]
    for (first, weight), (second, other) in itertools.combinations(weights, 2):
        # Fresh weights are random: two layers of their own are never equal.
        expect(
            not torch.equal(weight, other)
            or float(weight.std()) == 0
            or {first, second} <= own
            or _without_places(first) != _without_places(second),
            f"Two layers of `{part or model.kind}` have the same weights: they are one layer that "
            "is used twice. Multiplying a list copies references; make each layer anew.",
            "shared_layers",
        )


def _without_places(name: str) -> list[str]:
    """A parameter's name less its places in lists; a layer that has two names is used once."""
    return [step for step in name.split(".") if not step.isdigit()]


def outputs_of(got: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Return the outputs of a part; one output becomes a tuple of one."""
    return (got,) if isinstance(got, torch.Tensor) else got


def expect_own_rows(
    part: Callable[[torch.Tensor], torch.Tensor | tuple[torch.Tensor, ...]],
    x: torch.Tensor,
    ignored: str,
    row: str,
    mistake: str | None = None,
) -> None:
    """Expect that the first output depends on the input, and each output's row on its row alone.

    Args:
        part: Computes one or more (N, ...) from (N, ...), in eval mode.
        x: At least three rows.
        ignored: The message when every row gets the same output.
        row: What a row is, for the message when a batch mixes its rows.
        mistake: The recognised mistake's name when the input is ignored.

    Raises:
        CheckFailed: If it doesn't.
    """
    batch = outputs_of(part(x))
    expect(float(batch[0].std(0).max()) > 1e-6, ignored, mistake)
    for alone, out in zip(outputs_of(part(x[2:3])), batch, strict=True):
        expect_close(alone, out[2:3], f"{row} alone, and in a batch,")


def expect_inputs_kept(submission: Submission, name: str, inputs: dict[str, torch.Tensor]) -> None:
    """Expect that calling a function leaves the tensors that it is given as they were.

    Args:
        submission: Whose function.
        name: Its global name.
        inputs: What it is called with, in order, by name.

    Raises:
        CheckFailed: If it changes one of them.
    """
    # The inputs live beside the function, or a change of them could not be seen from here.
    held = {key: submission.hold(value) for key, value in inputs.items()}
    submission.object(name)(*held.values())
    for key, before in inputs.items():
        expect(
            torch.equal(held[key].value(), before),
            f"After a call of `{name}`, the caller's own `{key}` holds other numbers. Which of "
            "your operations works in place?",
            "input_changed",
        )


def new_model(submission: Submission, name: str, *args: float) -> RemoteObject:
    """Make a model in eval mode: batch normalisation cannot train on one image."""
    model = submission.new(name, *args)
    model.eval()
    return model


def model_or_bare(
    submission: Submission, name: str, *args: float, **attributes: float
) -> RemoteObject:
    """Make a model for its methods alone: one whose `__init__` fails will do.

    Args:
        submission: Whose class.
        name: The class.
        args: For `__init__`.
        attributes: Set on an instance made without it.
    """
    try:
        return submission.new(name, *args)
    except Raised:
        return submission.bare(name, **attributes)
