"""Families of checks of one part of a model, such as its encoder or its decoder.

`Part` says how an assignment makes and calls the part. Each function here returns the checks of one
property; `part_checks` returns those that most assignments use.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import torch

from autograder.checks.shared.last_activation import (
    expect_no_plateau,
    expect_not_normalised,
    expect_signs_alike,
)
from autograder.checks.shared.parts import (
    expect_instance,
    expect_own_layers,
    expect_own_rows,
    expect_pixel_range,
    expect_trainable,
    fill,
    images,
    outputs_of,
)
from autograder.checks.vocabulary import CheckFailed, check, close, expect, expect_grad
from autograder.protocol.remote import Raised, Submission

# The gains of `fill`: the last activation reaches its limits, or each activation bends its inputs.
GAIN, IMAGE_GAIN = 8.0, 3.0
# A layer that keeps the size of its inputs, so that no activation is at its limit.
KEPT = 1.0
# A sigmoid's output in float32 gives its input back between these limits only.
LOGITS = 8.0
Reached = TypeVar("Reached")
Check = Callable[[Submission], None]
Checks = tuple[Check, ...]


def module_checks(module: ModuleType) -> Checks:
    """Return the checks that a module defines, in its order."""
    return tuple(value for value in vars(module).values() if hasattr(value, "check"))


def named_check(task: str, name: str, sentence: str, live: str = "") -> Callable[[Check], Check]:
    """Mark a function as a check of `task`, with a name and a sentence that are computed.

    Args:
        task: The task's id.
        name: The check's name.
        sentence: Its sentence.
        live: Its sentence in the student's notebook, if the check does something else there.
    """

    def mark(function: Check) -> Check:
        function.__name__, function.__doc__ = f"test_{name}", sentence
        return check(task, live=live)(function)

    return mark


@dataclass(frozen=True)
class Part:
    """A part of a model, and how checks make it and call it.

    Attributes:
        task: The task's id; the names of the checks begin with it.
        make: Makes the part, or a model that has it, in eval mode: (submission, *sizes). Batch
            normalisation cannot train on one image, and need not.
        call: Calls it and expects outputs of the right shape: (made, inputs, *sizes).
        inputs: Makes n inputs: (made, n, *sizes).
        small: The sizes to make it with if one choice is enough.
        shapes: Numbers of inputs and sizes for the test of its shapes: (n, *sizes) each.
        row: What one input is, such as "image".
        gives: The names of its outputs, the most important one first.
        argument: The name of its input in the student's code.
    """

    task: str
    make: Callable[..., Any]
    call: Callable[..., torch.Tensor | tuple[torch.Tensor, ...]]
    inputs: Callable[..., torch.Tensor]
    small: tuple[Any, ...] = ()
    shapes: tuple[tuple[Any, ...], ...] = ()
    row: str = "image"
    gives: tuple[str, ...] = ("code",)
    argument: str = "x"

    def outputs(self, made: Any, x: torch.Tensor, *sizes: Any) -> tuple[torch.Tensor, ...]:
        """Call the part; one output becomes a tuple of one."""
        return outputs_of(self.call(made, x, *sizes))

    def far(
        self,
        submission: Submission,
        scale: float,
        n: int,
        sizes: tuple[Any, ...] = (),
        gain: float = 0,
    ) -> tuple[torch.Tensor, ...]:
        """Make the part and call it with n inputs that differ as much as its contract allows.

        Args:
            submission: The submission.
            scale: The standard deviation of codes. Images have no other pixels than usual.
            n: The number of inputs.
            sizes: The sizes to make it with; () for the small sizes.
            gain: See `fill`; 0 keeps the part's own parameters.
        """
        sizes = sizes or self.small
        made, x = self.filled(submission, n, gain, sizes, scale)
        return self.outputs(made, x, *sizes)

    def filled(
        self,
        submission: Submission,
        n: int,
        gain: float,
        sizes: tuple[Any, ...] = (),
        scale: float = 0,
    ) -> tuple[Any, torch.Tensor]:
        """Make the part and n inputs, and set its weights if `gain` is not 0; see `fill`.

        Args:
            submission: The submission.
            n: The number of inputs.
            gain: See `fill`; 0 keeps the part's own parameters.
            sizes: The sizes to make it with; () for the small sizes.
            scale: See `far`; 0 for usual inputs.

        Returns:
            The pair (the part, its inputs).
        """
        sizes = sizes or self.small
        made = self.make(submission, *sizes)
        x = self.inputs(made, n, *sizes)
        x = self.spread(x, scale) if scale else x
        if gain:
            self.outputs(made, x, *sizes)  # a call sets the sizes of lazy layers
            fill(made, gain)
        return made, x

    def spread(self, x: torch.Tensor, scale: float) -> torch.Tensor:
        """Spread inputs: codes to this standard deviation, pixels to the limits of their range."""
        if self.row != "image":
            return scale * torch.randn_like(x)
        shade = torch.rand(len(x), *[1] * (x.dim() - 1))
        return torch.where(torch.rand_like(x) < shade, x.max(), x.min())


def part_checks(
    part: Part,
    shapes: str,
    ignored: str | None = None,
    detached: str | None = None,
    own_layers: str | None = None,
    heads: tuple[str, ...] = (),
) -> Checks:
    """Make the checks of a part's output shapes, and that each output depends on its own input.

    Args:
        part: The part.
        shapes: The sentence of the check of its shapes.
        ignored: The known mistake if the input is ignored.
        detached: The known mistake if no gradient passes; None: gradients are not tested.
        own_layers: The part's attribute in a made model, "" for the model itself. The check
            expects that no layer is used twice. None: this is not tested.
        heads: Further attributes of the model that belong to the part.
    """
    checks = *shape_checks(part, shapes), *row_checks(part, ignored, detached)
    return checks if own_layers is None else (*checks, *layer_checks(part, own_layers, heads))


def shape_checks(part: Part, sentence: str) -> Checks:
    """Make the check of the output shapes for several numbers of inputs and sizes."""

    @named_check(part.task, f"{part.task}_shape", sentence)
    def shape(submission: Submission) -> None:
        for n, *sizes in part.shapes:
            made = part.make(submission, *sizes)
            part.call(made, part.inputs(made, n, *sizes), *sizes)

    return (shape,)


def row_checks(part: Part, ignored: str | None = None, detached: str | None = None) -> Checks:
    """Make the check that each output depends on its own input only; see `part_checks`."""
    row, first = part.row, part.gives[0]
    ends = f"{row} alone and carries gradients." if detached else f"{row} alone."
    sentence = f"A different {row} returns a different {first}; each row depends on its own {ends}"

    def expect_rows(made_and_inputs: tuple[Any, torch.Tensor]) -> None:
        made, x = made_and_inputs
        if row == "image":
            x = x.clone()
            x[2] *= 0.3  # without a white pixel, its maximum is not that of the batch
        expect_own_rows(
            lambda x: part.outputs(made, x, *part.small),
            x,
            f"Every {row} has the same {first}: is `{part.argument}` used?",
            f"The {' or '.join(part.gives)} of one {row}",
            ignored,
        )
        if row == "code":
            expect_negative_codes_used(lambda z: part.outputs(made, z, *part.small)[0], x)
            expect_large_codes_used(lambda z: part.outputs(made, z, *part.small)[0], x)
        if detached:
            expect_part_gradients(part, made, x, part.small, detached)

    @named_check(part.task, f"{part.task}_uses_the_{row}", sentence)
    def rows(submission: Submission) -> None:
        either_weights(lambda gain: part.filled(submission, 6, gain), expect_rows, KEPT)
        # The next term of the loss compares with the same images.
        expect(
            row != "image" or not submission.changed,
            "Your code changes the images that it is given: one of its operations works in place. "
            "Compute new tensors, for example `x = x - 0.5` in place of `x -= 0.5`.",
            "input_changed",
        )

    return (rows,)


def expect_greys_used(output: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> None:
    """Expect that an output changes if the grey pixels of images x become as dark or bright as any.

    Pixels below 0.5 become the darkest one: no image leaves its range, which may exclude 1.
    """
    extreme = torch.where(x < 0.5, x.min(), x.max())
    expect(
        bool(x.frac().eq(0).all()) or not close(output(x), output(extreme), 1e-7),
        "Your code rounds the grey pixels of the images to black and white. Use them unchanged.",
        "image_rounded",
    )


def expect_negative_codes_used(
    output: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor
) -> None:
    """Expect that images differ for codes without positive numbers, made from codes z, (N, Z)."""
    images = output(-z.abs())
    expect(
        float(images.std(0).max()) > 1e-6,
        "All codes without positive numbers are decoded to the same image. Is an activation "
        "applied to the code before the first layer?",
        "activation_on_code",
    )


def expect_large_codes_used(
    output: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor
) -> None:
    """Expect that large codes of the same signs and other sizes have other images.

    A tanh and a sigmoid of them are the same numbers. A layer before an activation returns numbers
    near 0 too.

    Args:
        output: Decodes codes.
        z: Codes, (N, ...).

    Raises:
        CheckFailed: If the images are the same.
    """
    first, second = (output(z.sign() * (15 + 10 * torch.rand_like(z))) for _ in range(2))
    expect(
        float((first - second).abs().max()) > 1e-4,
        "Large codes with the same signs are decoded to the same image, whatever their numbers "
        "are. Is an activation applied to the code before the first layer?",
        "activation_on_code",
    )


def expect_part_gradients(
    part: Part, made: Any, x: torch.Tensor, sizes: tuple[Any, ...], mistake: str
) -> None:
    """Expect that gradients reach the part's input from each of its outputs.

    Args:
        part: The part.
        made: What `part.make` returned.
        x: Its inputs.
        sizes: The sizes that it was made with.
        mistake: The known mistake if no gradient arrives.

    Raises:
        CheckFailed: If no gradient arrives from one of the outputs.
    """
    x = x.detach().requires_grad_()
    if part.row == "image":
        expect_greys_used(lambda x: part.outputs(made, x, *sizes)[0].detach(), x.detach())
    for number, what in enumerate(part.gives):
        # A graph can be used for one gradient only: call the part for each output.
        output = part.outputs(made, x, *sizes)[number]
        (grad,) = expect_grad(output, {part.argument: x}, f"the {what}", mistake)
        # Another output that is not detached passes a gradient of zeros.
        expect(
            bool(grad.any()),
            f"No gradient reaches `{part.argument}` from the {what}. Is it detached?",
            mistake,
        )


def layer_checks(part: Part, path: str, heads: tuple[str, ...] = ()) -> Checks:
    """Make the check that no layer of a part is used twice, and that the part can be trained.

    Args:
        part: The part.
        path: Its attribute in a made model; "" for the model itself.
        heads: Further attributes of the model that belong to the part.
    """

    @named_check(
        part.task,
        f"{part.task}_layers_differ",
        f"Each layer of the {part.task} has its own weights.",
    )
    def layers(submission: Submission) -> None:
        made = part.make(submission, *part.small)
        # A call sets the sizes of lazy layers; other checks test its values.
        with contextlib.suppress(CheckFailed):
            part.call(made, part.inputs(made, 2, *part.small), *part.small)
        expect_own_layers(made, path)
        expect_trainable(made, (path, *heads))

    return (layers,)


def range_checks(part: Part, n: int = 64, models: int = 1, sizes: tuple[Any, ...] = ()) -> Checks:
    """Make the check that pixels decoded from extreme inputs cover [0, 1].

    They may cover it with the part's own weights, or with other weights; see `fill`.

    Args:
        part: The part.
        n: Inputs for each model.
        models: How many models to make. The random last layer of one may prefer one side.
        sizes: The sizes to make them with; () for the part's small sizes.
    """

    @named_check(
        part.task,
        f"{part.task}_range",
        "Decoded pixels are in [0, 1] and can be dark as well as bright.",
    )
    def pixel_range(submission: Submission) -> None:
        def reached(gain: float) -> torch.Tensor:
            return torch.cat([part.far(submission, 1e3, n, sizes, gain)[0] for _ in range(models)])

        def expect_range(pixels: torch.Tensor) -> None:
            expect_pixel_range(pixels)
            expect_no_plateau(pixels)

        either_weights(reached, expect_range)
        expect_not_normalised(part.far(submission, 1, n, sizes, 0.01)[0])
        # A sigmoid of moderate values is never exactly 0 or 1; a clamp of half of them is.
        pixels = part.far(submission, 1, n, sizes, 1.0)[0]
        share = float(((pixels == 0) | (pixels == 1)).double().mean())
        expect(
            share < 0.2,
            f"{share:.0%} of the decoded pixels are exactly 0 or 1, also for small weights: values "
            "outside [0, 1] are cut off, and pass no gradient. Which last activation never reaches "
            "its limits?",
            "clamped",
        )
        expect_nothing_around_sigmoid(part, submission, n, sizes)

    return (pixel_range,)


def expect_nothing_around_sigmoid(
    part: Part, submission: Submission, n: int, sizes: tuple[Any, ...] = ()
) -> None:
    """Expect no leaky activation before a decoder's sigmoid, and no layer after it.

    Args:
        part: The decoder.
        submission: The submission.
        n: The number of inputs.
        sizes: The sizes to make it with; () for its small sizes.

    Raises:
        CheckFailed: If one of them is there.
    """
    sizes = sizes or part.small
    made, x = part.filled(submission, n, KEPT, sizes, 1)
    expect_signs_alike(made, lambda: logits_of(part.outputs(made, x, *sizes)[0]))
    pixels = part.outputs(made, x, *sizes)[0]
    if bool(((pixels < 0) | (pixels > 1)).any()):
        return  # no sigmoid at the end
    made.train()
    trained = part.outputs(made, x, *sizes)[0]
    made.eval()
    low, high = float(trained.min()), float(trained.max())
    expect(
        low >= 0 and high <= 1,
        f"In training mode, decoded pixels range from {low:.3g} to {high:.3g}; in eval mode they "
        "are in [0, 1]. Which layer after the sigmoid changes them, such as a normalisation or a "
        "dropout? The sigmoid should be the last one.",
        "range_in_training",
    )


def either_weights(
    reached: Callable[[float], Reached],
    expected: Callable[[Reached], None],
    gain: float = GAIN,
) -> None:
    """Expect something of a part, with its own weights or with other weights.

    Args:
        reached: Computes what is tested; its argument is the gain of `fill`, 0 for the own weights.
        expected: Raises `CheckFailed` if it is not as expected.
        gain: The gain of the other weights.

    Raises:
        CheckFailed: If both fail; the message is about the own weights.
    """
    try:
        expected(reached(0))
    except CheckFailed:
        try:
            expected(reached(gain))
        except (CheckFailed, Raised):
            pass
        else:
            return
        raise


def expect_both_signs(out: torch.Tensor, name: str) -> None:
    """Expect that an encoder's output has negative and positive values."""
    expect(
        bool((out < 0).any() and (out > 0).any()),
        f"{name} has values of one sign only: a mean and a logarithm may have any sign. "
        "Is there an activation or an exponential after its layer?",
        "activation_on_head",
    )


