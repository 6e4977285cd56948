"""Expectations for the parts of any model: range, own layers, own rows, inputs unchanged."""

import contextlib
import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from autograder.checks.shared.last_activation import expect_black_reached
from autograder.checks.shared.repeats import expect_same_again
from autograder.checks.vocabulary import close, difference, expect, kind
from autograder.protocol.remote import Raised, RemoteObject, Submission

# The largest scale of a residual block that counts as switched off at the start.
SMALL_SCALE = 0.01


def images(n: int, channels: int = 1, size: int = 28) -> torch.Tensor:
    """Make n random images, (n, channels, size, size)."""
    return torch.rand(n, channels, size, size)


def expect_no_softmax(pixels: torch.Tensor) -> None:
    """Expect that the pixels of each image, (N, ...), do not always add up to 1."""
    sums = pixels.flatten(1).sum(1)
    expect(
        not bool(((sums - 1).abs() < 1e-3).all()),
        "The pixels of every decoded image add up to 1, as after a softmax. Each pixel has a value "
        "of its own in [0, 1]. Which last activation allows that?",
        "softmax_output",
    )
    expect(
        float(pixels.min()) < float(pixels.max()),
        f"Every decoded pixel is {float(pixels.max()):.3g}, for every code. Over which axis does "
        "your last step work?",
        "softmax_output",
    )


def expect_not_cut_off(pixels: torch.Tensor) -> None:
    """Expect that pixels are not cut off far from black or from white."""
    for limit, colour in ((float(pixels.min()), 0.0), (float(pixels.max()), 1.0)):
        many = float((pixels == limit).double().mean()) >= 0.01
        # The sigmoid of −1 and of 1, the limits of a tanh; an ELU has one of them.
        expect(
            not many or min(abs(limit - 0.2689), abs(limit - 0.7311)) > 5e-4,
            f"Decoded pixels are never {'darker' if colour == 0 else 'brighter'} than {limit:.3g}, "
            "the sigmoid of 1 or −1. Is there an activation right before the sigmoid, such as a "
            "tanh or an ELU? Remove it.",
            "activation_before_sigmoid",
        )
        # A sigmoid of extreme codes is often exactly black or white, and at no other value.
        expect(
            abs(limit - colour) < 0.02 or not many,
            f"Many decoded pixels are exactly {limit:.3g}: they are cut off there. Black and white "
            "should be possible.",
            "pixels_cut_off",
        )


def expect_pixel_range(pixels: torch.Tensor) -> None:
    """Expect that pixels decoded from extreme codes cover [0, 1] and stay inside it.

    Args:
        pixels: Decoded from many codes far from 0, (N, ...).

    Raises:
        CheckFailed: If a pixel is outside [0, 1], or black or white cannot be reached.
    """
    expect_no_softmax(pixels)
    low, high = float(pixels.min()), float(pixels.max())
    expect(
        not -1.0001 <= low < -0.5 or high > 1.0001,
        f"Decoded pixels range from {low:.3g} to {high:.3g}, the range of a tanh. The pixels of "
        "the images are between 0 and 1. Which last activation has this range?",
        "tanh_output",
    )
    expect(
        low >= 0 and high <= 1,
        f"Decoded pixels range from {low:.3g} to {high:.3g}; those of the images are between 0 "
        "and 1. What range does your last layer allow?",
        "no_sigmoid",
    )
    expect_black_reached(low, high)
    expect(
        low < 0.45 and high > 0.55,
        f"Decoded pixels stay between {low:.2f} and {high:.2f}, even for extreme codes: black or "
        "white cannot be reached. Is the sigmoid applied only once, as the last step?",
        "squashed_twice",
    )
    expect_not_cut_off(pixels)


def fill(made: RemoteObject, gain: float) -> None:
    """Set weights to Gaussian numbers and biases to 0, whatever a model starts with.

    What a part can compute depends on its layers, not on how they are initialized. A layer may
    start with weights of 0, and a residual block with a scale near 0.

    Args:
        made: A module.
        gain: A layer multiplies the size of its inputs by about this number.
    """
    filled = {}
    for name, parameter in made.parameters().items():
        if parameter.dim() > 1:
            inputs = max(math.prod(parameter.shape[1:]), 1)  # a layer may have no outputs
            filled[name] = gain / math.sqrt(inputs) * torch.randn_like(parameter)
        elif "bias" in name.rpartition(".")[2]:
            filled[name] = torch.zeros_like(parameter)
        elif not parameter.abs().gt(SMALL_SCALE).any():
            filled[name] = torch.full_like(parameter, 0.5)  # 1 would make a PReLU linear
    # A model with its own `load_state_dict` keeps its parameters.
    with contextlib.suppress(Raised):
        made.load_state_dict(filled, strict=False)


