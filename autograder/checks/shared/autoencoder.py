"""Checks of the decoder, forward pass and loss that both autoencoder assignments use."""

import contextlib
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from autograder.checks.shared.answers import expect_codes, expect_like
from autograder.checks.shared.gradients import expect_gradients
from autograder.checks.shared.kl import BATCH_SIZES
from autograder.checks.shared.networks import Checks
from autograder.checks.shared.parts import (
    expect_inputs_kept,
    expect_mode_kept,
    images,
    model_or_bare,
    new_model,
)
from autograder.checks.shared.wiring import (
    expect_all_called,
    expect_code_kept,
    expect_images_given,
    expect_no_skip,
    expect_not_original,
    expect_pixels_not_cut_off,
    seen_by,
)
from autograder.checks.vocabulary import (
    CheckFailed,
    Mistake,
    check,
    close,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
    kind,
)
from autograder.protocol.remote import Affine, Raised, RemoteObject, Submission

PIXELS = 28 * 28


def encode(encoder: Callable[..., Any], x: torch.Tensor) -> Any:
    """Encode images (N, 1, 28, 28); an encoder that takes rows (N, 784) is accepted too."""
    try:
        return encoder(x)
    except Raised as error:
        try:
            return encoder(x.flatten(1))
        except Raised:
            raise error from None


def decoded(model: RemoteObject, z: torch.Tensor) -> torch.Tensor:
    """Decode codes and expect images (N, 1, 28, 28)."""
    got = model.decoder(z)
    shape = tuple(got.shape) if isinstance(got, torch.Tensor) else ()
    expect(
        shape != (len(z), PIXELS),
        f"`decoder(z)` returns rows of {PIXELS} pixels; it should return images of shape "
        f"({len(z)}, 1, 28, 28). What is the reverse of flattening?",
        "flat_images",
    )
    expect(
        shape[:2] != (len(z), 1) or len(shape) != 4 or shape[2:] == (28, 28),
        f"`decoder(z)` returns images of {' × '.join(map(str, shape[2:]))} pixels; they should "
        "have 28 × 28. Compute the side after each layer: a transposed convolution turns n into "
        "(n − 1) · stride − 2 · padding + kernel size + output padding.",
        "wrong_side",
    )
    return expect_tensor(got, (len(z), 1, 28, 28), "`decoder(z)`")


# Forward. Known linear maps (stubs) replace the parts, so that only the wiring is tested.


FORWARD_MISTAKES = (
    Mistake(
        "squashed_twice",
        "`forward` applies a sigmoid to the output of `self.decoder`. The sigmoid belongs in the "
        "decoder, whose images are already in [0, 1].",
        lambda code, decode: decode(code).sigmoid(),
    ),
    Mistake(
        "activation_on_code",
        "`forward` applies an activation to the code. The decoder should get the code unchanged.",
        lambda code, decode: decode(code.relu()),
    ),
    Mistake(
        "output_rounded",
        "`forward` rounds the decoder's output: a rounded number has no gradient.",
        lambda code, decode: decode(code).round(),
    ),
    Mistake(
        "output_scaled",
        "`forward` multiplies the decoder's output by 255. The images are in [0, 1].",
        lambda code, decode: 255 * decode(code),
    ),
    Mistake(
        "output_transposed",
        "`forward` exchanges rows and columns of the images.",
        lambda code, decode: decode(code).mT,
    ),
    *(
        Mistake(
            "activation_on_code",
            f"`forward` applies {name} to the code. The decoder should get the code unchanged.",
            lambda code, decode, activation=activation: decode(activation(code)),
        )
        for name, activation in (
            ("a tanh", torch.tanh),
            ("a sigmoid", torch.sigmoid),
            ("a leaky ReLU", F.leaky_relu),
            ("a softmax", lambda code: code.softmax(1)),
        )
    ),
    *(
        Mistake(
            "code_normalised",
            "`forward` divides the code by its length. The decoder should get the code unchanged.",
            lambda code, decode, length=length: decode(code / length(code)),
        )
        for length in (lambda code: code.norm(), lambda code: code.norm(dim=1, keepdim=True))
    ),
)