def head_checks(part: Part, sizes: tuple[Any, ...], same: str | None, n: int = 256) -> Checks:
    """Make the check that an encoder's two outputs have both signs and different layers.

    Args:
        part: The encoder.
        sizes: The sizes to make it with: a large code, so that one sign only is not an accident.
        same: The known mistake if both outputs are from one layer.
        n: The number of inputs.
    """

    @named_check(
        part.task,
        "heads_reach_both_signs",
        f"Both {' and '.join(part.gives)} can be negative as well as positive, and each has its "
        "own layer.",
    )
    def heads(submission: Submission) -> None:
        # With Gaussian weights and no biases, each output has either sign with probability ½: 40
        # latents of two right heads have one sign with a probability below 4e-12.
        try:
            outputs = part.far(submission, 1, n, sizes, GAIN)
        except CheckFailed:
            # An exponential of such large numbers is not finite.
            outputs = part.far(submission, 1, n, sizes, 1.0)
        for name, out in zip(part.gives, outputs, strict=True):
            expect_both_signs(out, name)
            # A right head has values far above 1 for these weights.
            expect(
                float(out.abs().max()) > 1.0001 or float((out.abs() > 0.99).double().mean()) < 0.05,
                f"{name} is never outside −1 and 1, and often at these limits: a mean and a "
                "logarithm may have any value. Is there an activation, such as a tanh, after its "
                "layer?",
                "activation_on_head",
            )
        expect(
            not torch.equal(*outputs),
            f"{' and '.join(part.gives)} have the same values: they should be the outputs of two "
            "different layers.",
            same,
        )

    return (heads,)