def expect_own_layers(model: RemoteObject, part: str = "") -> None:
    """Expect that all layers of a part are different layers.

    Args:
        model: The model.
        part: The part's attribute; "" for the model itself.
    """
    try:
        state = getattr(model, f"{part}.state_dict".lstrip("."))()
    except Raised:
        return  # A part that is not a module has no layers to share.
    # A parameter is listed once, under one name. Two with different names are different, even if
    # they start with the same numbers, such as those of an identity.
    own = {name.removeprefix(f"{part}.") for name in model.parameters()}
    weights = [
        (name, w)
        for name, w in (state.items() if isinstance(state, dict) else ())
        if isinstance(w, torch.Tensor) and w.is_floating_point() and w.dim() > 1
    ]
    # Equal weights have one digest, so the time is proportional to their number.
    groups = defaultdict(list)
    for name, weight in weights:
        # New weights are random: those of two different layers are never equal.
        if weight.numel() > 1 and torch.isfinite(weight).all() and weight.min() < weight.max():
            groups[_without_places(name), _digest(weight)].append(name)
    for names in groups.values():
        expect(
            len(names) == 1 or own.issuperset(names),
            f"Two layers of `{part or model.kind}` have the same weights: they are one layer that "
            "is used twice. Multiplying a list copies references. Create each layer separately.",
            "shared_layers",
        )


def is_frozen(part: RemoteObject) -> bool:
    """Return whether a part is a module with parameters, none of which can be trained."""
    if part.own_parameters() != {}:
        return False
    try:
        return bool(part.state_dict())
    except Raised:
        return False  # no module, such as a part that has not been started


def expect_trainable(model: RemoteObject, names: Sequence[str]) -> None:
    """Expect that none of these parts of a model is frozen.

    Args:
        model: The model.
        names: The parts' attributes; "" for the model itself.

    Raises:
        CheckFailed: If none of the parameters of a part requires gradients.
    """
    for name in names:
        part = getattr(model, name) if name else model
        expect(
            not is_frozen(part),
            f"`{name or model.kind}` is frozen: none of its parameters requires gradients, so "
            "training cannot change it. Do not use `requires_grad_(False)` here.",
            "frozen",
        )


def _without_places(name: str) -> tuple[str, ...]:
    """Return a parameter's name without list indices; a layer with two names is used once."""
    return tuple(step for step in name.split(".") if not step.isdigit())


def _digest(weight: torch.Tensor) -> tuple[object, ...]:
    """Return a key that two weights share only if their dtype, shape and values are equal."""
    data = hashlib.blake2b(weight.detach().contiguous().numpy().tobytes()).digest()
    return weight.dtype, weight.shape, data


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
    """Expect that the first output depends on the input, and each output row on its own row only.

    Args:
        part: Computes one or more (N, ...) from (N, ...), in eval mode.
        x: At least three rows.
        ignored: The message if every row gets the same output.
        row: What a row is, for the message if a batch mixes its rows.
        mistake: The name of the known mistake if the input is ignored.

    Raises:
        CheckFailed: If one of the two is not true.
    """
    batch, single = outputs_of(part(x)), outputs_of(part(x[2:3]))
    for out in (*batch, *single):
        expect(
            isinstance(out, torch.Tensor) and out.dim() > 0 and out.numel() > 0,
            f"Expected one row of numbers for each of {len(x)} inputs, got {kind(out)}.",
        )
    expect(
        len(batch) == len(single),
        f"One input gives {len(single)} outputs, and {len(x)} inputs give {len(batch)}.",
    )
    expect(float(batch[0].std(0).max()) > 1e-6, ignored, mistake)
    for number, (alone, out) in enumerate(zip(single, batch, strict=True)):
        if not close(alone, out[2:3]):
            again = outputs_of(part(x[2:3]))[number]
            expect(
                close(again, alone),
                f"{row} is different at each call, also in eval mode. Does your code add noise, or "
                "sample?",
                "random_part",
            )
        expect(
            close(alone, out[2:3]),
            f"{row} changes with the other rows of its batch: expected "
            f"{difference(alone, out[2:3])}. Does your code use a mean, a maximum or a norm of the "
            "whole batch, or mix its axes?",
            "rows_mixed",
        )