def forward_checks(
    name: str, *args: int, code: tuple[int, ...] | None = None, **attributes: int
) -> Checks:
    """Test that `forward` only connects encoder and decoder.

    Args:
        name: The model's class.
        args: The arguments of the class.
        code: The shape of one code; None for the shape that the submission's encoder returns.
        attributes: Attributes to set on a model whose `__init__` fails.
    """

    @check("forward")
    def test_forward_wiring(submission: Submission) -> None:
        """In training and in eval mode, x goes through encoder and decoder; x_hat is returned."""
        model = model_or_bare(submission, name, *args, **attributes)
        parts = _KnownParts(submission, model, name, *args, code=code)
        for n, mode in ((5, model.train), (5, model.eval), (1, model.eval)):
            mode()
            x = images(n)
            x[..., :9] = 0  # as in digits, many pixels are black
            codes = x.flatten(1) @ parts.to_code
            try:
                got = model(x)
            except Raised:
                parts.expect_accepted_shapes()
                raise
            expect(
                not isinstance(got, tuple),
                f"`forward` returns {kind(got)}; it should return only the reconstruction `x_hat`.",
                "returns_several",
            )
            expect(
                not isinstance(got, torch.Tensor) or got.shape != (n, *parts.code),
                "`forward` returns the code; it should also decode it.",
                "returns_code",
            )
            x_hat = expect_tensor(got, (n, 1, 28, 28), "`x_hat`")
            expect(
                torch.equal(x_hat, expect_tensor(model(x), tuple(x_hat.shape), "`x_hat`")),
                "`forward` returns different results for the same images: it uses random "
                "numbers. Noise should be added to the images outside the model.",
                "noise_in_forward",
            )
            right, inputs = parts.decode(codes), (codes, parts.decode)
            if not close(x_hat, right) and not any(
                close(x_hat, mistake.formula(*inputs)) for mistake in FORWARD_MISTAKES
            ):
                expect_images_given(seen_by(model, "encoder"), x)
                expect_not_original(x_hat, x)
                expect_no_skip(x_hat, right, x)
                expect_all_called(model, ("encoder", "decoder"))
                expect_pixels_not_cut_off(x_hat, right)
                expect_code_kept(seen_by(model, "decoder"), codes)
                expect_no_mask(x_hat, right, x)
            expect_close(x_hat, right, "`x_hat`", inputs, FORWARD_MISTAKES)
        expect_mode_kept(model, "forward", training=False)
        model.train()
        model(x)
        expect_mode_kept(model, "forward")
        expect_gradients(
            model,
            lambda: model.trace(x),
            lambda biases: (parts.decode(codes + biases["encoder"][0], biases["decoder"][0]),),
            {"decoder": 1, "encoder": 1},
            ("x_hat",),
        )

    return (test_forward_wiring,)


def expect_no_mask(x_hat: torch.Tensor, right: torch.Tensor, x: torch.Tensor) -> None:
    """Expect that a wrong `x_hat` is not the right one multiplied by a mask of the image's pixels.

    Args:
        x_hat: The output of `forward`, (N, 1, 28, 28).
        right: The decoder's output, of the same shape.
        x: The images, of the same shape; some pixels are 0.

    Raises:
        CheckFailed: If it is.
    """
    expect(
        not close(x_hat, right * (x > 0)),
        "`forward` makes all pixels black that are black in its input. Return what the decoder "
        "returns: the image must pass through the code only.",
        "output_masked",
    )


