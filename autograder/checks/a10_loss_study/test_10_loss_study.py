"""What `10_loss_study` is graded on."""

from collections.abc import Callable
from typing import Any

import torch

from autograder.checks.a10_loss_study.loss_terms import (
    TERM_CHECKS,
    images,
    test_bce_is_the_default,
    test_both_adds_the_terms,
    test_both_has_one_kl,
    test_kl_of_each_loss,
    test_squared_error_of_a_perfect_image,
)
from autograder.checks.a10_loss_study.same_footing import (
    test_measure,
    test_measure_is_plain_numbers,
    test_measure_repeats,
    test_measure_switches_training_off,
)
from autograder.checks.shared.parts import expect_own_rows, expect_pixel_range, model_or_bare
from autograder.checks.shared.sampling import expect_new_draws, method_sampler, sampling_checks
from autograder.checks.shared.wiring import FORWARD_MISTAKES, HEAD_MISTAKES, TOLD, KnownVae
from autograder.checks.vocabulary import (
    Task,
    check,
    expect,
    expect_close,
    expect_tensor,
    fail,
    kind,
)
from autograder.protocol.remote import Raised, RemoteObject, Submission

TASKS = (
    Task("encoder", 15, "Encoder"),
    Task("decoder", 15, "Decoder"),
    Task("reparameterize", 10, "Reparameterization"),
    Task("forward", 5, "Forward pass"),
    Task("bce", 10, "Cross-entropy"),
    Task("squared_error", 10, "Squared error"),
    Task("kl_divergence", 10, "KL divergence"),
    Task("both", 5, "Both together"),
    Task("measure", 10, "The same footing"),
)

FAMILIES = (
    sampling_checks(
        "reparameterize",
        method_sampler(lambda submission: model_or_bare(submission, "VAE"), "reparameterize"),
        what="`reparameterize(mu, logvar)`",
        name="reparameterize",
    ),
    *TERM_CHECKS,
)

# Images (N, C, S, S) and a latent size Z.
KINDS = ((1, 1, 28, 20), (7, 3, 32, 5), (4, 1, 32, 13), (2, 3, 28, 8))


# Encoder


def new(submission: Submission, name: str, *sizes: int) -> RemoteObject:
    """Make an encoder, a decoder or a VAE in eval mode."""
    made = submission.new(name, *sizes)
    made.eval()
    return made


def encoded(encoder: Callable[..., Any], x: torch.Tensor, z: int) -> tuple[torch.Tensor, ...]:
    """Encode images and expect mu and logvar, (N, Z) each."""
    got = encoder(x)
    expect(
        isinstance(got, tuple) and len(got) == 2,
        f"`encoder(x)` should give the two values (mu, logvar), got {kind(got)}.",
    )
    return tuple(
        expect_tensor(value, (len(x), z), f"`{name}`")
        for name, value in zip(("mu", "logvar"), got, strict=True)
    )


@check("encoder")
def test_encoder_shapes(submission: Submission) -> None:
    """Grey and colour images of 28 × 28 and 32 × 32 become mu and logvar (N, Z)."""
    for n, channels, size, z in KINDS:
        encoded(new(submission, "Encoder", channels, size, z), images(n, channels, size), z)


@check("encoder")
def test_encoder_defaults(submission: Submission) -> None:
    """Without arguments it is made for grey images of 28 × 28 and 20 latents."""
    encoded(new(submission, "Encoder"), images(3), 20)


@check("encoder")
def test_heads_differ(submission: Submission) -> None:
    """The mean and the log-variance come from two separate layers."""
    mu, logvar = encoded(new(submission, "Encoder"), images(6), 20)
    expect(
        not torch.equal(mu, logvar),
        "`mu` and `logvar` are the same values: they must come from two layers of their own.",
        "one_head",
    )


@check("encoder")
def test_heads_reach_both_signs(submission: Submission) -> None:
    """Means and log-variances can be negative as well as positive."""
    encoder = new(submission, "Encoder", 1, 28, 32)
    # Images far apart: a linear layer's outputs then take both signs, whatever its bias.
    outputs = encoded(encoder, 100 * torch.randn(64, 1, 28, 28), 32)
    for name, out in zip(("mu", "logvar"), outputs, strict=True):
        expect(
            bool((out < 0).any() and (out > 0).any()),
            f"`{name}` only ever has values of one sign: a mean and a log-variance may have any. "
            "Is there an activation after its layer?",
            "activation_on_head",
        )


@check("encoder")
def test_encoder_sees_the_image(submission: Submission) -> None:
    """Different images get different means, and each row depends on its own image alone."""
    encoder = new(submission, "Encoder", 3, 32, 5)
    expect_own_rows(
        lambda x: torch.cat(encoded(encoder, x, 5), 1),
        images(6, 3, 32),
        "Every image gets the same `mu` and `logvar`: is `x` used?",
        "`mu` and `logvar` of an image encoded",
        "image_ignored",
    )


