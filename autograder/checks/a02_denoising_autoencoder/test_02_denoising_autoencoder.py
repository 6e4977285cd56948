"""The tasks and checks of `02_denoising_autoencoder`."""

from typing import Any

import torch

from autograder.checks.a02_denoising_autoencoder import denoising, noise
from autograder.checks.bounds import course_bounds
from autograder.checks.deformed import deformed_digits
from autograder.checks.shared.autoencoder import (
    PIXELS,
    criterion_checks,
    decoded,
    encode,
    error_through_the_code,
    expect_images_taken,
    forward_checks,
    reconstruction_error,
)
from autograder.checks.shared.networks import (
    Part,
    budget_checks,
    module_checks,
    part_checks,
    range_checks,
)
from autograder.checks.shared.parts import images, new_model
from autograder.checks.training import TrainingSpec, training_checks
from autograder.checks.vocabulary import CheckFailed, Task, check, expect, expect_tensor, kind
from autograder.protocol.remote import Raised, RemoteObject, Submission

# The student chooses the code's shape. If one of the two parts has failed, the other does not fit
# the reference's part, so both are replaced.
TASKS = (
    Task("add_noise", 15, "Noise", names=("add_noise",)),
    Task("encoder", 15, "Encoder", parts=("encoder",), uses=("decoder",)),
    Task("bottleneck", 5, "Bottleneck"),
    Task("decoder", 15, "Decoder", parts=("decoder",), uses=("encoder",)),
    Task("forward", 5, "Forward pass", parts=("forward",), uses=("encoder", "decoder")),
    Task("criterion", 5, "Loss", names=("criterion",)),
    Task("denoising_loss", 15, "Denoising loss", names=("denoising_loss",)),
    Task("parameter_budget", 5, "Parameter budget"),
    Task("training", 10, "Training loss"),
)


def new_autoencoder(submission: Submission) -> RemoteObject:
    """Make a model in eval mode."""
    return new_model(submission, "DenoiseAE")


# Encoder and decoder


def codes_of(model: RemoteObject, x: torch.Tensor) -> torch.Tensor:
    """Encode images and expect one code, of any shape, for each image."""
    code = encode(model.encoder, x)
    expect(
        isinstance(code, torch.Tensor) and code.dim() > 1 and len(code) == len(x),
        f"`encoder(x)` should return one code for each of {len(x)} images, got {kind(code)}.",
    )
    return expect_tensor(code, tuple(code.shape), "`encoder(x)`")


def code_shape(model: RemoteObject) -> tuple[int, ...]:
    """Find the shape of the codes that the decoder takes, without the encoder if it fails."""
    try:
        return tuple(codes_of(model, images(2)).shape[1:])
    except (Raised, CheckFailed) as error:
        weights = [w for w in model.decoder.parameters().values() if w.dim() > 1]
        channels = dict.fromkeys(weights[0].shape[:2]) if weights else ()
        sides = ((n, n) for n in SIDES)
        for shape in ((c, *side) for side in sides for c in channels):
            try:
                decoded(model, torch.randn(1, *shape))
            except (Raised, CheckFailed):
                continue
            return shape
        raise error


SIDES = (3, 7, 4, 2, 5, 6, 14, 1)


def decoded_codes(model: RemoteObject, z: torch.Tensor) -> torch.Tensor:
    """Decode codes and expect images; if their side is wrong, find the codes that would fit."""
    try:
        return decoded(model, z)
    except CheckFailed as verdict:
        if verdict.mistake != "wrong_side" or z.dim() != 4:
            raise
        for side in SIDES:
            try:
                decoded(model, torch.randn(len(z), z.shape[1], side, side))
            except (Raised, CheckFailed):
                continue
            raise CheckFailed(
                f"The decoder does not fit the encoder. The encoder's codes have {z.shape[2]} × "
                f"{z.shape[3]} values in each channel. The decoder makes images of 28 × 28 pixels "
                f"from {side} × {side} values. Which of the two has the wrong size?",
                "sizes_do_not_fit",
            ) from verdict
        raise