def nonlinearity_checks(
    part: Part,
    scale: float,
    before: Callable[[torch.Tensor], torch.Tensor] = lambda out: out,
    tolerance: float = 1e-4,
) -> Checks:
    """Make the check that the part is not a linear map.

    Args:
        part: The part.
        scale: Standard deviation of codes. Images keep their range; larger weights replace them.
        before: Computes the input of the last activation from its output, if there is one.
        tolerance: The largest absolute difference that counts as linear.
    """

    def bend(submission: Submission, gain: float) -> tuple[torch.Tensor, ...]:
        # With larger weights, codes of their usual size are enough.
        spread = scale if part.row == "image" or not gain else 1
        made, x = part.filled(submission, 40, gain, scale=spread)
        a, b = x[:20], x[20:]
        outputs = [part.outputs(made, x, *part.small)[0] for x in ((a + b) / 2, a, b)]
        # `before` knows the usual last activation only, whose values are in [0, 1].
        usual = all(bool(((out >= 0) & (out <= 1)).all()) for out in outputs)
        return tuple(before(out) if usual else out for out in outputs)

    def expect_bent(values: tuple[torch.Tensor, ...]) -> None:
        known = torch.isfinite(torch.stack(values)).all(0)
        if not bool(known.any()):
            return  # only black and white: another check reports it
        middle, left, right = (value[known] for value in values)
        size = float(torch.cat([left.abs(), torch.ones(1)]).max())
        expect(
            not torch.allclose(middle, (left + right) / 2, atol=tolerance * size),
            f"There is no activation between the layers of the {part.task}: together they are one "
            "linear map. Add an activation such as ReLU between two layers.",
            "no_activation",
        )

    @named_check(
        part.task,
        f"{part.task}_is_not_linear",
        f"There are activations between the layers of the {part.task}.",
    )
    def not_linear(submission: Submission) -> None:
        # Images are too small to bend their features much; larger weights replace the own ones.
        if part.row == "image":
            # An exponential of large numbers may not be finite: then smaller weights are tried.
            for gain in (IMAGE_GAIN, IMAGE_GAIN / 2):
                with contextlib.suppress(CheckFailed):
                    values = bend(submission, gain)
                    break
            else:
                bend(submission, 0)  # raises if the part fails with its own weights too
                return
            expect_bent(values)
        else:
            either_weights(lambda gain: bend(submission, gain), expect_bent, KEPT)

    return (not_linear,)