# Decoder


def decoded(decoder: Callable[..., Any], z: torch.Tensor, channels: int, size: int) -> torch.Tensor:
    """Decode codes and expect images (N, C, S, S)."""
    got = decoder(z)
    shape = tuple(got.shape) if isinstance(got, torch.Tensor) else ()
    expect(
        len(shape) != 4 or shape[:2] != (len(z), channels) or shape[2:] == (size, size),
        f"`decoder(z)` gives images of {' × '.join(map(str, shape[2:]))} pixels; they should have "
        f"{size} × {size}. Follow the side through the layers: does each of them double it, "
        "whatever it was?",
        "wrong_side",
    )
    return expect_tensor(got, (len(z), channels, size, size), "`decoder(z)`")


@check("decoder")
def test_decoder_shapes(submission: Submission) -> None:
    """Codes (N, Z) become grey or colour images of 28 × 28 or 32 × 32."""
    for n, channels, size, z in KINDS:
        decoded(new(submission, "Decoder", channels, size, z), torch.randn(n, z), channels, size)


@check("decoder")
def test_decoder_defaults(submission: Submission) -> None:
    """Without arguments it is made for grey images of 28 × 28 and 20 latents."""
    decoded(new(submission, "Decoder"), torch.randn(3, 20), 1, 28)


@check("decoder")
def test_decoder_range(submission: Submission) -> None:
    """Decoded pixels lie in [0, 1] and can be dark as well as bright."""
    # Of several models: the last layer of one may happen to prefer one side.
    pixels = [
        decoded(new(submission, "Decoder", 3, 32, 5), 1e3 * torch.randn(16, 5), 3, 32)
        for _ in range(4)
    ]
    expect_pixel_range(torch.cat(pixels))


@check("decoder")
def test_decoder_uses_the_code(submission: Submission) -> None:
    """Another code gives another image, and each image depends on its own code alone."""
    decoder = new(submission, "Decoder", 1, 28, 5)
    expect_own_rows(
        lambda z: decoded(decoder, z, 1, 28),
        torch.randn(6, 5),
        "Every code gives the same image: is `z` used?",
        "A code decoded",
        "code_ignored",
    )


# Forward. Known linear maps stand in for the parts, so that only the wiring is judged.


@check("forward")
def test_forward_wiring(submission: Submission) -> None:
    """The image goes through encoder, reparameterize and decoder, in training and after.

    Two calls must draw twice, too.
    """
    vae = model_or_bare(submission, "VAE")
    for n, channels, size, mode in (
        (5, 1, 28, vae.train),
        (5, 3, 32, vae.eval),
        (1, 1, 28, vae.eval),
    ):
        parts = KnownVae(vae, channels, size)
        mode()
        x = images(n, channels, size)
        mu, logvar = parts.encode(x)
        got = vae(x)
        expect(
            isinstance(got, tuple) and len(got) == 3,
            f"`forward` should return the three values (x_recon, mu, logvar), got {kind(got)}.",
        )
        known = (parts, mu, logvar)
        x_recon = expect_tensor(got[0], tuple(x.shape), "`x_recon`")
        for head, value, due in zip(("mu", "logvar"), got[1:], (mu, logvar), strict=True):
            value = expect_tensor(value, (n, 3), f"`{head}`")
            expect_close(value, due, f"`{head}`", known, HEAD_MISTAKES[head])
        expect_close(x_recon, parts.decode_draw(mu, logvar), "`x_recon`", known, FORWARD_MISTAKES)
    expect_new_draws(vae, "reparameterize", TOLD, 3, lambda: torch.as_tensor(vae(x)[0]))


@check("forward")
def test_vae_is_made_of_its_parts(submission: Submission) -> None:
    """`VAE(in_channels, size, latent_dim)` has an encoder and a decoder of these sizes."""
    for part, argument in (("encoder", images(2, 3, 32)), ("decoder", torch.randn(2, 5))):
        try:
            new(submission, part.capitalize(), 3, 32, 5)(argument)
        except Raised:
            # It has lost its own points; what is left of the VAE has to work without it.
            vae = model_or_bare(submission, "VAE")
            KnownVae(vae, 3, 32)
            vae(images(2, 3, 32))
            continue
        try:
            getattr(new(submission, "VAE", 3, 32, 5), part)(argument)
        except Raised as error:
            fail(
                f"`{part.capitalize()}(3, 32, 5)` works, but the {part} of `VAE(3, 32, 5)` raises "
                f"{error}. Are the sizes passed on?",
                "sizes_ignored",
            )
