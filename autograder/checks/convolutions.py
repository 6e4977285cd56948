"""What a pair of convolutions is made of, as far as its parameters and its shapes tell."""

from dataclasses import astuple, dataclass, replace
from typing import Any

import torch

from autograder.checking import CheckFailed, expect, expect_tensor
from autograder.submission import RemoteObject, Submission

SIDE = 28


@dataclass(frozen=True)
class Sizes:
    """What an encoder, a decoder and a VAE are made with.

    Attributes:
        c1: Channels after the encoder's first convolution.
        c2: Channels after its second.
        lat: Size of the latent code.
        k: Side of the kernels.
    """

    c1: int
    c2: int
    lat: int
    k: int

    @property
    def features(self) -> int:
        """Features of an image after two unpadded convolutions."""
        return self.c2 * (SIDE - 2 * (self.k - 1)) ** 2

    @property
    def printed_features(self) -> int:
        """What the assignment's original sheet prints for it: the size after one convolution."""
        return self.c2 * (SIDE - (self.k - 1)) ** 2

    def make(self, submission: Submission, name: str) -> RemoteObject:
        """Make an instance of the class `name`, in eval mode.

        Batch normalisation cannot train on one image, and need not.
        """
        made = submission.new(name, *astuple(self))
        made.eval()
        return made


# Sizes that nobody would write into a class by hand; c1 may be larger than c2.
SMALL = Sizes(3, 5, 4, 3)
EVERY = (SMALL, Sizes(2, 3, 7, 5), Sizes(6, 2, 1, 3))

LINEAR_SIZE = (
    "The linear layer of `{}` is made for {} features, as the formula on the assignment's original "
    "sheet says, which is an erratum: it is the size after one convolution. With c2 = {}, k = {} "
    "and two convolutions there are {}."
)


def linear_size(name: str, sizes: Sizes) -> CheckFailed:
    """Say that a layer has the printed size."""
    told = LINEAR_SIZE.format(name, sizes.printed_features, sizes.c2, sizes.k, sizes.features)
    return CheckFailed(told, "linear_size_as_printed")


def shapes(module: RemoteObject, part: str = "") -> list[tuple[int, ...]]:
    """List the shapes of a module's parameters, sorted, or of one part's."""
    named = module.parameters().items()
    return sorted(tuple(p.shape) for name, p in named if name.startswith(part))


def expect_sizes_used(submission: Submission, name: str, x: torch.Tensor) -> None:
    """Expect layers that follow c1, c2 and k, in this order.

    Args:
        submission: Whose class.
        name: The class: "Encoder" or "Decoder".
        x: An input for `SMALL`, so that lazy layers learn their sizes.

    Raises:
        CheckFailed: If one of the three changes nothing, or c1 and c2 have changed places.
    """

    def made(sizes: Sizes) -> list[tuple[int, ...]]:
        module = sizes.make(submission, name)
        module(x)
        return shapes(module)

    own = made(SMALL)
    for argument, value in (("c1", SMALL.c1 + 1), ("c2", SMALL.c2 + 1), ("k", SMALL.k + 2)):
        expect(
            made(replace(SMALL, **{argument: value})) != own,
            f"`{name}` is the same whatever `{argument}` is. Make its layers of the sizes that "
            "come in.",
            f"{argument}_ignored",
        )
    kernels = {shape[:2] for shape in own if len(shape) == 4}
    one_channel = {c for pair in kernels if 1 in pair for c in pair}
    expect(
        not (SMALL.c2 in one_channel and SMALL.c1 not in one_channel),
        f"In `{name}` c1 and c2 have changed places: the convolution next to the image has c1 "
        "channels on its other side.",
        "channels_swapped",
    )


def expect_images(got: Any, n: int, sizes: Sizes) -> torch.Tensor:
    """Expect n images from a decoder, or say which layer's size is off."""
    shape = tuple(got.shape) if isinstance(got, torch.Tensor) else ()
    if len(shape) == 4 and shape[0] == n and shape != (n, 1, SIDE, SIDE):
        channels, side = shape[1], shape[2]
        expect(
            channels != sizes.c1 or side != SIDE,
            f"`decoder(z)` has {channels} channels, c1 of them, as the assignment's original sheet "
            "has it, which is an erratum: the channels go c2, c1, 1. The picture is grey.",
            "channels_as_printed",
        )
        if side == SIDE + sizes.k - 1:
            raise linear_size("Decoder", sizes)
        expect(
            side == SIDE,
            f"`decoder(z)` gives images of {side} × {shape[3]} pixels, not 28 × 28, at k = "
            f"{sizes.k}. A transposed convolution without padding adds k − 1 to each side's "
            "length; how long must the sides be to begin with?",
            "wrong_side",
        )
    return expect_tensor(got, (n, 1, SIDE, SIDE), "`decoder(z)`")
