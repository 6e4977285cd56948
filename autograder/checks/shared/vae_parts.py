"""Checks of `myVAE`'s encoder, decoder and forward pass, with a condition of any size or none.

With a condition c of C numbers the encoder takes rows [x, c] and the decoder rows [z, c]
(Sohn, Lee & Yan 2015); with C = 0 they take x and z alone.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from autograder.checks.shared.parts import (
    expect_own_layers,
    expect_own_rows,
    expect_pixel_range,
    model_or_bare,
)
from autograder.checks.shared.sampling import expect_new_draws
from autograder.checks.shared.vae_methods import images
from autograder.checks.shared.wiring import (
    FORWARD_MISTAKES,
    HEAD_MISTAKES,
    TOLD,
    KnownParts,
    expect_joined,
    known_parts,
)
from autograder.checks.vocabulary import expect, expect_close, expect_tensor, fail, kind
from autograder.protocol.remote import Raised, RemoteObject, Submission

PIXELS = 28 * 28
SHOWN = {"encoder": "q(z | x, c) sees the image and", "decoder": "p(x | z, c) sees the code and"}


def new_vae(submission: Submission, latent_dim: int = 5, condition: int = 0) -> RemoteObject:
    """Make a small model."""
    return submission.new("myVAE", 48, latent_dim, *_given(condition))


def _given(condition: int) -> tuple[int, ...]:
    return (condition,) if condition else ()


def rows_for(
    part: Any, name: str, rows: torch.Tensor, condition: int, usual: int = 0
) -> torch.Tensor:
    """Call a part with joined rows, and say which rows it takes instead if it can't take these.

    Args:
        part: The part.
        name: Its name.
        rows: What it should take, (N, width + condition).
        condition: C.
        usual: The C that this assignment trains with.
    """
    try:
        return part(rows)
    except Raised:
        width = rows.shape[1] - condition
        known = (
            (
                0,
                f"condition_missing_in_{name}",
                f"`{name}` has no room for the condition: {SHOWN[name]} the condition.",
            ),
            (
                1,
                "condition_as_number",
                f"`{name}` makes room for one number. Classes have no order: give each a place of "
                "its own.",
            ),
            (
                usual,
                "condition_hard_coded",
                f"`{name}` takes rows of {width + usual} values whatever `conditional_vec_dim` is.",
            ),
        )
        for extra, mistake, says in known:
            if extra != condition and _takes(part, width + extra):
                shown = f"It takes {width + extra} values a row and should take {rows.shape[1]}."
                fail(f"{says} {shown}", mistake)
        raise


def _takes(part: Any, width: int) -> bool:
    try:
        part(torch.rand(2, width))
    except Raised:
        return False
    return True


def expect_encoder_shapes(submission: Submission, condition: int = 0, usual: int = 0) -> None:
    """Expect rows of features, and both heads to give (N, Z)."""
    for n, latent_dim in ((1, 5), (7, 5), (4, 13)):
        vae = new_vae(submission, latent_dim, condition)
        # Batch normalisation cannot train on one image, and need not.
        vae.eval()
        rows = torch.rand(n, PIXELS + condition)
        hidden = rows_for(vae.encoder, "encoder", rows, condition, usual)
        expect(
            isinstance(hidden, torch.Tensor) and hidden.dim() == 2 and len(hidden) == n,
            f"`encoder` should turn {n} rows into {n} rows of features, got {kind(hidden)}.",
        )
        expect_tensor(vae.mu_layer(hidden), (n, latent_dim), "`mu_layer(hidden)`")
        expect_tensor(vae.logvar_layer(hidden), (n, latent_dim), "`logvar_layer(hidden)`")


def expect_heads_differ(submission: Submission, condition: int = 0) -> None:
    """Expect the mean and the log-variance from two layers."""
    vae = new_vae(submission, 13, condition)
    hidden = vae.encoder(torch.rand(6, PIXELS + condition))
    mu, logvar = vae.mu_layer(hidden), vae.logvar_layer(hidden)
    expect(
        isinstance(mu, torch.Tensor) and not torch.equal(mu, logvar),
        "`mu_layer` and `logvar_layer` give the same values: they must be two layers of their own.",
    )


def expect_heads_reach_both_signs(submission: Submission, condition: int = 0) -> None:
    """Expect negative as well as positive means and log-variances."""
    vae = new_vae(submission, 32, condition)
    # Features far apart: a linear layer's outputs then take both signs, whatever its bias.
    hidden = torch.as_tensor(vae.encoder(20 * torch.randn(256, PIXELS + condition)))
    for name in ("mu", "logvar"):
        out = expect_tensor(getattr(vae, f"{name}_layer")(hidden), (256, 32), f"`{name}_layer`")
        expect(
            bool((out < 0).any() and (out > 0).any()),
            f"`{name}_layer` only ever gives values of one sign: a mean and a log-variance may "
            "have any. Is there an activation after it?",
            "activation_on_head",
        )


def expect_encoder_sees_its_input(submission: Submission, condition: int = 0) -> None:
    """Expect each row's mean to depend on its own image, and on its own condition."""
    vae = new_vae(submission, 5, condition)
    vae.eval()
    rows = torch.rand(6, PIXELS + condition)

    def encode(rows: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(vae.mu_layer(vae.encoder(rows)))

    ignored, row = "Every image gets the same `mu`: is `x` used?", "`mu` of an image encoded"
    if not condition:
        expect_own_rows(encode, rows, ignored, row)
        return
    one_c = torch.cat([rows[:, :PIXELS], rows[:1, PIXELS:].expand(6, -1)], 1)
    expect_own_rows(encode, one_c, ignored, row)
    expect_own_rows(
        encode,
        torch.cat([rows[:1, :PIXELS].expand(6, -1), rows[:, PIXELS:]], 1),
        f"Another condition gives the same `mu`: {SHOWN['encoder']} the condition.",
        row,
        "condition_missing_in_encoder",
    )


def decoded(vae: RemoteObject, rows: torch.Tensor, condition: int, usual: int = 0) -> torch.Tensor:
    """Decode joined rows (N, Z + C) and expect images (N, 1, 28, 28)."""
    out = rows_for(vae.decoder, "decoder", rows, condition, usual)
    expect(
        not (
            condition
            and isinstance(out, torch.Tensor)
            and out.numel() == len(rows) * (PIXELS + condition)
        ),
        f"`decoder` gives {PIXELS + condition} values a row: the image and the condition. Only the "
        "image is to be made; the condition is known.",
        "condition_reconstructed",
    )
    return expect_tensor(out, (len(rows), 1, 28, 28), "`decoder(z)`")


def expect_decoder_shape(submission: Submission, condition: int = 0, usual: int = 0) -> None:
    """Expect images (N, 1, 28, 28), from one code alone too."""
    for n, latent_dim in ((1, 5), (7, 5), (4, 13)):
        vae = new_vae(submission, latent_dim, condition)
        vae.eval()
        decoded(vae, torch.randn(n, latent_dim + condition), condition, usual)


def expect_decoder_range(submission: Submission, condition: int = 0) -> None:
    """Expect pixels in [0, 1], dark as well as bright."""
    vae = new_vae(submission, 5, condition)
    expect_pixel_range(decoded(vae, 1e3 * torch.randn(64, 5 + condition), condition))


def expect_decoder_uses_its_input(submission: Submission, condition: int = 0) -> None:
    """Expect each image to depend on its own code, and on its own condition."""
    vae = new_vae(submission, 5, condition)
    vae.eval()
    rows = torch.randn(6, 5 + condition)

    def decode(rows: torch.Tensor) -> torch.Tensor:
        return decoded(vae, rows, condition)

    ignored, row = "Every code gives the same image: is `z` used?", "A code decoded"
    if not condition:
        expect_own_rows(decode, rows, ignored, row)
        return
    expect_own_rows(decode, torch.cat([rows[:, :5], rows[:1, 5:].expand(6, -1)], 1), ignored, row)
    expect_own_rows(
        decode,
        torch.cat([rows[:1, :5].expand(6, -1), rows[:, 5:]], 1),
        f"Another condition gives the same image: {SHOWN['decoder']} the condition.",
        row,
        "condition_missing_in_decoder",
    )


def expect_layers_differ(submission: Submission, part: str, condition: int = 0) -> None:
    """Expect that each layer of a part, encoder or decoder, has weights of its own."""
    vae = new_vae(submission, 5, condition)
    width = PIXELS if part == "encoder" else 5
    rows_for(getattr(vae, part), part, torch.rand(2, width + condition), condition)
    expect_own_layers(vae, part)


# Forward. Known linear maps stand in for the parts, so that only the wiring is judged.

LATENTS = 3
Conditions = Callable[[int], tuple[torch.Tensor, ...]]


def plugged(submission: Submission, condition: int = 0) -> tuple[RemoteObject, KnownParts]:
    """Make a model of which only the methods are its own."""
    vae = model_or_bare(
        submission,
        "myVAE",
        48,
        LATENTS,
        *_given(condition),
        latent_dim=LATENTS,
        conditional_vec_dim=condition,
    )
    return vae, known_parts(vae, condition)


def expect_forward(submission: Submission, conditions: Conditions = lambda n: ()) -> None:
    """Expect encoder, heads, draw and decoder in this order, each with what it should get.

    Two calls must draw twice, too.

    Args:
        submission: Whose model.
        conditions: Makes the condition of n images, (n, C), no two rows alike; () for none.
    """
    condition = sum(c.shape[1] for c in conditions(1))
    for n, mode in ((5, "train"), (5, "eval"), (1, "eval")):
        vae, parts = plugged(submission, condition)
        getattr(vae, mode)()
        x, c = images(n), conditions(n)
        mu, logvar = parts.heads(x, *c)
        try:
            got = vae(x, *c)
        except Raised:
            if c:
                expect_inputs_joined(vae, parts, x, c[0])
                expect_features_joined(submission, x)
            raise
        expect(
            isinstance(got, tuple) and len(got) == 3,
            f"`forward` should return the three values (x_hat, mu, logvar), got {kind(got)}.",
        )
        if c:
            expect_inputs_joined(vae, parts, x, c[0])
        x_hat = expect_tensor(got[0], (n, 1, 28, 28), "`x_hat`")
        inputs = (parts, mu, logvar, *c)
        shape = (n, LATENTS)
        for head, value, due in zip(("mu", "logvar"), got[1:], (mu, logvar), strict=True):
            value = expect_tensor(value, shape, f"`{head}`")
            expect_close(value, due, f"`{head}`", inputs, HEAD_MISTAKES[head])
        right = parts.decode_draw(mu, logvar, *c)
        expect_close(x_hat, right, "`x_hat`", inputs, FORWARD_MISTAKES)
    expect_new_draws(vae, "reparameterize", TOLD, LATENTS, lambda: torch.as_tensor(vae(x, *c)[0]))


def expect_inputs_joined(
    vae: RemoteObject, parts: KnownParts, x: torch.Tensor, c: torch.Tensor
) -> None:
    """Expect that the stand-ins were called with [x, c] and [z, c], as far as they were called."""
    expect_joined(vae.encoder.seen(), x.flatten(1), c, "encoder")
    expect_joined(vae.decoder.seen(), None, c, "decoder")


def expect_features_joined(submission: Submission, x: torch.Tensor) -> None:
    """Expect that c is not joined as further rows.

    Rows of unlike width can't be joined so; a condition as wide as what it is joined with can.
    """
    for part, width in (("encoder", PIXELS), ("decoder", LATENTS)):
        vae, _ = plugged(submission, width)
        c = torch.rand(len(x), width)
        with contextlib.suppress(Raised):
            vae(x, c)
        seen = getattr(vae, part).seen()
        expect(
            len(seen) != 2 * len(x),
            "`forward` puts the conditions below the images, as further rows of the batch. Every "
            "image keeps its row, and the row gets wider.",
            "joined_on_batch_axis",
        )
