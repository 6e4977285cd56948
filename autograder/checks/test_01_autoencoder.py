"""What `01_autoencoder` is graded on."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from autograder.checking import (
    CheckFailed,
    Mistake,
    Task,
    check,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
    kind,
)
from autograder.checks.parts import (
    expect_own_rows,
    expect_pixel_range,
    expect_within_budget,
    model_or_bare,
)
from autograder.submission import Affine, Raised, RemoteObject, Submission
from autograder.training import Plan, expect_trained

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

PIXELS = 28 * 28
BUDGET = 1_500_000
LATENT_DIM = 2


def new_autoencoder(submission: Submission, latent_dim: int = 5) -> RemoteObject:
    """Make a small model in eval mode: batch normalisation cannot train on one image."""
    model = submission.new("Autoencoder", 48, latent_dim)
    model.eval()
    return model


def images(n: int) -> torch.Tensor:
    """Make n grey images, (n, 1, 28, 28)."""
    return torch.rand(n, 1, 28, 28)


def encode(encoder: Callable[..., Any], x: torch.Tensor) -> Any:
    """Encode images (N, 1, 28, 28); an encoder that takes rows (N, 784) is right too."""
    try:
        return encoder(x)
    except Raised as error:
        try:
            return encoder(x.flatten(1))
        except Raised:
            raise error from None


def expect_own_layers(model: RemoteObject, part: str) -> None:
    """Expect that no two layers of a part are one and the same."""
    try:
        state = getattr(model, part).state_dict()
    except Raised:
        return  # A part that is no module has no layers to share.
    weights = [w for w in state.values() if isinstance(w, torch.Tensor) and w.dim() == 2]
    for i, first in enumerate(weights):
        for second in weights[:i]:
            # Fresh weights are random: two layers of their own are never equal.
            expect(
                not torch.equal(first, second) or float(first.std()) == 0,
                f"Two layers of `{part}` have the same weights: they are one layer that is used "
                "twice. Multiplying a list copies references; make each layer anew.",
                "shared_layers",
            )


# Transform. The notebook's `apply_transform` makes the PIL image and passes it on.


def transformed(submission: Submission, pixels: torch.Tensor) -> torch.Tensor:
    """What `transform` makes of bytes (H, W)."""
    got = submission.object("apply_transform")(pixels)
    return expect_tensor(got, (1, *pixels.shape), "What `transform` makes of a PIL image")


TRANSFORM_MISTAKES = (
    Mistake(
        "bytes_kept",
        "`transform` leaves pixels between 0 and 255: they should lie in [0, 1].",
        lambda pixels: pixels,
    ),
    Mistake(
        "shifted_range",
        "`transform` shifts pixels to [-1, 1]: a sigmoid at the decoder's end can't reach those "
        "below 0. Stay in [0, 1].",
        lambda pixels: pixels / 127.5 - 1,
    ),
    Mistake(
        "inverted",
        "`transform` turns black into white.",
        lambda pixels: 1 - pixels / 255,
    ),
    Mistake(
        "divided_by_256",
        "`transform` divides by 256: white, a byte of 255, should become 1.",
        lambda pixels: pixels / 256,
    ),
)


@check("transform")
def test_transform_values(submission: Submission) -> None:
    """A grey PIL image becomes a tensor (1, H, W) with values byte / 255, whatever its size."""
    for height, width in ((28, 28), (20, 32)):
        pixels = torch.randint(256, (height, width), dtype=torch.uint8)
        pixels[0, :2] = torch.tensor([0, 255])
        scaled = pixels[None].double()
        got = transformed(submission, pixels)
        expect_close(got, scaled / 255, "A pixel", (scaled,), TRANSFORM_MISTAKES)


@check("transform")
def test_transform_type(submission: Submission) -> None:
    """The tensor holds floats."""
    got = submission.object("apply_transform")(torch.zeros(28, 28, dtype=torch.uint8))
    expect(
        isinstance(got, torch.Tensor) and got.is_floating_point(),
        f"`transform` should give a tensor of floats, got {kind(got)} that holds none.",
    )


@check("transform")
def test_transform_repeats(submission: Submission) -> None:
    """The same image gives the same tensor each time."""
    pixels = torch.randint(256, (28, 28), dtype=torch.uint8)
    first, second = (transformed(submission, pixels) for _ in range(2))
    expect_close(second, first, "The same image, transformed again,")


# Encoder


def codes_of(model: RemoteObject, x: torch.Tensor, latent_dim: int) -> torch.Tensor:
    """Encode images and expect codes (N, Z)."""
    return expect_tensor(encode(model.encoder, x), (len(x), latent_dim), "`encoder(x)`")


@check("encoder")
def test_encoder_shape(submission: Submission) -> None:
    """Images (N, 1, 28, 28) become codes (N, Z), one image alone included."""
    for n, latent_dim in ((1, 2), (7, 5), (4, 13)):
        codes_of(new_autoencoder(submission, latent_dim), images(n), latent_dim)


@check("encoder")
def test_code_is_free(submission: Submission) -> None:
    """Codes reach everywhere: there is no activation at the encoder's end."""
    # Inputs far apart drive features, and with them any activation, to their ends. A linear
    # layer's 32 outputs then lie on both sides of 0 alike, and not all near one bound.
    codes = codes_of(new_autoencoder(submission, 32), 1e3 * torch.randn(256, 1, 28, 28), 32)
    below, above = float((-codes).clamp(min=0).mean()), float(codes.clamp(min=0).mean())
    expect(
        below >= 0.05 * above,
        "Codes are hardly ever negative. An activation at the encoder's end cuts half of every "
        "axis away: of a plane, three quadrants out of four.",
        "activation_on_code",
    )
    expect(
        float(codes.abs().max()) > 1.0001 or float(codes.abs().median()) < 0.9,
        "Codes never leave [-1, 1], and lie at its ends for extreme images. Is there an "
        "activation at the encoder's end? A code may have any size.",
        "activation_on_code",
    )


