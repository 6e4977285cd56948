"""Tasks and checks of `10_loss_study`."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from autograder.checks.a10_loss_study import loss_terms, same_footing
from autograder.checks.a10_loss_study.known_parts import any_vae, known_vae
from autograder.checks.shared.networks import (
    Part,
    head_checks,
    logits_of,
    module_checks,
    nonlinearity_checks,
    part_checks,
    range_checks,
)
from autograder.checks.shared.parts import images
from autograder.checks.shared.sampling import (
    expect_new_draws,
    mean_in_eval_accepted,
    method_sampler,
    sampling_checks,
)
from autograder.checks.shared.wiring import (
    TOLD,
    expect_accepted_shape,
    expect_forward_gradients,
    expect_outputs,
)
from autograder.checks.vocabulary import (
    Task,
    check,
    expect,
    expect_tensor,
    fail,
    kind,
)
from autograder.protocol.remote import Raised, RemoteObject, Submission

TASKS = (
    Task("encoder", 15, "Encoder", parts=("encoder",)),
    Task("decoder", 15, "Decoder", parts=("decoder",)),
    Task("reparameterize", 10, "Reparameterization", parts=("reparameterize",)),
    Task("forward", 5, "Forward pass", parts=("forward",)),
    Task("bce", 10, "Cross-entropy"),
    Task("squared_error", 10, "Squared error"),
    Task("kl_divergence", 10, "KL divergence"),
    Task("both", 5, "Both together"),
    Task("measure", 10, "The same footing"),
)

# Images (N, C, S, S) and a latent size Z; by default, grey images of 28 × 28 and 20 latents.
KINDS: tuple[tuple[int, ...], ...] = (
    (1, 1, 28, 20),
    (7, 3, 32, 5),
    (4, 1, 32, 13),
    (2, 3, 28, 8),
    (3,),
)


# Encoder and decoder


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
        f"`encoder(x)` should return the two values (mu, logvar), got {kind(got)}.",
    )
    return tuple(
        expect_tensor(value, (len(x), z), f"`{name}`")
        for name, value in zip(("mu", "logvar"), got, strict=True)
    )


def decoded(decoder: Callable[..., Any], z: torch.Tensor, channels: int, size: int) -> torch.Tensor:
    """Decode codes and expect images (N, C, S, S)."""
    got = decoder(z)
    shape = tuple(got.shape) if isinstance(got, torch.Tensor) else ()
    expect(
        len(shape) != 4 or shape[:2] != (len(z), channels) or shape[2:] == (size, size),
        f"`decoder(z)` returns images of {' × '.join(map(str, shape[2:]))} pixels; expected "
        f"{size} × {size}. Follow the side through the layers: does each of them double it, for "
        "every size?",
        "wrong_side",
    )
    return expect_tensor(got, (len(z), channels, size, size), "`decoder(z)`")


ENCODER = Part(
    "encoder",
    lambda submission, *sizes: new(submission, "Encoder", *sizes),
    lambda encoder, x, channels=1, size=28, z=20: encoded(encoder, x, z),
    lambda _, n, channels=1, size=28, z=20: images(n, channels, size),
    small=(3, 32, 5),
    shapes=KINDS,
    gives=("`mu`", "`logvar`"),
)
DECODER = Part(
    "decoder",
    lambda submission, *sizes: new(submission, "Decoder", *sizes),
    lambda decoder, z, channels=1, size=28, latents=20: decoded(decoder, z, channels, size),
    lambda _, n, channels=1, size=28, z=20: torch.randn(n, z),
    small=(3, 32, 5),
    shapes=KINDS,
    row="code",
    gives=("image",),
    argument="z",
)


# Forward. Known linear maps replace the parts, so that only the connections are tested.


@check("forward")
def test_forward_wiring(submission: Submission) -> None:
    """The image passes encoder, reparameterize and decoder, in training mode and in eval mode.

    Gradients must reach each of them. Two calls must return two samples.
    """
    for n, channels, size, mode in ((5, 1, 28, "train"), (5, 3, 32, "eval"), (1, 1, 28, "eval")):
        vae, parts = known_vae(submission, channels, size)
        getattr(vae, mode)()
        x = images(n, channels, size)
        try:
            got = vae(x)
        except Raised:
            expect_accepted_shape(parts, x)
            raise
        with mean_in_eval_accepted(submission, "reparameterize", mode):
            expect_outputs(got, parts, x, name="x_recon")
        if mode == "train":
            expect_forward_gradients(parts, x, name="x_recon")
    expect_new_draws(vae, "reparameterize", TOLD, 3, vae, x)


@check("forward")
def test_vae_is_made_of_its_parts(submission: Submission) -> None:
    """`VAE(in_channels, size, latent_dim)` has an encoder and a decoder of these sizes."""
    arguments, alone = {"encoder": images(2, 3, 32), "decoder": torch.randn(2, 5)}, {}
    for part, argument in arguments.items():
        with contextlib.suppress(Raised):
            alone[part] = new(submission, part.capitalize(), 3, 32, 5)(argument)
    # A part that raises has already lost its own points. The rest of the VAE works without it.
    if alone.keys() != arguments.keys():
        vae, _ = known_vae(submission, 3, 32)
        vae(images(2, 3, 32))
        return
    for part, argument in arguments.items():
        try:
            inside = getattr(new(submission, "VAE", 3, 32, 5), part)(argument)
        except Raised as error:
            fail(
                f"`{part.capitalize()}(3, 32, 5)` works, but the {part} of `VAE(3, 32, 5)` raises "
                f"{error}. Are the sizes passed on?",
                "sizes_ignored",
            )
        expect(
            _shapes(inside) == _shapes(alone[part]),
            f"`{part.capitalize()}(3, 32, 5)` and the {part} of `VAE(3, 32, 5)` return values of "
            "different shapes. Are all sizes passed on?",
            "sizes_ignored",
        )


def _shapes(got: Any) -> list[tuple[int, ...]]:
    """Return the shapes of one tensor, or of the tensors in a tuple."""
    values = got if isinstance(got, tuple) else (got,)
    return [tuple(value.shape) for value in values if isinstance(value, torch.Tensor)]


FAMILIES = (
    part_checks(
        ENCODER,
        "Grey and colour images of 28 × 28 (default) and 32 × 32 become mu and logvar (N, Z).",
        ignored="image_ignored",
        detached="detached",
    ),
    head_checks(ENCODER, (1, 28, 40), same="one_head", n=64),
    part_checks(
        DECODER,
        "Codes (N, Z), by default Z = 20, become grey or colour images, 28 × 28 or 32 × 32.",
        ignored="code_ignored",
        detached="detached",
    ),
    range_checks(DECODER, 16, models=4),
    nonlinearity_checks(ENCODER, 5),
    nonlinearity_checks(DECODER, 3, logits_of, 1e-3),
    sampling_checks(
        "reparameterize",
        method_sampler(any_vae, "reparameterize"),
        what="`reparameterize(mu, logvar)`",
        name="reparameterize",
    ),
    *loss_terms.FAMILIES,
    module_checks(loss_terms),
    module_checks(same_footing),
)