class _KnownParts:
    """Known linear maps in the place of `encoder` and `decoder`.

    They take the shapes that the submission's own parts take.

    Attributes:
        image: The shape of one image that the submission's encoder takes.
        code: The shape of one code.
        to_code: The encoder's map, (784, size of a code).
        to_pixels: The decoder's map, (size of a code, 784).
    """

    def __init__(
        self,
        submission: Submission,
        model: RemoteObject,
        name: str,
        *args: int,
        code: tuple[int, ...] | None = None,
    ):
        self.model = model
        self.image: tuple[int, ...] = (1, 28, 28)
        self.code: tuple[int, ...] = code or (3,)
        with contextlib.suppress(Raised, CheckFailed):
            own, x = new_model(submission, name, *args), images(2)
            codes = encode(own.encoder, x)
            shape = tuple(codes.shape[1:]) if isinstance(codes, torch.Tensor) else ()
            if code is None and shape and 0 < math.prod(shape) <= PIXELS:
                self.code = shape
            try:
                own.encoder(x)
            except Raised:
                self.image = (PIXELS,)  # it takes rows: `forward` has to flatten the images
        size = math.prod(self.code)
        # Codes have a standard deviation of about 3, and the inputs of the sigmoid one of 2: a code
        # that is cut off has another image.
        self.to_code = 6 * torch.randn(PIXELS, size) / 28
        self.to_pixels = torch.randn(size, PIXELS) * (0.6 / math.sqrt(size))
        # An encoder that gets images and takes rows loses its own points.
        takes = [self.image, (1, 28, 28)]
        model.set_stub("encoder", Affine([self.to_code], self.code), takes=takes)
        model.set_stub(
            "decoder", Affine([self.to_pixels], (1, 28, 28)), squash=True, takes=[self.code]
        )

    def decode(self, code: torch.Tensor, bias: float | torch.Tensor = 0.0) -> torch.Tensor:
        """Compute the images of flat codes, (N, 1, 28, 28), with a bias before the sigmoid."""
        return (code @ self.to_pixels + bias).sigmoid().unflatten(1, (1, 28, 28))

    def expect_accepted_shapes(self) -> None:
        """Expect that a call of `forward` that failed gave both parts inputs of the right shape."""
        for part, row in (("encoder", self.image), ("decoder", self.code)):
            shape = tuple(seen_by(self.model, part).shape)
            expect(
                len(shape) == 1 or shape[1:] == row,
                f"`forward` calls `self.{part}` with an input of shape {shape}. Your {part} takes "
                f"inputs of shape (N, {', '.join(map(str, row))}).",
                "wrong_shape_in_forward",
            )


def expect_images_taken(submission: Submission, name: str, *args: int) -> None:
    """Expect that an encoder takes what `forward` gives it, if it takes rows and no images.

    Args:
        submission: The submission.
        name: The model's class.
        args: The arguments of the class.

    Raises:
        CheckFailed: If `forward` calls an encoder that takes rows with images.
    """
    own, x = new_model(submission, name, *args), images(2)
    try:
        own.encoder(x)
        return
    except Raised as error:
        raised = error
    if "encoder" in submission.failed:
        raise raised  # it may not be filled in yet
    own.set_stub("encoder", Affine([torch.zeros(PIXELS, 1)], (1,)))
    with contextlib.suppress(Raised):
        own(x)
    expect(
        tuple(seen_by(own, "encoder").shape[1:]) != (1, 28, 28),
        f"`forward` gives the encoder images, and your encoder takes rows: it raised {raised}. "
        "Flatten each image first.",
        "image_not_flattened",
    )


# Criterion


