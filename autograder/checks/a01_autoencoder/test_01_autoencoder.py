"""The tasks and checks of `01_autoencoder`."""

import torch

from autograder.checks.bounds import course_bounds
from autograder.checks.deformed import deformed_digits
from autograder.checks.shared.autoencoder import (
    criterion_checks,
    decoded,
    encode,
    error_through_the_code,
    expect_images_taken,
    forward_checks,
    reconstruction_error,
)
from autograder.checks.shared.networks import (
    GAIN,
    Part,
    budget_checks,
    logits_of,
    nonlinearity_checks,
    part_checks,
    range_checks,
)
from autograder.checks.shared.parts import expect_instance, images, new_model
from autograder.checks.shared.widths import width_checks
from autograder.checks.training import TrainingSpec, training_checks
from autograder.checks.vocabulary import (
    Mistake,
    Task,
    check,
    expect,
    expect_close,
    expect_tensor,
    expect_whole_number,
    kind,
)
from autograder.protocol.remote import RemoteObject, Submission

TASKS = (
    Task("transform", 10, "Transform"),
    Task("encoder", 15, "Encoder", parts=("encoder",)),
    Task("decoder", 15, "Decoder", parts=("decoder",)),
    Task("forward", 10, "Forward pass", parts=("forward",), uses=("encoder", "decoder")),
    Task("criterion", 15, "Loss", names=("criterion",)),
    Task("latent_size", 5, "Latent size"),
    Task("parameter_budget", 5, "Parameter budget"),
    Task("training", 15, "Training loss"),
)

LATENT_DIM = 2


def new_autoencoder(submission: Submission, latent_dim: int) -> RemoteObject:
    """Make a small model in eval mode."""
    return new_model(submission, "Autoencoder", 48, latent_dim)


# Transform. The notebook's `apply_transform` makes the PIL image and calls `transform` with it.


def transformed(submission: Submission, pixels: torch.Tensor) -> torch.Tensor:
    """Return the output of `transform` for bytes (H, W)."""
    got = submission.object("apply_transform")(pixels)
    return expect_tensor(got, (1, *pixels.shape), "The output of `transform` for a PIL image")


TRANSFORM_MISTAKES = (
    Mistake(
        "bytes_kept",
        "`transform` returns pixels between 0 and 255; they should be in [0, 1].",
        lambda pixels: pixels,
    ),
    Mistake(
        "shifted_range",
        "`transform` maps pixels to [-1, 1]. A sigmoid at the end of the decoder cannot output "
        "negative values. Map pixels to [0, 1].",
        lambda pixels: pixels / 127.5 - 1,
    ),
    Mistake(
        "inverted",
        "`transform` turns black into white.",
        lambda pixels: 1 - pixels / 255,
    ),
    Mistake(
        "divided_by_256",
        "`transform` divides by 256. White is the byte 255 and should become 1.",
        lambda pixels: pixels / 256,
    ),
    Mistake(
        "divided_twice",
        "`transform` divides by 255 twice. `ToTensor` divides by 255 already.",
        lambda pixels: pixels / 255**2,
    ),
    Mistake(
        "standardized",
        "`transform` subtracts a mean and divides by a standard deviation. Pixels should stay in "
        "[0, 1]: remove `Normalize`.",
        lambda pixels: (pixels / 255 - 0.1307) / 0.3081,
    ),
    Mistake(
        "binarized",
        "`transform` rounds grey pixels to black and white. Keep the grey values.",
        lambda pixels: (pixels / 255).round(),
    ),
    Mistake(
        "stretched",
        "`transform` stretches each image to the range [0, 1]: its darkest pixel becomes 0 and its "
        "brightest 1. Divide by 255 in all images.",
        lambda pixels: (pixels - pixels.min()) / (pixels.max() - pixels.min()),
    ),
    Mistake(
        "stretched",
        "`transform` divides by the brightest pixel of each image. Divide by 255 in all images.",
        lambda pixels: pixels / pixels.max(),
    ),
    Mistake(
        "transposed",
        "`transform` exchanges rows and columns of the image.",
        lambda pixels: pixels.mT / 255,
    ),
    Mistake(
        "flipped",
        "`transform` flips the image from left to right.",
        lambda pixels: pixels.flip(2) / 255,
    ),
    Mistake(
        "flipped",
        "`transform` flips the image upside down.",
        lambda pixels: pixels.flip(1) / 255,
    ),
)
# Every fair coin of a random transform shows one side with a probability of 2e-6.
REPEATS = 20


