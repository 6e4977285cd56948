"""Checks of a VQ-VAE's residual blocks, encoder and decoder."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from autograder.checks.shared.networks import Checks, Part, either_weights, named_check, part_checks
from autograder.checks.shared.parts import new_model
from autograder.checks.vocabulary import (
    Mistake,
    check,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
)
from autograder.protocol.remote import RemoteObject, Submission


def expect_registered(count: int, what: str) -> None:
    """Expect that a block or a stack has parameters."""
    expect(
        count > 0,
        f"The {what} has no trainable parameters. PyTorch does not find layers in a plain "
        "Python list. Use `nn.ModuleList` or `nn.Sequential`.",
        "layers_not_registered",
    )


# In place of 0: weight normalization divides a weight by its length.
TINY = 1e-9


def with_weights(block: RemoteObject, x: torch.Tensor, scale: float) -> RemoteObject:
    """Call a block with `x`, then fill its parameters with Gaussian numbers of this scale."""
    block(x)
    parameters = block.parameters()
    expect_registered(len(parameters), "block")
    filled = {name: scale * torch.randn_like(p) for name, p in parameters.items()}
    block.load_state_dict(filled, strict=False)
    block.eval()
    return block


def changes_its_input(submission: Submission, block: RemoteObject, x: torch.Tensor) -> bool:
    """Return whether a call of a block with `x` leaves other numbers in `x`."""
    held = submission.hold(x)
    block(held)
    after = held.value()
    return not isinstance(after, torch.Tensor) or not torch.equal(after, x)


def ends_in_relu(submission: Submission, x: torch.Tensor) -> bool:
    """Return whether a block with a large f has no output below 0, and some of 0 where x is above.

    The second does not occur if the block adds a nonnegative f(x) to relu(x).
    """
    got = with_weights(submission.new("Residual", 6, 6, 5), x, 2.0)(x)
    if not isinstance(got, torch.Tensor) or got.shape != x.shape:
        return False
    return not bool((got < 0).any()) and bool((got[x > 0] == 0).any())


PAST = (
    Mistake(
        "skip_scaled",
        "The sum of the input and f(x) is divided by 2. Return the sum itself.",
        lambda x: x / 2,
    ),
    Mistake(
        "skip_missing",
        "The block outputs f(x) only. Add the input x.",
        lambda x: torch.zeros_like(x),
    ),
    Mistake("skip_doubled", "The input is added twice. Add it once.", lambda x: 2 * x),
    Mistake("skip_subtracted", "The input is subtracted. Add it.", lambda x: -x),
)


ENDS = tuple(
    Mistake(
        "stack_without_relu",
        f"`ResidualStack` ends in another activation, {name}. It should end in a ReLU.",
        activation,
    )
    for name, activation in (
        ("a sigmoid", torch.sigmoid),
        ("a tanh", torch.tanh),
        ("a leaky ReLU", F.leaky_relu),
        ("a GELU", F.gelu),
        ("an ELU", F.elu),
        ("a softplus", F.softplus),
    )
)


HIDDENS, RESIDUAL_HIDDENS = 16, 4
NO_STACK = """
import torch as _torch
class ResidualStack(_torch.nn.Module):
    def __init__(self, *sizes):
        super().__init__()
    def forward(self, x):
        return x
