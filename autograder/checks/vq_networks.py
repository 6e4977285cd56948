"""A VQ-VAE's residual blocks, encoder and decoder, as checks make and call them."""

import torch

from autograder.checking import Mistake, expect, expect_tensor
from autograder.submission import RemoteObject, Submission


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
