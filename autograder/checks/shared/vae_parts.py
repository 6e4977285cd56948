"""Families of checks of `myVAE`: its encoder, decoder and forward pass.

With a condition c of C numbers the encoder takes rows [x, c] and the decoder rows [z, c]
(Sohn, Lee & Yan 2015). Without a condition, C = 0, they take x and z alone.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from autograder.checks.shared.networks import (
    KEPT,
    Checks,
    Part,
    either_weights,
    expect_part_gradients,
    head_checks,
    layer_checks,
    logits_of,
    named_check,
    nonlinearity_checks,
    part_checks,
    range_checks,
    shape_checks,
)
from autograder.checks.shared.parts import (
    expect_mode_kept,
    expect_own_rows,
    images,
    model_or_bare,
    new_model,
)
from autograder.checks.shared.sampling import expect_new_draws, mean_in_eval_accepted
from autograder.checks.shared.widths import sizes_followed, width_checks
from autograder.checks.shared.wiring import (
    FEATURES,
    LATENTS,
    TOLD,
    KnownVae,
    expect_accepted_shape,
    expect_forward_gradients,
    expect_joined,
    expect_outputs,
    seen_by,
)
from autograder.checks.vocabulary import expect, expect_tensor, fail, kind
from autograder.protocol.remote import Raised, RemoteObject, Submission

PIXELS = 28 * 28
# The hidden features of a small model.
WIDTH = 48
HEADS = ("mu_layer", "logvar_layer")
# The parts of a model, and the task that tests each.
PARTS = {"encoder": "encoder", **dict.fromkeys(HEADS, "encoder"), "decoder": "decoder"}
SHOWN = {"encoder": "q(z | x, c) needs the image and", "decoder": "p(x | z, c) needs the code and"}


def new_vae(submission: Submission, latent_dim: int = 5, condition: int = 0) -> RemoteObject:
    """Make a small model in eval mode."""
    return new_model(submission, "myVAE", WIDTH, latent_dim, *_given(condition))


def _given(condition: int) -> tuple[int, ...]:
    return (condition,) if condition else ()


def rows_for(
    part: Any, name: str, rows: torch.Tensor, condition: int, usual: int = 0
) -> torch.Tensor:
    """Call a part with joined rows; if it cannot take these, report which rows it takes.

    Args:
        part: The part.
        name: Its name.
        rows: The rows that it should take, (N, width + condition).
        condition: C.
        usual: The C that this assignment trains with.
    """
    try:
        return part(rows)
    except Raised:
        width = rows.shape[1] - condition
        known: tuple[tuple[int, str, str], ...] = (
            (
                0,
                f"condition_missing_in_{name}",
                f"`{name}` has no inputs for the condition: {SHOWN[name]} the condition.",
            ),
            (
                1,
                "condition_as_number",
                f"`{name}` has one input for the condition. Classes have no order: use one input "
                "for each class.",
            ),
            (
                usual,
                "condition_hard_coded",
                f"`{name}` takes rows of {width + usual} values for every `conditional_vec_dim`.",
            ),
        )
        if not usual:
            known = ((1, "wrong_width", f"`{name}` has one input too many."),)
        for extra, mistake, says in known:
            if extra != condition and _takes(part, width + extra):
                found = f"It takes {width + extra} values a row and should take {rows.shape[1]}."
                fail(f"{says} {found}", mistake)
        raise


def _takes(part: Any, width: int) -> bool:
    try:
        part(torch.rand(2, width))
    except Raised:
        return False
    return True


@contextlib.contextmanager
def _explained(task: str, vae: RemoteObject, latent_dim: int, condition: int) -> Iterator[None]:
    """Name the size that a layer ignores, if a part of a small model raises an exception."""
    try:
        yield
    except Raised as error:
        submission = vae.submission

        def works(hidden_dim: int, latent_dim: int, conditional_vec_dim: int = 0) -> None:
            made = new_model(
                submission, "myVAE", hidden_dim, latent_dim, *_given(conditional_vec_dim)
            )
            if task == "encoder":
                _encoded(
                    made,
                    torch.rand(2, PIXELS + conditional_vec_dim),
                    latent_dim,
                    conditional_vec_dim,
                    conditional_vec_dim,
                )
            else:
                _decoded(
                    made,
                    torch.randn(2, latent_dim + conditional_vec_dim),
                    latent_dim,
                    conditional_vec_dim,
                    conditional_vec_dim,
                )

        sizes = {"hidden_dim": WIDTH, "latent_dim": latent_dim}
        if condition:
            sizes["conditional_vec_dim"] = condition
        if error.kind != "NotImplementedError":
            sizes_followed(task, submission, sizes, works)
        raise


def encoded(
    vae: RemoteObject, rows: torch.Tensor, latent_dim: int, condition: int, usual: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode joined rows (N, 784 + C) and expect mu and logvar, (N, Z) each."""
    with _explained("encoder", vae, latent_dim, condition):
        return _encoded(vae, rows, latent_dim, condition, usual)