@check("encoder")
def test_encoder_sees_the_image(submission: Submission) -> None:
    """Different images get different codes, and each code depends on its own image alone."""
    model = new_autoencoder(submission)
    expect_own_rows(
        lambda x: codes_of(model, x, 5),
        images(6),
        "Every image gets the same code: is `x` used?",
        "The code of an image encoded",
        "image_ignored",
    )


@check("encoder")
def test_encoder_layers_differ(submission: Submission) -> None:
    """Each layer of the encoder has weights of its own."""
    model = new_autoencoder(submission)
    codes_of(model, images(2), 5)
    expect_own_layers(model, "encoder")


# Decoder


def decoded(model: RemoteObject, z: torch.Tensor) -> torch.Tensor:
    """Decode codes and expect images (N, 1, 28, 28)."""
    got = model.decoder(z)
    expect(
        not isinstance(got, torch.Tensor) or got.shape != (len(z), PIXELS),
        f"`decoder(z)` gives rows of {PIXELS} pixels; it should give images, "
        f"({len(z)}, 1, 28, 28). What is the reverse of flattening?",
        "flat_images",
    )
    return expect_tensor(got, (len(z), 1, 28, 28), "`decoder(z)`")


@check("decoder")
def test_decoder_shape(submission: Submission) -> None:
    """Codes (N, Z) become images (N, 1, 28, 28), one code alone included."""
    for n, latent_dim in ((1, 2), (7, 5), (4, 13)):
        decoded(new_autoencoder(submission, latent_dim), torch.randn(n, latent_dim))


@check("decoder")
def test_decoder_range(submission: Submission) -> None:
    """Decoded pixels lie in [0, 1] and can be dark as well as bright."""
    expect_pixel_range(decoded(new_autoencoder(submission), 1e3 * torch.randn(64, 5)))


