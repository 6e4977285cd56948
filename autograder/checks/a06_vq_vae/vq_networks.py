"""Checks of a VQ-VAE's residual blocks, encoder and decoder."""

import torch

from autograder.checks.shared.parts import expect_own_rows
from autograder.checks.vocabulary import (
    Mistake,
    check,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
)
from autograder.protocol.remote import RemoteObject, Submission


def with_weights(block: RemoteObject, x: torch.Tensor, scale: float) -> RemoteObject:
    """Fill a block's parameters with Gaussian numbers of this scale, once it has taken `x`."""
    block(x)
    parameters = block.parameters()
    expect(
        len(parameters) > 0,
        "The block has no trainable parameters: layers in a plain Python list are not found. Where "
        "does PyTorch look?",
        "layers_not_registered",
    )
    filled = {name: scale * torch.randn_like(p) for name, p in parameters.items()}
    block.load_state_dict(filled, strict=False)
    block.eval()
    return block


PAST = (
    Mistake(
        "skip_missing",
        "The block puts out f(x) alone: the input is not added.",
        lambda x: torch.zeros_like(x),
    ),
    Mistake("skip_doubled", "The input is added twice.", lambda x: 2 * x),
    Mistake("skip_subtracted", "The input is subtracted; add it.", lambda x: -x),
)


HIDDENS = 16
NO_STACK = """
import torch as _torch
class ResidualStack(_torch.nn.Module):
    def __init__(self, *sizes):
        super().__init__()
    def forward(self, x):
        return x
del _torch
"""


def new_network(submission: Submission, name: str, channels: int, layers: int = 1) -> RemoteObject:
    """Make a small encoder or decoder; where residual blocks have failed, without any."""
    if "residual" in submission.failed and not submission.in_notebook:
        submission.run(NO_STACK, "no_stack")
    network = submission.new(name, channels, HIDDENS, layers, 4)
    # Batch normalisation cannot train on one image, and need not.
    network.eval()
    return network


def expect_layers_count(submission: Submission, name: str, channels: int) -> None:
    """Expect that `num_residual_layers` is used."""
    if "residual" in submission.failed:
        return
    few, many = (
        sum(p.numel() for p in new_network(submission, name, channels, k).parameters().values())
        for k in (1, 3)
    )
    expect(
        many > few,
        f"`{name}` has {few:,} parameters with one residual block and as many with three: is "
        "`num_residual_layers` used?",
        "residual_layers_ignored",
    )


