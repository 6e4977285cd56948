"""Checks of encoders that return (mu, log σ), (N, Z) each."""

from collections.abc import Callable
from typing import Any

import torch

from autograder.checks.vocabulary import (
    check,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
    kind,
)
from autograder.protocol.remote import Submission

Encode = Callable[[torch.Tensor], Any]


def expect_posterior(got: Any, n: int, latent_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Expect mu and logsigma, (n, latent_dim) each."""
    expect(
        isinstance(got, tuple) and len(got) == 2,
        f"The encoder should return the two values (mu, logsigma), got {kind(got)}.",
    )
    return (
        expect_tensor(got[0], (n, latent_dim), "`mu`"),
        expect_tensor(got[1], (n, latent_dim), "`logsigma`"),
    )


def encoder_checks(
    make: Callable[[Submission, int], Encode], row: tuple[int, ...], rows: str
) -> tuple[Callable[..., None], ...]:
    """Make the checks of an encoder that returns mu and logsigma.

    Args:
        make: Makes an encoder with a number of latents, in eval mode.
        row: Shape of one input.
        rows: What the inputs are, with their shape, as students know them.
    """

    def encoded(encode: Encode, x: torch.Tensor, latents: int) -> tuple[torch.Tensor, torch.Tensor]:
        return expect_posterior(encode(x), len(x), latents)

    @check("encoder", f"{rows} go to mu and logsigma, (N, latents) each, one alone included.")
    def test_encoder_shapes(submission: Submission) -> None:
        for n, latents in ((1, 5), (7, 5), (4, 13)):
            encoded(make(submission, latents), torch.rand(n, *row), latents)

    @check("encoder")
    def test_heads_reach_both_signs(submission: Submission) -> None:
        """Both mu and logsigma can be negative as well as positive, and differ."""
        # Inputs that are far apart: linear outputs then take both signs, whatever their bias.
        outputs = encoded(make(submission, 16), 20 * torch.randn(256, *row), 16)
        for name, out in zip(("mu", "logsigma"), outputs, strict=True):
            expect(
                bool((out < 0).any() and (out > 0).any()),
                f"All values of `{name}` have one sign. A mean and a logarithm may have any sign. "
                "Is there an activation, or an exponential, after the last layer?",
                "activation_on_head",
            )
        expect(
            not torch.equal(*outputs),
            "mu and logsigma come from the same layer. Each needs a layer of its own.",
            "same_head",
        )

    @check("encoder")
    def test_encoder_sees_the_image(submission: Submission) -> None:
        """Each output depends on its own image only, is always the same, and passes gradients."""
        encode, x = make(submission, 5), torch.rand(6, *row)
        both = torch.stack(encoded(encode, x, 5), dim=1)
        expect(float(both[:, 0].std(0).max()) > 1e-6, "All images get the same `mu`: is `x` used?")
        alone = torch.stack(encoded(encode, x[2:3], 5), dim=1)
        expect_close(alone, both[2:3], "The encoder's output for an image alone, and in a batch,")
        x = x.clone().requires_grad_()
        for number, name in enumerate(("mu", "logsigma")):
            out = encoded(encode, x, 5)[number]
            expect_grad(out, {"x": x}, f"`{name}`", "encoder_detached")

    return test_encoder_shapes, test_heads_reach_both_signs, test_encoder_sees_the_image