@check("decoder")
def test_decoder_uses_the_code(submission: Submission) -> None:
    """Another code gives another image, and each image depends on its own code alone."""
    model = new_autoencoder(submission)
    expect_own_rows(
        lambda z: decoded(model, z),
        torch.randn(6, 5),
        "Every code gives the same image: is `z` used?",
        "A code decoded",
        "code_ignored",
    )


@check("decoder")
def test_decoder_layers_differ(submission: Submission) -> None:
    """Each layer of the decoder has weights of its own."""
    model = new_autoencoder(submission)
    decoded(model, torch.randn(2, 5))
    expect_own_layers(model, "decoder")


# Forward. Known linear maps stand in for the parts, so that only the wiring is judged.


FORWARD_MISTAKES = (
    Mistake(
        "squashed_twice",
        "`forward` applies a sigmoid to what the decoder has already squashed.",
        lambda code, decode: decode(code).sigmoid(),
    ),
    Mistake(
        "activation_on_code",
        "`forward` applies an activation to the code: the decoder should see it as it is.",
        lambda code, decode: decode(code.relu()),
    ),
    Mistake(
        "clamped",
        "`forward` clamps what the decoder gives: outside [0, 1] no gradient would come back.",
        lambda code, decode: decode(code).clamp(0, 1),
    ),
)


@check("forward")
def test_forward_wiring(submission: Submission) -> None:
    """The image goes through encoder and decoder, in training and after; x_hat alone comes out."""
    model = model_or_bare(submission, "Autoencoder", 48, 3, latent_dim=3)
    to_code, to_pixels = torch.randn(PIXELS, 3) / 28, torch.randn(3, PIXELS)
    model.plug("encoder", Affine([to_code]))
    model.plug("decoder", Affine([to_pixels], (1, 28, 28)))

    def decode(code: torch.Tensor) -> torch.Tensor:
        return (code @ to_pixels).unflatten(1, (1, 28, 28))

    for n, mode in ((5, model.train), (5, model.eval), (1, model.eval)):
        mode()
        x = images(n)
        code = x.flatten(1) @ to_code
        got = model(x)
        expect(
            not isinstance(got, tuple),
            f"`forward` returns {kind(got)}; it should return the reconstruction `x_hat` alone.",
            "returns_several",
        )
        expect(
            not isinstance(got, torch.Tensor) or got.shape != code.shape,
            "`forward` returns the code; it should go on and decode it.",
            "returns_code",
        )
        x_hat = expect_tensor(got, (n, 1, 28, 28), "`x_hat`")
        expect_close(x_hat, decode(code), "`x_hat`", (code, decode), FORWARD_MISTAKES)


# Criterion