del _torch
"""


def new_network(
    submission: Submission,
    name: str,
    channels: int,
    layers: int = 1,
    inside: int = RESIDUAL_HIDDENS,
) -> RemoteObject:
    """Make a small encoder or decoder, without residual blocks if these have failed."""
    if "residual" in submission.failed and not submission.in_notebook:
        submission.run(NO_STACK, "no_stack")
    return new_model(submission, name, channels, HIDDENS, layers, inside)


def count(made: RemoteObject) -> int:
    """Return the number of parameters of a network."""
    return sum(p.numel() for p in made.parameters().values())


def expect_inside(few: RemoteObject, many: RemoteObject, sizes: tuple[int, int], name: str) -> None:
    """Expect that `num_residual_hiddens` changes a network.

    Args:
        few: The network with the first size.
        many: The same one with the second size.
        sizes: The two sizes.
        name: The name of its class.
    """
    expect(
        count(few) != count(many),
        f"`{name}` has {count(few):,} parameters with `num_residual_hiddens` = {sizes[0]}, and the "
        f"same number with {sizes[1]}. Do you pass `num_residual_hiddens` on?",
        "residual_hiddens_ignored",
    )


def expect_order(made: Callable[[int, int], RemoteObject], name: str) -> None:
    """Expect that the number of blocks and their width are not swapped.

    More blocks make more tensors of weights. Wider blocks make larger ones. Parts of other layers
    may do otherwise: only both in reverse are an error.

    Args:
        made: Makes the part with (`num_residual_layers`, `num_residual_hiddens`).
        name: The name of its class.
    """
    start, deep, wide = (len(made(*sizes).parameters()) for sizes in ((2, 2), (5, 2), (2, 5)))
    expect(
        not (deep == start < wide),
        f"`{name}` makes more blocks for a larger `num_residual_hiddens`, and wider ones for a "
        "larger `num_residual_layers`. Do you pass the two on in the wrong order?",
        "residual_sizes_swapped",
    )


# Residual blocks. With tiny weights, f is about 0 and the output is the skip connection.


@check("residual")
def test_residual_adds_its_input(submission: Submission) -> None:
    """`Residual` is x + f(x): with f at 0, the output is x."""
    for shape in ((2, 6, 4, 7), (1, 6, 3, 3)):
        x = torch.randn(shape)
        block = with_weights(submission.new("Residual", 6, 6, 5), x, TINY)
        got = expect_tensor(block(x), shape, "`Residual(...)(x)`")
        if torch.allclose(got, x.relu().double(), atol=1e-5):
            expect(
                not ends_in_relu(submission, x),
                "Your `Residual` applies a ReLU to the sum of x and f(x): its outputs are never "
                "negative. Its text asks for x + f(x). The ReLU at the end belongs to "
                "`ResidualStack`.",
                "relu_after_sum",
            )
            because = ""
            if changes_its_input(submission, block, x):
                because = ", because an in-place ReLU overwrites x before it is added"
            submission.remark(
                f"Your `Residual` computes relu(x) + f(x){because}. Its text asks for x + f(x). "
                "This counts as correct, since many implementations do it."
            )
            continue
        expect_close(got, x, "With f at 0, `Residual(...)(x)`", (x,), PAST)


@check("residual")
def test_residual_corrects(submission: Submission) -> None:
    """The correction f changes the output, and gradients pass through the skip connection."""
    x = torch.randn(2, 6, 4, 7).requires_grad_()
    block = with_weights(submission.new("Residual", 6, 6, 5), x, 0.5)
    got = expect_tensor(block(x), x.shape, "`Residual(...)(x)`")
    same = torch.allclose(got, x.double()) or torch.allclose(got, x.relu().double())
    expect(not same, "f has no effect: the block outputs its input for all weights. Is f(x) added?")
    expect_grad(got, {"x": x}, "the block", "residual_detached")


@check("residual")
def test_residual_leaves_its_input(submission: Submission) -> None:
    """The block does not write its sum into its input."""
    x = torch.randn(2, 6, 4, 7)
    held = submission.hold(x)
    block = with_weights(submission.new("Residual", 6, 6, 5), x, 0.5)
    # The same weights for the same input: the second call gets a fresh one.
    got = expect_tensor(block(x), x.shape, "`Residual(...)(x)`")
    block(held)
    after = held.value()
    # An in-place ReLU is accepted.
    if not isinstance(after, torch.Tensor) or after.shape != x.shape:
        return
    expect(
        torch.equal(after, x) or not torch.allclose(after.double(), got, atol=1e-5),
        "Your `Residual` writes its output into its input x: the caller's tensor changes. Add x "
        "and f(x) in a new tensor, not in place.",
        "input_changed",
    )


@check("residual")
def test_residual_has_each_relu(submission: Submission) -> None:
    """No ReLU is missing in f, and gradients pass through f as well as past it."""
    x = torch.randn(2, 6, 4, 7)
    block = with_weights(submission.new("Residual", 6, 6, 5), x, 0.5)
    known = known_block(block)
    if known is None:
        return
    given, weights = x.clone().requires_grad_(), torch.randn(x.shape)
    got = expect_tensor(block(given), x.shape, "`Residual(...)(x)`")
    x = x.double().requires_grad_()
    # An in-place ReLU changes the input that is added.
    for skip in (x, x.relu()):
        for place, missing in (("first convolution", (True, False)), ("second", (False, True))):
            expect(
                not torch.allclose(got, skip + known(x, *missing), atol=1e-4),
                f"In your `Residual`, the ReLU before the {place} is missing in f.",
                "relu_missing",
            )
        expect(
            not torch.allclose(got, skip - known(x, False, False), atol=1e-4),
            "Your `Residual` computes x − f(x). Its text asks for x + f(x).",
            "correction_subtracted",
        )
    right = x + known(x, False, False)
    if torch.allclose(got, right, atol=1e-4):
        (grad,) = expect_grad(got * weights, {"x": given}, "the block", "residual_detached")
        (slope,) = torch.autograd.grad((right * weights).sum(), x)
        expect(
            torch.allclose(grad.double(), slope, atol=1e-3),
            "Only a part of the gradient passes through your `Residual`. Is x detached in one of "
            "the two terms of x + f(x)?",
            "residual_detached",
        )


def known_block(block: RemoteObject) -> Callable[[torch.Tensor, bool, bool], torch.Tensor] | None:
    """Return f with the block's own parameters; None if these are not those of two convolutions.

    The two arguments after x say whether the first and the second ReLU are missing.
    """
    by_shape = {tuple(p.shape): p.detach().double() for p in block.parameters().values()}
    first, second = by_shape.pop((5, 6, 3, 3), None), by_shape.pop((6, 5, 1, 1), None)
    biases = by_shape.pop((5,), None), by_shape.pop((6,), None)
    if first is None or second is None or by_shape:
        return None

    def f(x: torch.Tensor, no_first: bool, no_second: bool) -> torch.Tensor:
        hidden = F.conv2d(x if no_first else x.relu(), first, biases[0], padding=1)
        return F.conv2d(hidden if no_second else hidden.relu(), second, biases[1])

    return f


@check("residual")
def test_stack_has_its_own_blocks(submission: Submission) -> None:
    """`ResidualStack` has `num_residual_layers` blocks, each with its own weights."""
    counts = []
    for layers in (1, 2, 3):
        stack = submission.new("ResidualStack", 6, 6, layers, 5)
        expect_tensor(stack(torch.randn(2, 6, 4, 7)), (2, 6, 4, 7), "`ResidualStack(...)(x)`")
        counts.append(count(stack))
    shown = f"1, 2 and 3 blocks have {counts[0]:,}, {counts[1]:,} and {counts[2]:,} parameters."
    expect(
        counts[0] > 0 or counts[1] == 0,
        f"{shown} The stack has one block less than `num_residual_layers`.",
        "one_block_less",
    )
    expect_registered(counts[0], "stack")
    expect(
        len(set(counts)) > 1,
        f"{shown} The stack has a fixed number of blocks, or the same block several times. "
        "Multiplying a list copies references: make `num_residual_layers` separate blocks.",
        "shared_layers",
    )
    expect(counts[2] - counts[1] == counts[1] - counts[0] > 0, shown)
    few, many = (submission.new("ResidualStack", 6, 6, 1, inside) for inside in (5, 7))
    expect_inside(few, many, (5, 7), "ResidualStack")
    expect_order(
        lambda layers, inside: submission.new("ResidualStack", 6, 6, layers, inside),
        "ResidualStack",
    )


@check("residual")
def test_stack_ends_in_relu(submission: Submission) -> None:
    """`ResidualStack` ends in a ReLU."""
    x = torch.randn(2, 6, 4, 7)
    # With tiny weights a block returns about x or relu(x): the same after the last ReLU.
    stack = with_weights(submission.new("ResidualStack", 6, 6, 2, 5), x, TINY)
    got = expect_tensor(stack(x), x.shape, "`ResidualStack(...)(x)`")
    expect(
        not torch.allclose(got, x.double(), atol=1e-5),
        "`ResidualStack` outputs negative values. Apply a ReLU at its end.",
        "stack_without_relu",
    )
    if "residual" not in submission.failed:
        expect_close(got, x.relu(), "Without weights, the output of `ResidualStack`", (x,), ENDS)
    x = x.requires_grad_()
    (grad,) = expect_grad(stack(x), {"x": x}, "the stack", "residual_detached")
    expect(
        bool(grad.any()),
        "No gradient passes through `ResidualStack`. Is something detached?",
        "residual_detached",
    )


# Encoder and decoder


def network(task: str, resize: Callable[[int], int], channels: int, rule: str, **kw: Any) -> Part:
    """Describe the encoder or the decoder.

    Args:
        task: Its task.
        resize: Computes the height and width of its outputs from those of its inputs.
        channels: Channels of its outputs.
        rule: How one of its layers changes the size, for the message.
        kw: The other attributes of `Part`.
    """
    name, images = task.capitalize(), task == "encoder"

    def call(made: RemoteObject, x: torch.Tensor, *_: int) -> torch.Tensor:
        got, size = made(x), tuple(resize(n) for n in x.shape[2:])
        if isinstance(got, torch.Tensor) and got.dim() == 4 and got.shape[:2] == (len(x), channels):
            before, after, right = (f"{h} × {w}" for h, w in (x.shape[2:], got.shape[2:], size))
            expect(
                after == right,
                f"{before} values become {after}; expected {right}. Compute the sizes layer by "
                f"layer: a {rule}.",
                "wrong_size",
            )
        return expect_tensor(got, (len(x), channels, *size), f"`{name}(...)({kw['argument']})`")

    return Part(
        task,
        lambda submission, c, *_: new_network(submission, name, c),
        call,
        # The images of this assignment are in [−½, ½].
        lambda _, n, *shape: torch.rand(n, *shape) - 0.5 if images else 3 * torch.randn(n, *shape),
        **kw,
    )


ENCODER = network(
    "encoder",
    lambda n: n // 4,
    HIDDENS,
    "convolution outputs (size + 2 · padding − kernel) / stride + 1 values",
    small=(3, 16, 24),
    shapes=((2, 3, 32, 32), (1, 3, 16, 24), (3, 1, 32, 16)),
    gives=("feature map",),
    argument="x",
)
DECODER = network(
    "decoder",
    lambda n: 4 * n,
    3,
    "transposed convolution outputs (size − 1) · stride − 2 · padding + kernel + "
    "output_padding values",
    small=(5, 8, 6),
    shapes=((2, 5, 8, 8), (1, 5, 4, 6), (3, 2, 8, 4)),
    row="code",
    gives=("image",),
    argument="quantized",
)


def depth_checks(part: Part) -> Checks:
    """Return a check that a part has `num_residual_layers` residual blocks."""

    @named_check(
        part.task,
        f"{part.task}_has_residual_blocks",
        f"The {part.task} has `num_residual_layers` residual blocks of `num_residual_hiddens` "
        "channels.",
    )
    def depth(submission: Submission) -> None:
        name = part.task.capitalize()
        made = [new_network(submission, name, 3, layers) for layers in (1, 3)]
        for one in made:
            part.outputs(one, part.inputs(one, 1, 3, 8, 8))
        if "residual" in submission.failed:
            return
        few, many = map(count, made)
        expect(
            many > few,
            f"`{name}` has {few:,} parameters with one residual block and the same number with "
            "three. Do you use `num_residual_layers`?",
            "residual_layers_ignored",
        )
        wide = new_network(submission, name, 3, inside=RESIDUAL_HIDDENS + 3)
        expect_inside(made[0], wide, (RESIDUAL_HIDDENS, RESIDUAL_HIDDENS + 3), name)
        expect_order(lambda layers, inside: new_network(submission, name, 3, layers, inside), name)

    return (depth,)


@check("decoder")
def test_decoder_range(submission: Submission) -> None:
    """Decoded pixels can be dark and bright: −½ and ½ are possible."""
    either_weights(lambda gain: DECODER.far(submission, 1e3, 8, gain=gain)[0], expect_colours)


def expect_colours(pixels: torch.Tensor) -> None:
    """Expect pixels near −½ and near ½."""
    low, high = float(pixels.min()), float(pixels.max())
    expect(
        low < 0,
        f"Decoded pixels are between {low:.3g} and {high:.3g} and never negative. The images "
        "are between −½ and ½. Which values can your last layer output?",
        "output_never_negative",
    )
    expect(
        low < -0.45 and high > 0.45,
        f"Decoded pixels are between {low:.2f} and {high:.2f}, even for extreme codes. They "
        "should reach −½ (black) and ½ (white). Which values can your last layer output?",
        "output_range",
    )


CHECKS = (
    test_residual_adds_its_input,
    test_residual_corrects,
    test_residual_leaves_its_input,
    test_residual_has_each_relu,
    test_stack_has_its_own_blocks,
    test_stack_ends_in_relu,
    *part_checks(
        ENCODER,
        "Images (N, C, H, W) become features (N, num_hiddens, H/4, W/4), square or not.",
        detached="encoder_detached",
    ),
    *depth_checks(ENCODER),
    *part_checks(
        DECODER,
        "Codes (N, D, H/4, W/4) become colour images (N, 3, H, W), square or not.",
        detached="decoder_detached",
    ),
    *depth_checks(DECODER),
    test_decoder_range,
)