def _encoded(
    vae: RemoteObject, rows: torch.Tensor, latent_dim: int, condition: int, usual: int
) -> tuple[torch.Tensor, torch.Tensor]:
    n = len(rows)
    hidden = rows_for(vae.encoder, "encoder", rows, condition, usual)
    expect(
        isinstance(hidden, torch.Tensor) and hidden.dim() == 2 and len(hidden) == n,
        f"`encoder` should return {n} rows of features for {n} rows, got {kind(hidden)}.",
    )
    mu = expect_tensor(vae.mu_layer(hidden), (n, latent_dim), "`mu_layer(hidden)`")
    return mu, expect_tensor(vae.logvar_layer(hidden), (n, latent_dim), "`logvar_layer(hidden)`")


def decoded(
    vae: RemoteObject, rows: torch.Tensor, latent_dim: int, condition: int, usual: int
) -> torch.Tensor:
    """Decode joined rows (N, Z + C) and expect images (N, 1, 28, 28)."""
    with _explained("decoder", vae, latent_dim, condition):
        return _decoded(vae, rows, latent_dim, condition, usual)


def _decoded(
    vae: RemoteObject, rows: torch.Tensor, latent_dim: int, condition: int, usual: int
) -> torch.Tensor:
    out = rows_for(vae.decoder, "decoder", rows, condition, usual)
    expect(
        not (
            condition
            and isinstance(out, torch.Tensor)
            and out.numel() == len(rows) * (PIXELS + condition)
        ),
        f"`decoder` returns {PIXELS + condition} values a row: the image and the condition. It "
        "should return the image only; the condition is known.",
        "condition_reconstructed",
    )
    return expect_tensor(out, (len(rows), 1, 28, 28), "`decoder(z)`")


def vae_checks(conditions: tuple[int, ...] = (0,)) -> Checks:
    """Make the checks of the encoder and the decoder of `myVAE`.

    Args:
        conditions: Sizes C of the condition for the tests of the shapes. The assignment trains
            with the first one.
    """
    usual = conditions[0]
    shapes = tuple((n, z, c, usual) for c in conditions for n, z in ((1, 5), (7, 5), (4, 13)))
    encoder = Part(
        "encoder",
        lambda submission, z, c, _: new_vae(submission, z, c),
        encoded,
        lambda _, n, z, c, usual: torch.rand(n, PIXELS + c),
        small=(5, usual, usual),
        shapes=shapes,
        gives=("`mu`", "`logvar`"),
    )
    decoder = replace(
        encoder,
        task="decoder",
        call=decoded,
        inputs=lambda _, n, z, c, usual: torch.randn(n, z + c),
        row="code",
        gives=("image",),
        argument="z",
    )
    if usual:
        sizes = "any C, also C = 0" if 0 in conditions else "any C"
        return (
            *shape_checks(encoder, f"Rows [x, c] become mu and logvar, (N, Z) each, for {sizes}."),
            *head_checks(encoder, (40, usual, usual), same=None),
            *condition_checks(encoder, PIXELS),
            *layer_checks(encoder, "encoder", HEADS),
            *hidden_checks(encoder, decoder),
            *shape_checks(decoder, f"Rows [z, c] become images (N, 1, 28, 28), for {sizes}."),
            *range_checks(decoder),
            *condition_checks(decoder, 5),
            *layer_checks(decoder, "decoder"),
        )
    return (
        *part_checks(
            encoder,
            "Image rows (N, 784) become mu and logvar, (N, Z) each, also for a single image.",
            detached="detached",
            own_layers="encoder",
            heads=HEADS,
        ),
        *head_checks(encoder, (40, usual, usual), same=None),
        *part_checks(
            decoder,
            "Codes (N, Z) become images (N, 1, 28, 28), also for a single code.",
            detached="detached",
            own_layers="decoder",
        ),
        *range_checks(decoder),
        *hidden_checks(encoder, decoder),
    )


def hidden_checks(encoder: Part, decoder: Part) -> Checks:
    """Make the checks that both parts follow `hidden_dim` and are no linear maps."""

    def model(submission: Submission, hidden_dim: int) -> RemoteObject:
        _, condition, _ = encoder.small
        return new_model(submission, "myVAE", hidden_dim, 5, *_given(condition))

    def rows(part: Part) -> Callable[[], torch.Tensor]:
        return lambda: part.inputs(None, 2, *part.small)

    return (
        *width_checks("encoder", model, "encoder", rows(encoder)),
        *nonlinearity_checks(encoder, 5),
        *width_checks("decoder", model, "decoder", rows(decoder)),
        *nonlinearity_checks(decoder, 3, logits_of, 1e-3),
    )