@check("transform")
def test_transform_values(submission: Submission) -> None:
    """A grey PIL image of any size becomes a tensor (1, H, W) with values byte / 255."""
    for height, width, darkest, brightest in ((28, 28, 0, 255), (20, 32, 30, 200)):
        pixels = torch.randint(darkest, brightest + 1, (height, width), dtype=torch.uint8)
        pixels[0, :2] = torch.tensor([darkest, brightest])
        scaled = pixels[None].double()
        got = transformed(submission, pixels)
        expect_close(got, scaled / 255, "A pixel", (scaled,), TRANSFORM_MISTAKES)


@check("transform")
def test_transform_type(submission: Submission) -> None:
    """The output is a tensor of type float32."""
    pixels = torch.zeros(28, 28, dtype=torch.uint8)
    got = submission.object("apply_transform")(pixels)
    should = "`transform` should return a tensor of type float32, as the layers of a model take it"
    expect(isinstance(got, torch.Tensor), f"{should}, got {kind(got)}.")
    expect(got.dtype == torch.float32, f"{should}, got one of type {_type(got)}.", "not_float32")
    # A NumPy array arrives as a tensor.
    submission.run(IS_TENSOR, "transform_type")
    is_tensor = submission.object("_is_tensor")(pixels)
    expect(is_tensor is True, f"{should}, got a NumPy array.", "numpy_array")