def expect_inputs_kept(submission: Submission, name: str, inputs: dict[str, torch.Tensor]) -> None:
    """Expect that a function does not change the tensors that it is called with.

    Args:
        submission: The submission that defines the function.
        name: Its global name.
        inputs: The arguments, in order, by name.

    Raises:
        CheckFailed: If it changes one of them.
    """
    expect_call_keeps(submission, submission.object(name), name, inputs)


def expect_of_arguments_alone(
    submission: Submission, call: RemoteObject, name: str, inputs: Mapping[str, Any]
) -> None:
    """Expect that a call depends on its arguments alone, and does not change them.

    The arguments are those of `expect_call_keeps`.

    Raises:
        CheckFailed: If a second call returns another value, or an argument has changed.
    """
    expect_same_again(call, name, *inputs.values())
    expect_call_keeps(submission, call, name, inputs)


def expect_call_keeps(
    submission: Submission,
    call: RemoteObject,
    name: str,
    inputs: Mapping[str, Any],
    tested: Sequence[str] | None = None,
) -> None:
    """Expect that a call does not change its tensors; see `expect_inputs_kept`.

    Args:
        submission: The submission.
        call: Its function or method.
        name: The name of the function, for the message.
        inputs: The arguments, in order, by name.
        tested: The names of the tensors that are compared; None for all.

    Raises:
        CheckFailed: If it changes one of them.
    """
    # The inputs are stored in the worker; otherwise the judge could not see a change.
    tensors = {key: value for key, value in inputs.items() if isinstance(value, torch.Tensor)}
    held = {key: submission.hold(value) for key, value in tensors.items()}
    call(*(held.get(key, value) for key, value in inputs.items()))
    for key, before in tensors.items():
        if tested is not None and key not in tested:
            continue
        after = held[key].value()
        same = isinstance(after, torch.Tensor) and after.dtype == before.dtype
        expect(
            same and torch.equal(after, before),
            f"After a call of `{name}`, the caller's `{key}` contains different numbers. Which of "
            "your operations works in place?",
            "input_changed",
        )


def expect_mode_kept(model: RemoteObject, name: str, *, training: bool = True) -> None:
    """Expect that a call has not switched a model to the other mode.

    Args:
        model: The model.
        name: What was called, for the message.
        training: Whether it was in training mode before the call.
    """
    now = model.training.value()
    expect(
        not training or now is not False,
        f"`{name}` switches the model to eval mode. In training, BatchNorm then uses the wrong "
        "statistics, and dropout does nothing. The code that calls it chooses the mode.",
        "mode_changed",
    )
    expect(
        training or now is not True,
        f"`{name}` switches the model to training mode. When the model is evaluated, BatchNorm "
        "then uses the batch's own statistics. The code that calls it chooses the mode.",
        "mode_changed",
    )


def expect_instance(made: RemoteObject, name: str) -> None:
    """Expect that a global of the notebook is an instance, and not a class.

    Raises:
        CheckFailed: If it is a class.
    """
    expect(
        made.kind != "type",
        f"`{name}` is a class. Call the class, so that `{name}` is an instance of it.",
        "class_not_made",
    )


def new_model(submission: Submission, name: str, *args: float) -> RemoteObject:
    """Make a model in eval mode: batch normalisation cannot train on one image."""
    model = submission.new(name, *args)
    model.eval()
    return model


def model_or_bare(
    submission: Submission, name: str, *args: float, **attributes: float
) -> RemoteObject:
    """Make a model to call its methods only; its `__init__` may fail.

    Args:
        submission: The submission that defines the class.
        name: The class.
        args: The arguments of `__init__`.
        attributes: Attributes to set on an instance that is made without `__init__`.
    """
    try:
        return submission.new(name, *args)
    except Raised:
        return submission.bare(name, **attributes)
