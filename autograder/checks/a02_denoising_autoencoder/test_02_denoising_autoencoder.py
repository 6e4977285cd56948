"""What `02_denoising_autoencoder` is graded on."""

from typing import Any

import torch

from autograder.checks.a02_denoising_autoencoder.denoising import (
    test_loss_is_followed_back,
    test_loss_wiring,
)
from autograder.checks.a02_denoising_autoencoder.noise import (
    expect_clipped,
    expect_default_std,
    expect_new_noise,
    expect_noise_centred,
    expect_noise_gaussian,
    expect_noise_spread,
    noisy,
)
from autograder.checks.shared.autoencoder import (
    PIXELS,
    decoded,
    encode,
    expect_plain_forward,
    images,
    squared_error,
    test_criterion_gradient,
    test_criterion_of_a_perfect_image,
    test_criterion_value,
)
from autograder.checks.shared.device import expect_follows_input
from autograder.checks.shared.parts import (
    expect_inputs_kept,
    expect_own_layers,
    expect_own_rows,
    expect_pixel_range,
    expect_within_budget,
    model_or_bare,
)
from autograder.checks.training import Plan, expect_trained
from autograder.checks.vocabulary import CheckFailed, Task, check, expect, expect_tensor, kind
from autograder.protocol.remote import Raised, RemoteObject, Submission

# A code's shape is the student's choice: where one of the two parts has failed, the other cannot
# work with the reference's, so both are replaced.
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

BUDGET = 15_000
STD = 0.5


def new_autoencoder(submission: Submission) -> RemoteObject:
    """Make a model in eval mode: batch normalisation cannot train on one image."""
    model = submission.new("DenoiseAE")
    model.eval()
    return model


# Noise


@check("add_noise")
def test_noise_shape(submission: Submission) -> None:
    """Images of any shape stay of that shape and type."""
    add_noise = submission.object("add_noise")
    for shape in ((1, 1, 28, 28), (7, 1, 28, 28), (3, 3, 32, 20), (5, 784)):
        noisy(add_noise, torch.rand(shape), STD)
    for dtype in (torch.float32, torch.float64):
        got = add_noise(torch.rand(2, 1, 28, 28, dtype=dtype), STD)
        expect(
            isinstance(got, torch.Tensor) and got.dtype == dtype,
            f"Images of type {dtype} should stay so; they became "
            f"{got.dtype if isinstance(got, torch.Tensor) else kind(got)}.",
        )


@check("add_noise")
def test_noise_centre(submission: Submission) -> None:
    """The noise is centred on 0."""
    expect_noise_centred(submission.object("add_noise"))


@check("add_noise")
def test_noise_spread(submission: Submission) -> None:
    """The noise has the standard deviation `std`, whatever the image shows."""
    expect_noise_spread(submission.object("add_noise"))


@check("add_noise")
def test_noise_is_gaussian(submission: Submission) -> None:
    """The noise is Gaussian: its fourth moment is 3 σ⁴."""
    expect_noise_gaussian(submission.object("add_noise"))


@check("add_noise")
def test_noise_device(submission: Submission) -> None:
    """New tensors are made on the device of those that come in (self-reported)."""
    add_noise = submission.object("add_noise")
    expect_follows_input(add_noise, torch.rand(3, 1, 28, 28), STD, name="add_noise")


@check("add_noise")
def test_noise_default(submission: Submission) -> None:
    """Without a second argument, `std` is 0.5."""
    expect_default_std(submission.object("add_noise"), STD)


@check("add_noise")
def test_noise_clipped(submission: Submission) -> None:
    """What leaves [0, 1] is cut off, and nothing else is changed."""
    expect_clipped(submission.object("add_noise"))


@check("add_noise")
def test_noise_is_new(submission: Submission) -> None:
    """Every pixel of every image has noise of its own, new at every call."""
    expect_new_noise(submission.object("add_noise"))


@check("add_noise")
def test_images_stay_clean(submission: Submission) -> None:
    """The images that are passed in stay as they are."""
    expect_inputs_kept(submission, "add_noise", {"x": images(3)})


# Encoder


def codes_of(model: RemoteObject, x: torch.Tensor) -> torch.Tensor:
    """Encode images and expect a code, of any shape, for each."""
    code = encode(model.encoder, x)
    expect(
        isinstance(code, torch.Tensor) and code.dim() > 1 and len(code) == len(x),
        f"`encoder(x)` should give one code for each of {len(x)} images, got {kind(code)}.",
    )
    return expect_tensor(code, tuple(code.shape), "`encoder(x)`")


@check("encoder")
def test_encoder_shape(submission: Submission) -> None:
    """Images (N, 1, 28, 28) become N codes of one shape, one image alone included."""
    model = new_autoencoder(submission)
    shapes = {tuple(codes_of(model, images(n)).shape[1:]) for n in (1, 7, 4)}
    expect(len(shapes) == 1, f"Codes of different batches have different shapes: {shapes}.")


@check("encoder")
def test_encoder_sees_the_image(submission: Submission) -> None:
    """Different images get different codes, and each code depends on its own image alone."""
    model = new_autoencoder(submission)
    expect_own_rows(
        lambda x: codes_of(model, x),
        images(6),
        "Every image gets the same code: is `x` used?",
        "The code of an image encoded",
        "image_ignored",
    )