def condition_checks(part: Part, width: int) -> Checks:
    """Make the check that a part uses its input and its condition, for each row separately.

    Args:
        part: The encoder or the decoder.
        width: The number of columns of a row before the condition.
    """
    row, first = part.row, part.gives[0]

    def expect_used(made_and_inputs: tuple[RemoteObject, torch.Tensor]) -> None:
        vae, x = made_and_inputs
        left, c = x[:, :width], x[:, width:]
        for rows, ignored, mistake in (
            ((left, c[:1].expand(6, -1)), f"Every {row} has the same {first}: is it used?", None),
            (
                (left[:1].expand(6, -1), c),
                f"Every condition has the same {first}: {SHOWN[part.task]} the condition.",
                f"condition_missing_in_{part.task}",
            ),
        ):
            expect_own_rows(
                lambda x: part.outputs(vae, x, *part.small),
                torch.cat(rows, 1),
                ignored,
                f"The {first} of one {row}",
                mistake,
            )
        expect_part_gradients(part, vae, x, part.small, "detached")

    @named_check(
        part.task,
        f"{part.task}_uses_{row}_and_condition",
        f"The {first} of a row depends on its own {row} and its own condition.",
    )
    def used(submission: Submission) -> None:
        either_weights(lambda gain: part.filled(submission, 6, gain), expect_used, KEPT)

    return (used,)


# Forward. Known linear maps (stubs) replace the parts, so that only the wiring is tested.

Conditions = Callable[[int], tuple[torch.Tensor, ...]]


def with_stubs(submission: Submission, condition: int = 0) -> tuple[RemoteObject, KnownVae]:
    """Make a model whose parts are stubs; only its methods are the submission's own."""
    vae = model_or_bare(
        submission,
        "myVAE",
        FEATURES,
        LATENTS,
        *_given(condition),
        hidden_dim=FEATURES,
        latent_dim=LATENTS,
        conditional_vec_dim=condition,
    )
    return vae, KnownVae(vae, condition=condition)


def forward_checks(sentence: str, conditions: Conditions = lambda n: ()) -> Checks:
    """Make the check that `forward` calls encoder, heads, sampling and decoder correctly.

    Gradients must reach each of them. Two calls must use two different samples.

    Args:
        sentence: The check's sentence.
        conditions: Makes the condition of n images, (n, C), all rows different; () for none.
    """
    condition = sum(c.shape[1] for c in conditions(1))

    @named_check("forward", "forward_wiring", sentence)
    def forward(submission: Submission) -> None:
        for n, mode in ((5, "train"), (5, "eval"), (1, "eval")):
            vae, parts = with_stubs(submission, condition)
            getattr(vae, mode)()
            x, c = images(n), conditions(n)
            try:
                got = vae(x, *c)
            except Raised:
                if c:
                    expect_inputs_joined(vae, parts, x, c[0])
                    expect_features_joined(submission, x)
                else:
                    expect_accepted_shape(parts, x)
                raise
            if c and isinstance(got, tuple) and len(got) == 3:
                expect_inputs_joined(vae, parts, x, c[0])
            with mean_in_eval_accepted(submission, "reparameterize", mode):
                expect_outputs(got, parts, x, *c)
            if mode == "train":
                expect_mode_kept(vae, "forward")
                expect_forward_gradients(parts, x, *c)
            else:
                expect_mode_kept(vae, "forward", training=False)
        expect_new_draws(vae, "reparameterize", TOLD, LATENTS, vae, x, *c)

    return (forward,)


def expect_inputs_joined(
    vae: RemoteObject, parts: KnownVae, x: torch.Tensor, c: torch.Tensor
) -> None:
    """Expect that the stubs that were called were called with [x, c] and [z, c]."""
    expect_joined(seen_by(vae, "encoder"), x.flatten(1), c, "encoder")
    expect_joined(seen_by(vae, "decoder"), None, c, "decoder")


def expect_features_joined(submission: Submission, x: torch.Tensor) -> None:
    """Expect that c is not joined as additional rows.

    Rows of different widths cannot be joined like this. So c gets the width of the other rows.
    """
    for part, width in (("encoder", PIXELS), ("decoder", LATENTS)):
        vae, _ = with_stubs(submission, width)
        c = torch.rand(len(x), width)
        with contextlib.suppress(Raised):
            vae(x, c)
        seen = getattr(vae, part).seen()
        expect(
            len(seen) != 2 * len(x),
            "`forward` appends the conditions as additional rows of the batch. The number of rows "
            "should stay the same: each row becomes wider.",
            "joined_on_batch_axis",
        )