def criterion(submission: Submission, x_hat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Call `criterion` and expect a scalar."""
    function = submission.object("criterion")
    expect(
        function.kind != "type",
        "`criterion` is a class. Call it once, with brackets, to make the loss that you then call "
        "with images.",
        "class_not_made",
    )
    value = function(x_hat, x)
    if isinstance(value, float):
        value = torch.tensor(value)
    expect(
        not isinstance(value, torch.Tensor) or value.shape != x.shape,
        "`criterion` gives one number for each pixel; it should give their mean.",
        "not_reduced",
    )
    return expect_tensor(value, (), "`criterion(x_hat, x)`")


CRITERION_MISTAKES = (
    Mistake(
        "summed",
        "`criterion` adds up the squared errors of all pixels and images; it should average.",
        lambda x_hat, x: (x_hat - x).pow(2).sum(),
    ),
    Mistake(
        "summed_over_pixels",
        "`criterion` averages over images but adds up pixels; it should average over both.",
        lambda x_hat, x: (x_hat - x).pow(2).sum() / len(x),
    ),
    Mistake(
        "absolute_error",
        "`criterion` is the mean absolute error; the squared one is asked for.",
        lambda x_hat, x: (x_hat - x).abs().mean(),
    ),
    Mistake(
        "cross_entropy",
        "`criterion` is the binary cross-entropy; the mean squared error is asked for.",
        F.binary_cross_entropy,
    ),
    Mistake(
        "half_squared_error",
        "`criterion` is half the mean squared error. Some robust losses are that for small errors.",
        lambda x_hat, x: (x_hat - x).pow(2).mean() / 2,
    ),
    Mistake(
        "root_taken",
        "`criterion` takes the root of the mean squared error; leave it out.",
        lambda x_hat, x: (x_hat - x).pow(2).mean().sqrt(),
    ),
)


@check("criterion")
def test_criterion_value(submission: Submission) -> None:
    """The loss is the mean over all images and pixels of the squared difference."""
    for n in (3, 1):
        x_hat, x = 0.05 + 0.9 * images(n), images(n)
        right = F.mse_loss(x_hat, x)
        got = criterion(submission, x_hat, x)
        expect_close(got, right, "`criterion(x_hat, x)`", (x_hat, x), CRITERION_MISTAKES)


@check("criterion")
def test_criterion_of_a_perfect_image(submission: Submission) -> None:
    """A perfect reconstruction costs nothing."""
    x = images(3)
    expect_close(criterion(submission, x, x), torch.zeros(()), "The cost of a perfect image")


@check("criterion")
def test_criterion_gradient(submission: Submission) -> None:
    """The gradient is 2 (x_hat − x) over the number of pixels: it pulls towards the image."""
    x, x_hat = images(3), images(3).requires_grad_()
    value = criterion(submission, x_hat, x)
    (grad,) = expect_grad(value, {"x_hat": x_hat}, "the loss", "criterion_detached")
    # Per pixel it is tiny: compare it on the scale of pixels.
    right = 2 * (x_hat - x).detach()
    expect_close(grad * x.numel(), right, "The gradient, times the number of pixels,")


# The whole model


@check("latent_size")
def test_latent_size(submission: Submission) -> None:
    """`latent_dim` is 2, and your `model` has codes of two numbers."""
    latent_dim = submission.value("latent_dim")
    if type(latent_dim) is not int:
        raise CheckFailed("`latent_dim` is not filled in yet: it should be 2.", todo=True)
    expect(
        latent_dim == LATENT_DIM,
        f"`latent_dim` is {latent_dim}; hand in a model with a latent size of {LATENT_DIM}, so "
        "that its codes can be drawn on a plane.",
        "wrong_latent_size",
    )
    if "encoder" not in submission.failed:
        code = encode(submission.object("model").encoder, images(2))
        shown = code.shape[-1] if isinstance(code, torch.Tensor) and code.dim() else kind(code)
        expect(
            shown == LATENT_DIM,
            f"`latent_dim` is {LATENT_DIM}, but the codes of `model` have size {shown}. Is `model` "
            "made with `latent_dim`?",
            "wrong_latent_size",
        )


@check("parameter_budget")
def test_parameter_budget(submission: Submission) -> None:
    """Your `model` has at most 1.5 million trainable parameters."""
    expect_within_budget(submission, BUDGET, ("encoder", "decoder"))


def squared_error(x_hat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The mean squared error over all images and pixels."""
    return F.mse_loss(x_hat.flatten(1), x.flatten(1))


def error_through_the_code(model: RemoteObject, x: torch.Tensor) -> torch.Tensor:
    """The error where only the code goes from encoder to decoder: nothing can pass beside it."""
    return squared_error(model.decoder(encode(model.encoder, x)), x)


PLAN = Plan(
    model="Autoencoder",
    data="mnist",
    epochs=15,
    below=0.04,
    unit="in mean squared error",
    batch=lambda x, labels: (x,),
    loss=lambda batch, x_hat: squared_error(x_hat, batch[0]),
    confirm=error_through_the_code,
    confirmed="With your decoder given nothing but your encoder's codes",
    digits=4,
    calls={"encoder": encode},
)


@check("training")
def test_training_loss(submission: Submission) -> None:
    """Trained from scratch with your settings, the error falls below 0.04 within 15 epochs."""
    expect_trained(submission, TASKS, PLAN)