@check("encoder")
def test_encoder_layers_differ(submission: Submission) -> None:
    """Each layer of the encoder has weights of its own."""
    model = new_autoencoder(submission)
    codes_of(model, images(2))
    expect_own_layers(model, "encoder")


@check("bottleneck")
def test_bottleneck(submission: Submission) -> None:
    """A code has fewer values than the image's 784."""
    values = codes_of(new_autoencoder(submission), images(2))[0].numel()
    expect(
        values < PIXELS,
        f"A code has {values:,} values, and an image {PIXELS}: nothing is squeezed. Fewer channels "
        "at the end, or one more pooling?",
        "no_bottleneck",
    )


# Decoder


def code_shape(model: RemoteObject) -> tuple[int, ...]:
    """Find the shape of the codes that the decoder takes, without the encoder if it fails."""
    try:
        return tuple(codes_of(model, images(2)).shape[1:])
    except (Raised, CheckFailed) as error:
        weights = [w for w in model.decoder.state_dict().values() if w.dim() > 1]
        sides = ((n, n) for n in (3, 7, 4, 2, 5, 6, 14, 1))
        shapes = [(c, *side) for side in sides for c in dict.fromkeys(weights[0].shape[:2])]
        for shape in shapes if weights else []:
            try:
                decoded(model, torch.randn(1, *shape))
            except (Raised, CheckFailed):
                continue
            return shape
        raise error


@check("decoder")
def test_decoder_shape(submission: Submission) -> None:
    """Codes become images (N, 1, 28, 28), one code alone included."""
    model = new_autoencoder(submission)
    shape = code_shape(model)
    for n in (1, 7, 4):
        decoded(model, torch.randn(n, *shape))


@check("decoder")
def test_decoder_reaches_black(submission: Submission) -> None:
    """Nothing keeps negative values from the sigmoid: pixels can be dark."""
    models = [new_autoencoder(submission) for _ in range(8)]
    shape = code_shape(models[0])
    for scale in (1.0, 10.0, 100.0):
        pixels = []
        for model in models:
            # In training mode, batch normalisation brings every size of code to one scale.
            model.train()
            pixels.append(decoded(model, scale * torch.randn(16, *shape)))
            model.eval()
        logits = torch.cat(pixels).clamp(1e-6, 1 - 1e-6).logit()
        below, above = (float((sign * logits).clamp(min=0).mean()) for sign in (-1, 1))
        # A second sigmoid also stays above ½; it never exceeds the sigmoid of 1.
        expect(
            below >= 0.05 * above or float(logits.max()) <= 1.0001,
            "Hardly anything below 0 reaches the decoder's sigmoid, so that pixels can't get "
            "darker than ½, and most of every digit's image is black. Is there an activation "
            "right before the sigmoid? The printed homework has one there: that is its erratum.",
            "relu_before_sigmoid",
        )


@check("decoder")
def test_decoder_range(submission: Submission) -> None:
    """Decoded pixels lie in [0, 1] and can be dark as well as bright."""
    # Of many models: one with few weights in its last layer may happen to prefer one side.
    models = [new_autoencoder(submission) for _ in range(8)]
    shape = code_shape(models[0])
    expect_pixel_range(torch.cat([decoded(m, 1e3 * torch.randn(16, *shape)) for m in models]))


@check("decoder")
def test_decoder_uses_the_code(submission: Submission) -> None:
    """Another code gives another image, and each image depends on its own code alone."""
    model = new_autoencoder(submission)
    expect_own_rows(
        lambda z: decoded(model, z),
        torch.randn(6, *code_shape(model)),
        "Every code gives the same image: is `z` used?",
        "A code decoded",
        "code_ignored",
    )


@check("decoder")
def test_decoder_layers_differ(submission: Submission) -> None:
    """Each layer of the decoder has weights of its own."""
    model = new_autoencoder(submission)
    decoded(model, torch.randn(2, *code_shape(model)))
    expect_own_layers(model, "decoder")


# Forward


@check("forward")
def test_forward_wiring(submission: Submission) -> None:
    """The image goes through encoder and decoder, in training and after; x_hat alone comes out."""
    expect_plain_forward(model_or_bare(submission, "DenoiseAE"))


# The whole model


@check("parameter_budget")
def test_parameter_budget(submission: Submission) -> None:
    """Your `model` has at most 15,000 trainable parameters."""
    expect_within_budget(submission, BUDGET, ("encoder", "decoder"))


def error_through_the_code(model: Any, x: torch.Tensor) -> torch.Tensor:
    """The error of noisy images where only the code goes from encoder to decoder."""
    spoilt = (x + STD * torch.randn_like(x)).clamp(0, 1)
    return squared_error(model.decoder(encode(model.encoder, spoilt)), x)


PLAN = Plan(
    model="DenoiseAE",
    data="mnist",
    epochs=20,
    below=0.025,
    unit="in mean squared error",
    batch=lambda x, labels: (x,),
    loss=lambda batch, x_hat: squared_error(x_hat, batch[0]),
    confirm=error_through_the_code,
    confirmed="In eval mode, with noise of the grader's and nothing but your encoder's codes",
    sizes=(),
    digits=4,
    calls={"encoder": encode},
    headline=0.016,
)


@check("training")
def test_training_loss(submission: Submission) -> None:
    """Trained from scratch with your settings, the error falls below 0.025 within 20 epochs."""
    expect_trained(submission, TASKS, PLAN)