def _type(value: torch.Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


IS_TENSOR = """
def _is_tensor(pixels):
    import torch
    return isinstance(apply_transform(pixels), torch.Tensor)
"""


@check("transform")
def test_transform_repeats(submission: Submission) -> None:
    """The same image returns the same tensor each time."""
    pixels = torch.randint(256, (28, 28), dtype=torch.uint8)
    first = transformed(submission, pixels)
    for _ in range(REPEATS):
        expect(
            torch.equal(transformed(submission, pixels), first),
            "The same image, transformed again, becomes another tensor: `transform` is random. Use "
            "no random transforms here.",
            "random_transform",
        )


# Encoder and decoder


def codes_of(model: RemoteObject, x: torch.Tensor, latent_dim: int) -> torch.Tensor:
    """Encode images and expect codes (N, Z)."""
    return expect_tensor(encode(model.encoder, x), (len(x), latent_dim), "`encoder(x)`")


SHAPES = ((1, 2), (7, 5), (4, 13))
ENCODER = Part(
    "encoder", new_autoencoder, codes_of, lambda _, n, z: images(n), small=(5,), shapes=SHAPES
)
DECODER = Part(
    "decoder",
    new_autoencoder,
    lambda model, z, _: decoded(model, z),
    lambda _, n, z: torch.randn(n, z),
    small=(5,),
    shapes=SHAPES,
    row="code",
    gives=("image",),
    argument="z",
)


@check("encoder")
def test_code_is_free(submission: Submission) -> None:
    """Codes can have any value: there is no activation at the end of the encoder."""
    # Large weights drive features, and so any activation, to their limits. The 64 outputs of a
    # linear layer are then on both sides of 0, and not all near one limit.
    (codes,) = ENCODER.far(submission, 1, 256, (64,), GAIN)
    below, above = float((-codes).clamp(min=0).mean()), float(codes.clamp(min=0).mean())
    expect(
        below >= 0.05 * above,
        "Codes are almost never negative. Is there an activation at the end of the encoder? It "
        "removes half of every axis: three of the four quadrants of a plane.",
        "activation_on_code",
    )
    expect(
        float(codes.abs().max()) > 1.0001 or float(codes.abs().median()) < 0.9,
        "Codes never leave [-1, 1], and are near its limits for extreme images. Is there an "
        "activation at the end of the encoder? A code may have any size.",
        "activation_on_code",
    )
    size = float(codes.abs().mean())
    for what, values in (("sum of the numbers", codes.sum(1)), ("length", codes.norm(dim=1))):
        expect(
            float(values.std()) > 1e-3 * size,
            f"The {what} of a code is the same for every image. Is there a normalization after "
            "the last layer of the encoder? It excludes most of the plane.",
            "code_normalised",
        )
    first, second = torch.linalg.svdvals(codes - codes.mean(0))[:2].tolist()
    expect(
        second > 1e-4 * first,
        "All codes are on one line. Does a layer of the encoder have only one feature?",
        "codes_on_a_line",
    )


@check("encoder")
def test_encoder_takes_images(submission: Submission) -> None:
    """The encoder takes what `forward` gives it."""
    expect_images_taken(submission, "Autoencoder", 48, 3)


# The whole model


@check("latent_size")
def test_latent_size(submission: Submission) -> None:
    """`latent_dim` is 2, and your `model` has codes of two numbers."""
    latent_dim = expect_whole_number(submission.value("latent_dim"), "latent_dim")
    expect(
        latent_dim == LATENT_DIM,
        f"`latent_dim` is {latent_dim}; hand in a model with a latent size of {LATENT_DIM}. Then "
        "its codes can be plotted on a plane.",
        "wrong_latent_size",
    )
    if "encoder" not in submission.failed:
        model = submission.object("model")
        expect_instance(model, "model")
        code = encode(model.encoder, images(2))
        shown = code.shape[-1] if isinstance(code, torch.Tensor) and code.dim() else kind(code)
        expect(
            shown == LATENT_DIM,
            f"`latent_dim` is {LATENT_DIM}, but the codes of `model` have size {shown}. Is `model` "
            "made with `latent_dim`?",
            "wrong_latent_size",
        )


BOUNDS = course_bounds(__name__, epochs=15, below=0.04, below_new=0.06, budget=1_500_000)
SPEC = TrainingSpec(
    model="Autoencoder",
    data="mnist",
    unit="in mean squared error",
    batch=lambda x, labels: (x,),
    loss=reconstruction_error,
    confirm=lambda model, x, most=None: error_through_the_code(model, x, x, most),
    # Another size costs the points of its own task only.
    code=lambda submission: None if "latent_size" in submission.failed else LATENT_DIM,
    new_images=deformed_digits,
    untrained=0.055,
    confirmed="With a decoder that gets only the codes of your encoder",
    digits=4,
    calls={"encoder": encode},
    headline=0.036,
    **BOUNDS,
)


FAMILIES = (
    part_checks(
        ENCODER,
        "Images (N, 1, 28, 28) become codes (N, Z), also for a single image.",
        ignored="image_ignored",
        detached="detached",
        own_layers="encoder",
    ),
    part_checks(
        DECODER,
        "Codes (N, Z) become images (N, 1, 28, 28), also for a single code.",
        ignored="code_ignored",
        detached="detached",
        own_layers="decoder",
    ),
    range_checks(DECODER),
    *(
        width_checks(
            part.task,
            lambda submission, hidden: new_model(submission, "Autoencoder", hidden, 5),
            part.task,
            lambda part=part: part.inputs(None, 2, 5),  # type: ignore[misc]
        )
        for part in (ENCODER, DECODER)
    ),
    nonlinearity_checks(ENCODER, 5),
    nonlinearity_checks(DECODER, 3, logits_of, 1e-3),
    forward_checks("Autoencoder", 48, 3, code=(3,), latent_dim=3),
    criterion_checks(),
    budget_checks(BOUNDS["budget"], {"encoder": "encoder", "decoder": "decoder"}),
    training_checks(TASKS, SPEC, loss="the error"),
)
