"""Checks of `denoising_loss(model, x, corrupt, criterion)`.

Known linear maps (stubs) replace the model, the noise and the criterion, so that only the wiring of
the loss is tested.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from autograder.checks.shared.autoencoder import PIXELS
from autograder.checks.shared.parts import expect_mode_kept, images
from autograder.checks.shared.repeats import expect_new_noise
from autograder.checks.vocabulary import (
    Mistake,
    check,
    close,
    expect,
    expect_close,
    expect_tensor,
    kind,
)
from autograder.protocol.remote import Affine, Raised, RemoteObject, Submission


def known_map(
    submission: Submission,
    *weights: torch.Tensor,
    as_images: bool = True,
    noise: bool = False,
    takes: Sequence[tuple[int, ...]] = (),
) -> RemoteObject:
    """Make a callable that applies a known linear map, and may add noise.

    It returns images in [0, 1], or one number for the whole batch, as the arguments of
    `denoising_loss` do.

    Args:
        submission: The submission.
        weights: The maps of its inputs.
        as_images: Whether it returns images; False for one number.
        noise: Whether it adds noise before the sigmoid of its images.
        takes: The shapes of an input that it accepts; () for any.
    """
    made = submission.bare("DenoiseAE")
    output = Affine(weights, (1, 28, 28)) if as_images else Affine(weights, total=True)
    made.set_stub("forward", output, squash=as_images, noise=noise, takes=takes)
    return made


# What a known map says about an argument that it does not take.
EXTRA_ARGUMENT = ("expected tensors of floating-point numbers", "unexpected keyword argument")
LOSS_MISTAKES = (
    Mistake(
        "noisy_target",
        "The loss compares with the noisy image: the model would learn to reconstruct noise. "
        "Which image should the model reconstruct?",
        lambda x, model, corrupt, compare: compare(model(corrupt(x)), corrupt(x)),
    ),
    Mistake(
        "clean_input",
        "The model gets the clean image: there is nothing to denoise.",
        lambda x, model, corrupt, compare: compare(model(x), x),
    ),
    Mistake(
        "clean_input",
        "The model gets the clean image, and the noisy image is its target. It should be the "
        "reverse.",
        lambda x, model, corrupt, compare: compare(model(x), corrupt(x)),
    ),
    Mistake(
        "model_not_used",
        "The loss compares the noisy image itself with the clean one. It does not use the model.",
        lambda x, model, corrupt, compare: compare(corrupt(x), x),
    ),
    Mistake(
        "noise_after_the_model",
        "You add noise to the output of the model. Add it to the input.",
        lambda x, model, corrupt, compare: compare(corrupt(model(x)), x),
    ),
    Mistake(
        "spoilt_twice",
        "The noise is added twice before the model gets the image.",
        lambda x, model, corrupt, compare: compare(model(corrupt(corrupt(x))), x),
    ),
    Mistake(
        "loss_sign",
        "The loss has the wrong sign: `criterion` returns an error, and training should make it "
        "small.",
        lambda x, model, corrupt, compare: -compare(model(corrupt(x)), x),
    ),
    Mistake(
        "noisy_target_too",
        "The loss contains a second error, that of the noisy image. Compare with the clean image "
        "only.",
        lambda x, model, corrupt, compare: (
            compare(model(corrupt(x)), x) + compare(model(corrupt(x)), corrupt(x))
        ),
    ),
    Mistake(
        "noise_as_target",
        "The loss compares the model's output with the noise. Compare it with the clean image.",
        lambda x, model, corrupt, compare: compare(model(corrupt(x)), x - corrupt(x)),
    ),
    Mistake(
        "noise_as_target",
        "The loss compares the model's output with the noise. Compare it with the clean image.",
        lambda x, model, corrupt, compare: compare(model(corrupt(x)), corrupt(x) - x),
    ),
    Mistake(
        "criterion_not_used",
        "The loss is the mean squared error, whatever `criterion` is. Call the argument "
        "`criterion`.",
        lambda x, model, corrupt, compare: F.mse_loss(model(corrupt(x)), x),
    ),
)
X_HAT_MISTAKES = (
    Mistake(
        "returns_noisy",
        "`x_hat` is the noisy image; it should be the output of the model.",
        lambda x, model, corrupt: corrupt(x),
    ),
    Mistake(
        "returns_clean",
        "`x_hat` is the clean image; it should be the output of the model.",
        lambda x, model, corrupt: x,
    ),
    Mistake(
        "returns_clean_output",
        "`x_hat` is the model's output for the clean image; it should be that for the noisy image.",
        lambda x, model, corrupt: model(x),
    ),
)


def expect_arguments_called(parts: tuple[RemoteObject, ...]) -> None:
    """Expect that model, noise and criterion, of which each is a stub, have been called."""
    for part, name, instead in zip(
        parts, ("model", "corrupt", "criterion"), ("a model", "the noise", "the loss"), strict=True
    ):
        with contextlib.suppress(Raised):
            expect(
                len(part.forward.seen()) > 0,
                f"`denoising_loss` does not call its argument `{name}`. Do you use {instead} of "
                "your notebook in its place? Call the argument.",
                "argument_not_called",
            )


@check("denoising_loss")
def test_loss_wiring(submission: Submission) -> None:
    """The model gets the noisy image, and the loss compares its output with the clean image.

    Two calls must also sample two different noises.
    """
    noise, restore = 4 * torch.randn(2, PIXELS, PIXELS) / 28
    # The same weights for both: the order of the arguments does not change a squared error. They
    # are not negative, as an error is not. Most are 0: a change of the images is not averaged out.
    weigh = torch.rand(PIXELS) * (torch.rand(PIXELS) < 0.05)

    def model(x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) @ restore).sigmoid().unflatten(1, (1, 28, 28))

    def corrupt(x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) @ noise).sigmoid().unflatten(1, (1, 28, 28))

    def compare(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return ((first + second).flatten(1) @ weigh.to(first)).sum()

    parts = (
        known_map(submission, restore, takes=[(1, 28, 28)]),
        known_map(submission, noise),
        known_map(submission, weigh, weigh, as_images=False),
    )
    for _ in range(2):
        x = images(1)
        with noise_of_images_only():
            got = submission.object("denoising_loss")(parts[0], x, *parts[1:])
        loss, x_hat = loss_and_images(got)
        right = model(corrupt(x))
        known = (x, model, corrupt, compare)
        loss = expect_tensor(loss.reshape(-1), (1,), "The loss")[0]
        expect_close(
            loss,
            compare(right, x),
            "The loss",
            known,
            LOSS_MISTAKES,
            otherwise=lambda: expect_arguments_called(parts),
        )
        x_hat = expect_tensor(x_hat, (1, 1, 28, 28), "`x_hat`")
        expect_close(x_hat, right, "`x_hat`", known[:3], X_HAT_MISTAKES)
    x = images(3)
    parts[0].train()
    loss, _ = loss_and_images(submission.object("denoising_loss")(parts[0], x, *parts[1:]))
    expect_result_itself(loss, compare(model(corrupt(x)), x))
    expect_mode_kept(parts[0], "denoising_loss")
    noisy = known_map(submission, noise, noise=True)
    first, again = (
        loss_and_images(submission.object("denoising_loss")(parts[0], x, noisy, parts[2]))[1]
        for _ in range(2)
    )
    expect(
        not torch.equal(first, again),
        "The same image gets the same noise at every call. Is a seed set before `corrupt` is "
        "called?",
        "noise_drawn_once",
    )
    loss, x_hat = loss_and_images(submission.object("denoising_loss")(parts[0], x, noisy, parts[2]))
    own = compare(expect_tensor(x_hat, (3, 1, 28, 28), "`x_hat`"), x.double()).detach()
    expect(
        loss.numel() == 1 and close(loss.reshape(()), own, 1e-5),
        "`x_hat` is not the output that the loss was computed from: `corrupt` is called once for "
        "each of them. Call `corrupt` and the model once.",
        "two_draws",
    )
    called = submission.object("denoising_loss")
    expect_new_noise(called, parts[0], x, noisy, parts[2], name="denoising_loss")


def expect_result_itself(loss: torch.Tensor, right: torch.Tensor) -> None:
    """Expect that the loss is the criterion's result, not multiplied or divided by a number.

    Args:
        loss: The submission's loss.
        right: The result of the criterion for 3 images.
    """
    expect(
        loss.numel() == 1 and close(loss.reshape(()), right),
        "With 3 images, the loss is not the result of `criterion`. Do you multiply or divide it? "
        "Return the result itself.",
        "criterion_scaled",
    )


@contextlib.contextmanager
def noise_of_images_only() -> Iterator[None]:
    """Expect that `denoising_loss` calls the noise with the images as its only argument.

    Raises:
        CheckFailed: If a known map in the place of the noise refuses another argument.
    """
    try:
        yield
    except Raised as error:
        extra = any(text in error.text for text in EXTRA_ARGUMENT)
        expect(
            not (extra and re.search(r"\bcorrupt\(\s*\w+\s*,", error.code or "")),
            "`denoising_loss` calls `corrupt` with more than one argument. Call `corrupt` with "
            f"the clean images as its only argument. Your code raised {error}.",
            "corrupt_arguments",
        )
        raise


def loss_and_images(got: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Expect the two values that `denoising_loss` returns."""
    expect(
        isinstance(got, tuple) and len(got) == 2,
        f"`denoising_loss` should return the two values (loss, x_hat), got {kind(got)}.",
        "returns_loss_alone" if isinstance(got, torch.Tensor | float) else None,
    )
    loss, x_hat = got
    expect(
        not isinstance(loss, float),
        "The loss is a plain number, so it has no gradients. Return a tensor: remove `.item()`.",
        "loss_detached",
    )
    expect(
        isinstance(loss, torch.Tensor) and isinstance(x_hat, torch.Tensor),
        f"`denoising_loss` should return (loss, x_hat), got {kind(loss)} and {kind(x_hat)}.",
    )
    expect(
        loss.numel() == 1 or x_hat.numel() > 1,
        "`denoising_loss` returns the loss and `x_hat` in the wrong order.",
        "outputs_swapped",
    )
    return loss, x_hat


def working_criterion(submission: Submission) -> RemoteObject:
    """Return the submission's criterion if gradients flow through it, or else a known one."""
    try:
        own = submission.object("criterion")
        value = own(images(2).requires_grad_(), images(2))
        if isinstance(value, torch.Tensor) and value.requires_grad:
            return own
    except Raised:
        pass
    weigh = torch.randn(PIXELS)
    return known_map(submission, weigh, weigh, as_images=False)


@check("denoising_loss")
def test_loss_is_followed_back(submission: Submission) -> None:
    """Gradients reach the model from the loss."""
    known = known_map(submission, torch.randn(PIXELS, PIXELS) / 28)
    loss_function, x = submission.object("denoising_loss"), images(2)
    with noise_of_images_only():
        got = loss_function.trace(known, x, known, working_criterion(submission))
    loss, _ = loss_and_images(got)
    expect(
        loss.requires_grad,
        "No gradient reaches the model from the loss. Is something detached, or computed under "
        "`torch.no_grad()`?",
        "loss_detached",
    )