ENCODER = Part(
    "encoder", new_autoencoder, codes_of, lambda _, n: images(n), shapes=((1,), (7,), (4,))
)
DECODER = Part(
    "decoder",
    new_autoencoder,
    decoded_codes,
    lambda model, n: torch.randn(n, *code_shape(model)),
    shapes=((1,), (7,), (4,)),
    row="code",
    gives=("image",),
    argument="z",
)


@check("encoder")
def test_codes_have_one_shape(submission: Submission) -> None:
    """The codes of every batch have the same shape."""
    model = new_autoencoder(submission)
    shapes = {tuple(codes_of(model, images(n)).shape[1:]) for n in (1, 7, 4)}
    expect(len(shapes) == 1, f"Codes of different batches have different shapes: {shapes}.")


@check("encoder")
def test_encoder_takes_images(submission: Submission) -> None:
    """The encoder takes what `forward` gives it."""
    expect_images_taken(submission, "DenoiseAE")


@check("bottleneck")
def test_bottleneck(submission: Submission) -> None:
    """A code has fewer values than the image's 784."""
    values = codes_of(new_autoencoder(submission), images(2))[0].numel()
    expect(
        values < PIXELS,
        f"A code has {values:,} values, and an image has {PIXELS}: nothing is compressed. Use "
        "fewer channels at the end, or one more pooling layer.",
        "no_bottleneck",
    )


@check("decoder")
def test_decoder_reaches_black(submission: Submission) -> None:
    """Negative values reach the sigmoid, so pixels can be dark."""
    models = [new_autoencoder(submission) for _ in range(8)]
    shape = code_shape(models[0])
    for scale in (1.0, 10.0, 100.0):
        pixels = []
        for model in models:
            # In training mode, batch normalisation normalises codes of every size.
            model.train()
            pixels.append(decoded_codes(model, scale * torch.randn(16, *shape)))
            model.eval()
        logits = torch.cat(pixels).clamp(1e-6, 1 - 1e-6).logit()
        below, above = (float((sign * logits).clamp(min=0).mean()) for sign in (-1, 1))
        # A second sigmoid also stays above ½; its output never exceeds the sigmoid of 1.
        expect(
            below >= 0.05 * above or float(logits.max()) <= 1.0001,
            "Almost no negative value reaches the decoder's sigmoid. So pixels cannot be darker "
            "than ½, and most of each image is black. Is there an activation right before the "
            "sigmoid? The printed homework has one there: this is an error in the homework.",
            "relu_before_sigmoid",
        )


# The whole model


def error_of_noisy_images(model: Any, x: torch.Tensor, most: int | None = None) -> torch.Tensor:
    """Return the error for noisy images where the decoder gets only the code."""
    corrupted = (x + noise.DEFAULT_STD * torch.randn_like(x)).clamp(0, 1)
    return error_through_the_code(model, corrupted, x, most)


BOUNDS = course_bounds(__name__, epochs=20, below=0.025, below_new=0.035, budget=15_000)
SPEC = TrainingSpec(
    model="DenoiseAE",
    data="mnist",
    unit="in mean squared error",
    batch=lambda x, labels: (x,),
    loss=reconstruction_error,
    confirm=error_of_noisy_images,
    # A larger code costs the points of its own task only.
    code=lambda submission: None if "bottleneck" in submission.failed else PIXELS - 1,
    new_images=deformed_digits,
    untrained=0.055,
    confirmed="In eval mode, with the grader's noise and only the codes of your encoder",
    sizes=(),
    digits=4,
    calls={"encoder": encode},
    headline=0.016,
    **BOUNDS,
)


FAMILIES = (
    module_checks(noise),
    part_checks(
        ENCODER,
        "Images (N, 1, 28, 28) become N codes, also for a single image.",
        ignored="image_ignored",
        detached="detached",
        own_layers="encoder",
    ),
    part_checks(
        DECODER,
        "Codes become images (N, 1, 28, 28), also for a single code.",
        ignored="code_ignored",
        detached="detached",
        own_layers="decoder",
    ),
    range_checks(DECODER, 16, models=8),
    forward_checks("DenoiseAE"),
    criterion_checks(),
    module_checks(denoising),
    budget_checks(BOUNDS["budget"], {"encoder": "encoder", "decoder": "decoder"}),
    training_checks(TASKS, SPEC, loss="the error"),
)