def logits_of(pixels: torch.Tensor) -> torch.Tensor:
    """Return the inputs of a sigmoid from its outputs; NaN where rounding has changed them."""
    logits = pixels.double().logit()
    return torch.where(logits.abs() < LOGITS, logits, torch.nan)


def trained_tensors(groups: Any) -> list[torch.Tensor]:
    """Return the tensors that an optimizer changes, from the value of its `param_groups`.

    Raises:
        CheckFailed: If the value is not the one of an optimizer of PyTorch.
    """
    items = groups if isinstance(groups, tuple) else (groups,)
    found = [group.get("params") if isinstance(group, dict) else None for group in items]
    known = [one for one in found if isinstance(one, tuple)]
    tensors = [p for one in known for p in one if isinstance(p, torch.Tensor)]
    expect(
        len(known) == len(found) and len(tensors) == sum(map(len, known)),
        "`optimizer.param_groups` is not a list of groups with `params`. Use an optimizer of "
        "`torch.optim`.",
    )
    return tensors


def budget_checks(
    budget: int,
    parts: Mapping[str, str],
    inputs: Callable[[], tuple[torch.Tensor, ...]] = lambda: (images(2),),
) -> Checks:
    """Make the check that the notebook's `model` has at most `budget` trainable parameters.

    The parameters of the optimizer count too, even if they are not in the model.

    Args:
        budget: The largest allowed number of trainable parameters.
        parts: Attributes of the model that must not be frozen, and the task that tests each. A
            method, or a module without parameters, uses parameters of the model.
        inputs: Makes inputs of the model; a call gives lazy layers their sizes.
    """
    allowed = f"{budget / 1e6:g} million" if budget >= 1e6 else f"{budget:,}"

    @named_check(
        "parameter_budget",
        "parameter_budget",
        f"Your `model` has at most {allowed} trainable parameters.",
    )
    def within_budget(submission: Submission) -> None:
        model = submission.object("model")
        expect_instance(model, "model")
        model.give_sizes(*inputs())
        parameters = model.parameters()
        if not parameters:
            raise CheckFailed("`model` has no trainable parameters yet.", todo=True)
        for part, task in parts.items():
            if task in submission.failed:
                continue  # one error costs one task
            # A layer may have two names, and a part may be a method: ask the part itself.
            own = getattr(model, part).own_parameters()
            expect(
                own is None or bool(own),
                f"`model.{part}` has no trainable parameters. Is `requires_grad` off?",
            )
        # Without an optimizer nothing can be trained, which costs the points of the training.
        trained: list[torch.Tensor] = []
        with contextlib.suppress(Raised):
            trained = trained_tensors(submission.object("optimizer").param_groups.value())
        count = max(sum(p.numel() for p in parameters.values()), sum(p.numel() for p in trained))
        expect(
            count <= budget,
            f"Your model has {count:,} trainable parameters; the budget is {budget:,}. Which layer "
            "has most of them? A linear layer from A to B features has A·B + B, a convolution "
            "with k × k kernels from A to B channels A·B·k² + B.",
            "over_budget",
        )

    return (within_budget,)