def squared_error(x_hat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error over all images and pixels."""
    return F.mse_loss(x_hat.flatten(1), x.flatten(1))


def reconstruction_error(batch: tuple[torch.Tensor, ...], x_hat: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of the reconstructions of a batch in training."""
    return squared_error(expect_like(x_hat, batch[0], "the reconstruction"), batch[0])


def error_through_the_code(
    model: Any, given: torch.Tensor, x: torch.Tensor, most: int | None
) -> torch.Tensor:
    """Return the error where the decoder gets only the code: no other path from the image.

    Args:
        model: The model.
        given: What it gets, (N, 1, 28, 28).
        x: What it should return, (N, 1, 28, 28).
        most: The largest allowed number of values of a code; None for no limit.
    """
    codes = expect_codes(encode(model.encoder, given), len(x), most)
    return squared_error(expect_like(model.decoder(codes), x, "the reconstruction"), x)


def criterion(submission: Submission, x_hat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Call `criterion` and expect a scalar."""
    function = submission.object("criterion")
    expect(
        function.kind != "type",
        "`criterion` is a class. Create an instance of it with parentheses, and call the instance "
        "with images.",
        "class_not_made",
    )
    value = function(x_hat, x)
    if isinstance(value, float):
        value = torch.tensor(value)
    expect(
        not isinstance(value, torch.Tensor) or value.shape != x.shape,
        "`criterion` returns one number for each pixel; it should return their mean.",
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
        "`criterion` is the mean absolute error; it should be the mean squared error.",
        lambda x_hat, x: (x_hat - x).abs().mean(),
    ),
    Mistake(
        "cross_entropy",
        "`criterion` is the binary cross-entropy; it should be the mean squared error.",
        F.binary_cross_entropy,
    ),
    Mistake(
        "half_squared_error",
        "`criterion` is half the mean squared error. Some robust losses equal it for small errors.",
        lambda x_hat, x: (x_hat - x).pow(2).mean() / 2,
    ),
    Mistake(
        "root_taken",
        "`criterion` takes the square root of the mean squared error. Remove the root.",
        lambda x_hat, x: (x_hat - x).pow(2).mean().sqrt(),
    ),
    Mistake(
        "loss_sign",
        "`criterion` has the wrong sign: training minimizes the loss, so the loss should be the "
        "error itself.",
        lambda x_hat, x: -squared_error(x_hat, x),
    ),
    Mistake(
        "not_squared",
        "`criterion` averages the differences without their squares: positive and negative "
        "differences cancel.",
        lambda x_hat, x: (x_hat - x).mean(),
    ),
    Mistake(
        "square_of_mean",
        "`criterion` squares the mean difference. It should average the squares.",
        lambda x_hat, x: (x_hat - x).mean() ** 2,
    ),
    Mistake(
        "cubed",
        "`criterion` uses the third power of the differences. It should use their squares.",
        lambda x_hat, x: (x_hat - x).pow(3).mean(),
    ),
    Mistake(
        "summed_over_images",
        "`criterion` averages over pixels but adds up images; it should average over both.",
        lambda x_hat, x: (x_hat - x).pow(2).sum() / x[0].numel(),
    ),
    Mistake(
        "root_taken",
        "`criterion` is the length of the difference: the square root of the sum of the squares. "
        "It should be the mean of the squares.",
        lambda x_hat, x: (x_hat - x).norm(),
    ),
    Mistake(
        "largest_error",
        "`criterion` is the largest squared error. It should be the mean of all.",
        lambda x_hat, x: (x_hat - x).pow(2).max(),
    ),
    Mistake(
        "median_error",
        "`criterion` is the median of the squared errors. It should be their mean.",
        lambda x_hat, x: (x_hat - x).pow(2).median(),
    ),
    *(
        Mistake(
            "fixed_batch_size",
            f"`criterion` divides by {size} images, whatever the number of images is.",
            lambda x_hat, x, size=size: (x_hat - x).pow(2).sum() / (size * x[0].numel()),
        )
        for size in BATCH_SIZES
    ),
    Mistake(
        "cross_entropy",
        "`criterion` is a cross-entropy with a sigmoid; it should be the mean squared error.",
        F.binary_cross_entropy_with_logits,
    ),
    Mistake(
        "kl_of_pixels",
        "`criterion` is a KL divergence of the pixels; it should be the mean squared error.",
        lambda x_hat, x: (torch.xlogy(x, x) - x * x_hat).mean(),
    ),
)


def criterion_checks() -> Checks:
    """Make the checks of `criterion`: value, value for a perfect image, and gradient."""

    @check("criterion")
    def test_criterion_value(submission: Submission) -> None:
        """The loss is the mean over all images and pixels of the squared difference."""
        for n in (3, 1):
            x_hat, x = 0.05 + 0.9 * images(n), images(n)
            right = squared_error(x_hat, x)
            got = criterion(submission, x_hat, x)
            expect(
                float(got) != 0,
                "`criterion` is 0 for images that are different. Does it compare a tensor with "
                "itself, or is it a cross-entropy for classes?",
                "criterion_zero",
            )
            expect_close(got, right, "`criterion(x_hat, x)`", (x_hat, x), CRITERION_MISTAKES)

    @check("criterion")
    def test_criterion_keeps_its_inputs(submission: Submission) -> None:
        """The images that `criterion` gets do not change."""
        inputs = {"x_hat": images(3), "x": images(3)}
        expect_inputs_kept(submission, "criterion", inputs)

    @check("criterion")
    def test_criterion_of_a_perfect_image(submission: Submission) -> None:
        """The loss of a perfect reconstruction is 0."""
        x = images(3)
        expect_close(criterion(submission, x, x), torch.zeros(()), "The loss of a perfect image")

    @check("criterion")
    def test_criterion_gradient(submission: Submission) -> None:
        """The gradient of the loss by x_hat is 2 (x_hat − x) divided by the number of pixels."""
        x, x_hat = images(3), images(3).requires_grad_()
        value = criterion(submission, x_hat, x)
        (grad,) = expect_grad(value, {"x_hat": x_hat}, "the loss", "criterion_detached")
        # The gradient of one pixel is very small: multiply it by the number of pixels.
        right = 2 * (x_hat - x).detach()
        expect_close(grad * x.numel(), right, "The gradient, times the number of pixels,")

    return (
        test_criterion_value,
        test_criterion_of_a_perfect_image,
        test_criterion_gradient,
        test_criterion_keeps_its_inputs,
    )