def encoded(encoder: RemoteObject, x: torch.Tensor) -> torch.Tensor:
    """Encode images and expect features at a quarter of the size."""
    n, _, height, width = x.shape
    got = encoder(x)
    if isinstance(got, torch.Tensor) and got.shape[:2] == (n, HIDDENS):
        expect(
            got.shape[2:] == (height // 4, width // 4),
            f"Images of {height} × {width} become {got.shape[2]} × {got.shape[3]} places, not "
            f"{height // 4} × {width // 4}. Work the sizes out layer by layer: a convolution gives "
            "(size + 2 · padding − kernel) / stride + 1.",
            "wrong_size",
        )
    return expect_tensor(got, (n, HIDDENS, height // 4, width // 4), "`Encoder(...)(x)`")


def decoded(decoder: RemoteObject, places: torch.Tensor) -> torch.Tensor:
    """Decode places and expect images of four times the size."""
    n, _, height, width = places.shape
    got = decoder(places)
    if isinstance(got, torch.Tensor) and got.shape[:2] == (n, 3):
        expect(
            got.shape[2:] == (4 * height, 4 * width),
            f"{height} × {width} places become an image of {got.shape[2]} × {got.shape[3]}, not "
            f"{4 * height} × {4 * width}. A transposed convolution gives "
            "(size − 1) · stride − 2 · padding + kernel + output_padding.",
            "wrong_size",
        )
    return expect_tensor(got, (n, 3, 4 * height, 4 * width), "`Decoder(...)(quantized)`")


# Residual blocks. With all weights at 0 a correction vanishes, and what is left is the way past it.


@check("residual")
def test_residual_adds_its_input(submission: Submission) -> None:
    """`Residual` is x + f(x): with f at 0, x comes out as it went in."""
    for shape in ((2, 6, 4, 7), (1, 6, 3, 3)):
        x = torch.randn(shape)
        block = with_weights(submission.new("Residual", 6, 6, 5), x, 0.0)
        got = expect_tensor(block(x), shape, "`Residual(...)(x)`")
        if torch.allclose(got, x.relu().double(), atol=1e-5):
            remark = (
                "Your `Residual` computes relu(x) + f(x): a ReLU that works in place overwrites x "
                "before it is added. It counts as right, since many use it so."
            )
            if remark not in submission.remarks:
                submission.remarks.append(remark)
            continue
        expect_close(got, x, "With f at 0, `Residual(...)(x)`", (x,), PAST)


@check("residual")
def test_residual_corrects(submission: Submission) -> None:
    """The correction f does something, and gradients pass around it."""
    x = torch.randn(2, 6, 4, 7).requires_grad_()
    block = with_weights(submission.new("Residual", 6, 6, 5), x, 0.5)
    got = expect_tensor(block(x), x.shape, "`Residual(...)(x)`")
    same = torch.allclose(got, x.double()) or torch.allclose(got, x.relu().double())
    expect(not same, "f has no effect: the block puts out its input, whatever its weights.")
    expect_grad(got, {"x": x}, "the block", "residual_detached")


@check("residual")
def test_stack_has_its_own_blocks(submission: Submission) -> None:
    """`ResidualStack` has as many blocks as it is told, each with weights of its own."""
    counts = []
    for layers in (1, 2, 3):
        stack = submission.new("ResidualStack", 6, 6, layers, 5)
        expect_tensor(stack(torch.randn(2, 6, 4, 7)), (2, 6, 4, 7), "`ResidualStack(...)(x)`")
        counts.append(sum(p.numel() for p in stack.parameters().values()))
    shown = f"1, 2 and 3 blocks have {counts[0]:,}, {counts[1]:,} and {counts[2]:,} parameters."
    expect(
        counts[0] > 0,
        "The stack has no trainable parameters: layers in a plain Python list are not found. Where "
        "does PyTorch look?",
        "layers_not_registered",
    )
    expect(
        len(set(counts)) > 1,
        f"{shown} Either there is always one block, or the same one several times: multiplying a "
        "list copies references.",
        "shared_layers",
    )
    expect(counts[2] - counts[1] == counts[1] - counts[0] > 0, shown)


@check("residual")
def test_stack_ends_in_relu(submission: Submission) -> None:
    """`ResidualStack` ends in a ReLU."""
    x = torch.randn(2, 6, 4, 7)
    # Without weights a block is x, or its positive part: the ReLU's output is the same.
    stack = with_weights(submission.new("ResidualStack", 6, 6, 2, 5), x, 0.0)
    got = expect_tensor(stack(x), x.shape, "`ResidualStack(...)(x)`")
    expect(
        not torch.allclose(got, x.double(), atol=1e-5),
        "`ResidualStack` puts out negative values: a ReLU belongs at its end.",
        "stack_without_relu",
    )


# Encoder and decoder


@check("encoder")
def test_encoder_shape(submission: Submission) -> None:
    """Images (N, C, H, W) become features (N, num_hiddens, H/4, W/4), square or not."""
    for shape in ((2, 3, 32, 32), (1, 3, 16, 24), (3, 1, 32, 16)):
        encoded(new_network(submission, "Encoder", shape[1]), torch.randn(shape))
    expect_layers_count(submission, "Encoder", 3)


@check("encoder")
def test_encoder_sees_the_image(submission: Submission) -> None:
    """Different images get different features, each by its own image alone."""
    encoder = new_network(submission, "Encoder", 3)
    x = 3 * torch.randn(4, 3, 16, 24)
    expect_own_rows(
        lambda rows: encoded(encoder, rows),
        x,
        "Every image gets the same features: is `x` used?",
        "The features of an image encoded",
    )
    x.requires_grad_()
    expect_grad(encoded(encoder, x), {"x": x}, "the features", "encoder_detached")


@check("decoder")
def test_decoder_shape(submission: Submission) -> None:
    """Places (N, D, H/4, W/4) become colour images (N, 3, H, W), square or not."""
    for shape in ((2, 5, 8, 8), (1, 5, 4, 6), (3, 2, 8, 4)):
        decoded(new_network(submission, "Decoder", shape[1]), torch.randn(shape))
    expect_layers_count(submission, "Decoder", 3)


@check("decoder")
def test_decoder_range(submission: Submission) -> None:
    """Decoded pixels can be dark as well as bright: −½ and ½ are within reach."""
    pixels = decoded(new_network(submission, "Decoder", 5), 1e3 * torch.randn(8, 5, 8, 8))
    low, high = float(pixels.min()), float(pixels.max())
    expect(
        low < 0,
        f"Decoded pixels run from {low:.3g} to {high:.3g}, and are never negative; the images lie "
        "between −½ and ½. What does your last layer allow?",
        "output_never_negative",
    )
    expect(
        low < -0.45 and high > 0.45,
        f"Decoded pixels stay between {low:.2f} and {high:.2f}, however extreme the code: black or "
        "white is out of reach.",
        "output_range",
    )


@check("decoder")
def test_decoder_uses_the_code(submission: Submission) -> None:
    """Another code gives another image, and each image depends on its own code alone."""
    decoder = new_network(submission, "Decoder", 5)
    z = torch.randn(4, 5, 4, 6)
    expect_own_rows(
        lambda rows: decoded(decoder, rows),
        z,
        "Every code gives the same image: is `quantized` used?",
        "A code decoded",
    )
    z.requires_grad_()
    expect_grad(decoded(decoder, z), {"quantized": z}, "the image", "decoder_detached")
