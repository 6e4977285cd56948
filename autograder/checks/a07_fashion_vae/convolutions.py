"""Checks of an encoder and a decoder with two unpadded convolutions each.

The checks test the shapes of a part's parameters and the values that it computes.
"""

import contextlib
from dataclasses import astuple, dataclass, replace
from typing import Any

import torch

from autograder.checks.shared.networks import (
    IMAGE_GAIN,
    KEPT,
    Checks,
    Part,
    either_weights,
    named_check,
    nonlinearity_checks,
    part_checks,
    range_checks,
)
from autograder.checks.shared.parts import images
from autograder.checks.vocabulary import CheckFailed, check, expect, expect_tensor, kind
from autograder.protocol.remote import Raised, RemoteObject, Submission

SIDE = 28


@dataclass(frozen=True)
class Sizes:
    """The sizes of an encoder, a decoder and a VAE.

    Attributes:
        c1: Channels after the encoder's first convolution.
        c2: Channels after its second.
        lat: Size of the latent code.
        k: Side of the kernels.
    """

    c1: int
    c2: int
    lat: int
    k: int

    @property
    def features(self) -> int:
        """Return the number of features of an image after two unpadded convolutions."""
        return self.c2 * (SIDE - 2 * (self.k - 1)) ** 2

    @property
    def printed_features(self) -> int:
        """Return the number on the assignment's original sheet: the size after one convolution."""
        return self.c2 * (SIDE - (self.k - 1)) ** 2

    def make(self, submission: Submission, name: str) -> RemoteObject:
        """Make an instance of the class `name`, in eval mode.

        Batch normalisation cannot train on a batch of one image.
        """
        made = submission.new(name, *astuple(self))
        made.eval()
        return made


# Sizes that are not the notebook's: constants in the code fail. c1 may be larger than c2.
SMALL = Sizes(3, 5, 4, 3)
EVERY = (SMALL, Sizes(2, 3, 7, 5), Sizes(6, 2, 1, 3))

LINEAR_SIZE = (
    "The linear layer of `{}` has {} features. This is the formula on the assignment's "
    "original sheet, which is an erratum: it is the size after one convolution. With c2 = {}, "
    "k = {} and two convolutions there are {} features."
)


LINEAR_FIXED = (
    "The linear layer of `{}` has {} features for k = {}, with the side that is right for k = {}. "
    "Compute the side from the argument k: with c2 = {} there are {} features."
)


def linear_size(made: RemoteObject, name: str, sizes: Sizes) -> CheckFailed:
    """Return the failure of a layer that has the printed size, or the size for another k."""
    if sizes.k != SMALL.k:
        with contextlib.suppress(Raised):
            # At k = 5 the printed formula and the side for k = 3 are the same number.
            layers = shapes(SMALL.make(made.submission, name))
            if any(SMALL.features in shape for shape in layers):
                found = sizes.printed_features, sizes.k, SMALL.k, sizes.c2, sizes.features
                return CheckFailed(LINEAR_FIXED.format(name, *found), "linear_size_fixed")
    message = LINEAR_SIZE.format(name, sizes.printed_features, sizes.c2, sizes.k, sizes.features)
    return CheckFailed(message, "linear_size_as_printed")


def shapes(module: RemoteObject) -> list[tuple[int, ...]]:
    """Return the sorted shapes of a module's parameters."""
    return sorted(tuple(p.shape) for p in module.parameters().values())


def expect_images(made: RemoteObject, got: Any, n: int, sizes: Sizes) -> torch.Tensor:
    """Expect n images from a decoder, or name the layer with the incorrect size."""
    shape = tuple(got.shape) if isinstance(got, torch.Tensor) else ()
    if len(shape) == 4 and shape[0] == n and shape != (n, 1, SIDE, SIDE):
        channels, side = shape[1], shape[2]
        expect(
            channels != sizes.c1 or side != SIDE,
            f"`decoder(z)` has {channels} channels, which is c1, as on the assignment's "
            "original sheet. This is an erratum: the channels are c2, c1, 1. The output should "
            "have one channel (grey).",
            "channels_as_printed",
        )
        if side == SIDE + sizes.k - 1:
            raise linear_size(made, "Decoder", sizes)
        expect(
            side == SIDE,
            f"`decoder(z)` returns images of {side} × {shape[3]} pixels; expected 28 × 28, at k "
            f"= {sizes.k}. A transposed convolution without padding adds k − 1 to the length of "
            "each side. Which side length does the first one need?",
            "wrong_side",
        )
    return expect_tensor(got, (n, 1, SIDE, SIDE), "`decoder(z)`")


def size_checks(part: Part) -> Checks:
    """Return a check that the layers of a part use c1, c2 and k, in this order."""

    @named_check(
        part.task, f"{part.task}_follows_its_sizes", "The layers have the sizes c1, c2 and k."
    )
    def sizes_followed(submission: Submission) -> None:
        name = part.task.capitalize()

        def made(sizes: Sizes) -> list[tuple[int, ...]]:
            module = sizes.make(submission, name)
            # Lazy layers set their sizes in the first call.
            module(part.inputs(module, 2, sizes))
            return shapes(module)

        own = made(SMALL)
        for argument, value in (("c1", SMALL.c1 + 1), ("c2", SMALL.c2 + 1), ("k", SMALL.k + 2)):
            expect(
                made(replace(SMALL, **{argument: value})) != own,
                f"`{name}` does not change with `{argument}`. Use the arguments of `__init__` "
                "for the sizes of its layers.",
                f"{argument}_ignored",
            )
        kernels = {shape[:2] for shape in own if len(shape) == 4}
        one_channel = {c for pair in kernels if 1 in pair for c in pair}
        expect(
            not (SMALL.c2 in one_channel and SMALL.c1 not in one_channel),
            f"In `{name}`, c1 and c2 are swapped. The convolution next to the image has c1 "
            "channels on its other side.",
            "channels_swapped",
        )

    return (sizes_followed,)


# Encoder


def encode(encoder: RemoteObject, x: torch.Tensor, sizes: Sizes) -> tuple[torch.Tensor, ...]:
    """Call `Encoder` and expect mu and sigma, (N, Z) each."""
    try:
        got = encoder(x)
    except Raised:
        if (sizes.lat, sizes.printed_features) in shapes(encoder):
            raise linear_size(encoder, "Encoder", sizes) from None
        raise
    expect(
        isinstance(got, tuple) and len(got) == 2,
        f"`Encoder` should return the two values (mu, sigma), got {kind(got)}.",
    )
    shape = (len(x), sizes.lat)
    return expect_tensor(got[0], shape, "`mu`"), expect_tensor(got[1], shape, "`sigma`")


@check("encoder")
def test_sigma_is_positive(submission: Submission) -> None:
    """Standard deviations are positive. Means have both signs."""
    mu, sigma = ENCODER.far(submission, 3, 128, (replace(SMALL, lat=16),))
    expect(
        bool((sigma > 0).all()) or bool((mu <= 0).any()),
        "sigma and mu are swapped. Return (mu, sigma).",
        "outputs_swapped",
    )
    expect(
        bool((sigma >= 0).all()),
        "`sigma` has negative values. A standard deviation is positive: is the exponential "
        "missing?",
        "sigma_is_log_sigma",
    )
    expect(
        bool((sigma > 0).all()),
        "`sigma` is exactly 0 for many images, as after a ReLU. The KL is infinite at σ = 0. "
        "Use a function whose values are positive.",
        "sigma_is_zero",
    )
    expect(
        bool((mu < 0).any() and (mu > 0).any()),
        "All values of `mu` have the same sign. A mean may have any sign: is there an "
        "activation after its layer?",
        "activation_on_head",
    )
    expect(
        not torch.allclose(mu.exp(), sigma, rtol=1e-3),
        "mu and sigma come from the same layer. Each needs its own layer.",
        "same_head",
    )
    encoder = SMALL.make(submission, "Encoder")
    expect_positive_at_zero(encoder, images(4))


def expect_positive_at_zero(encoder: RemoteObject, x: torch.Tensor) -> None:
    """Expect that sigma is not 0 where a linear layer outputs 0.

    Args:
        encoder: An `Encoder` of the sizes `SMALL`. Its weights change.
        x: Images, (N, 1, 28, 28).

    Raises:
        CheckFailed: If sigma is 0 there.
    """
    encode(encoder, x, SMALL)  # a call sets the sizes of lazy layers
    own = encoder.parameters()
    for name in (name for name, p in own.items() if p.dim() == 2):
        layer = (name, name.removesuffix("weight") + "bias")
        zeros = {key: torch.zeros_like(own[key]) for key in layer if key in own}
        with contextlib.suppress(Raised):  # a model with its own `load_state_dict`
            encoder.load_state_dict(zeros, strict=False)
            _, sigma = encode(encoder, x, SMALL)
            encoder.load_state_dict({key: own[key] for key in zeros}, strict=False)
            expect(
                bool((sigma != 0).any()),
                "`sigma` is 0 where its layer outputs 0, as after an absolute value, a square or a "
                "ReLU. The KL is infinite at σ = 0. Return the exponential of the layer's output.",
                "sigma_is_zero",
            )


@check("encoder")
def test_sigma_has_no_limits(submission: Submission) -> None:
    """Standard deviations can be far below 1 and far above 1."""
    # Weights that are large enough for logarithms of several units, and not for an overflow.
    _, sigma = ENCODER.far(submission, 3, 128, (replace(SMALL, lat=16),), 2.0)
    low, high = float(sigma.min()), float(sigma.max())
    if low < 0 or float(sigma.clamp(min=1e-30).log().std()) < 0.2:
        return  # another check tests the sign; an encoder may not take other weights
    for possible, side, limit in ((low < 0.9, "below", low), (high > 1.1, "above", high)):
        expect(
            possible,
            f"`sigma` is never {side} {limit:.3g}, whatever the weights are. It may be any "
            "positive number. Is there an activation before or in the place of the exponential?",
            "activation_on_head",
        )
    # With half a log-variance, log σ may be that small for these weights, not for larger ones.
    expect(
        low < 0.36 or high > 2.75 or not all(_is_limited(submission, gain) for gain in (4.0, 8.0)),
        "log σ is never outside −1 and 1, as after a tanh. It may be any number.",
        "activation_on_head",
    )
    expect_small_sigma(submission)


def _is_limited(submission: Submission, gain: float) -> bool:
    """Return whether log σ is between −1 and 1 for weights of this size; see `fill`."""
    try:
        _, sigma = ENCODER.far(submission, 3, 128, (replace(SMALL, lat=16),), gain)
    except CheckFailed:  # an exponential that is not finite
        return False
    return float(sigma.min()) >= 0.36 and float(sigma.max()) <= 2.75


def expect_small_sigma(submission: Submission) -> None:
    """Expect that no large number is added to sigma.

    Where some of 200 latents have a very large sigma, others have a very small one: the weights of
    the last layer are Gaussian, so log σ is Gaussian with mean 0 and independent for each latent. A
    largest σ of 1e4 means a standard deviation of log σ of at least 2.2, or a maximum that happens
    with a probability below 3e-3; then all 200 are above log 0.08 with a probability below 3e-12.
    """
    for gain in (2.0, 3.0, 4.0, 6.0):
        low, high = 0.0, 0.0
        with contextlib.suppress(CheckFailed):  # an exponential may not be finite
            _, sigma = ENCODER.far(submission, 3, 8, (replace(SMALL, lat=200),), gain)
            low, high = float(sigma.min()), float(sigma.max())
        if high >= 1e4:
            break
    else:
        return
    expect(
        low < 0.08,
        f"`sigma` is never below {low:.3g}, whatever the weights are. It may be any positive "
        "number. Is a number added to it, or is it cut off?",
        "sigma_floor",
    )


@check("encoder")
def test_sigma_has_its_own_features(submission: Submission) -> None:
    """Sigma is computed from the features of the image, as mu is, and not from mu."""
    sizes = replace(SMALL, lat=1)
    mu, sigma = ENCODER.far(submission, 3, 64, (sizes,), IMAGE_GAIN / 2)
    if float(sigma.min()) <= 0 or min(float(mu.std()), float(sigma.log().std())) < 1e-3:
        return  # other checks test the sign, and that the image is used
    columns = torch.stack([mu.flatten(), torch.ones(len(mu)).double()], 1)
    for raw in (sigma.log(), sigma.expm1().log()):
        if not bool(torch.isfinite(raw).all()):
            continue
        left = raw - columns @ torch.linalg.pinv(columns) @ raw
        expect(
            float(left.abs().max()) > 1e-4 * float(raw.std()),
            "`sigma` is computed from `mu`: two images with the same mu always have the same "
            "sigma. Apply each of the two linear layers to the features of the image.",
            "sigma_from_mu",
        )


@check("encoder")
def test_encoder_has_no_padding(submission: Submission) -> None:
    """The convolutions have no padding: the linear layers get the features that are left."""
    encoder = SMALL.make(submission, "Encoder")
    encode(encoder, images(2), SMALL)  # a call sets the sizes of lazy layers
    padded = SMALL.c2 * SIDE**2
    expect(
        (SMALL.lat, padded) not in shapes(encoder),
        f"The linear layers of `Encoder` get {padded} features, c2 · 28 · 28: the convolutions are "
        f"padded. Without padding, {SMALL.features} features are left at c2 = {SMALL.c2} and "
        f"k = {SMALL.k}.",
        "padded",
    )


# Decoder


def works_on_features(decoder: RemoteObject, sizes: Sizes) -> bool:
    """Return whether a decoder accepts features in place of codes."""
    try:
        got = decoder(torch.rand(2, sizes.features))
    except Raised:
        return False
    return isinstance(got, torch.Tensor) and got.shape == (2, 1, 28, 28)


def decode(decoder: RemoteObject, z: torch.Tensor, sizes: Sizes) -> torch.Tensor:
    """Call `Decoder` and expect images, (N, 1, 28, 28)."""
    try:
        return expect_images(decoder, decoder(z), len(z), sizes)
    except Raised:
        expect(
            not works_on_features(decoder, sizes),
            "`Decoder` reshapes z itself, as the assignment's original sheet says. This is an "
            "erratum: a code has far too few numbers. Which layer is missing before the ReLU?",
            "linear_left_out",
        )
        raise


@check("decoder")
def test_decoder_sees_the_sign(submission: Submission) -> None:
    """Negative numbers in a code change the image, too."""
    for gain in (0, KEPT):
        decoder, z = DECODER.filled(submission, 6, gain)
        if float(decode(decoder, z, SMALL).std(0).max()) > 1e-6:
            break
    else:
        return  # all images are the same: another check reports it
    either_weights(
        lambda gain: DECODER.filled(submission, 6, gain), expect_negative_numbers_used, KEPT
    )


def expect_negative_numbers_used(decoder_and_codes: tuple[RemoteObject, torch.Tensor]) -> None:
    """Expect that an image is another one if the negative numbers of its code become 0."""
    decoder, z = decoder_and_codes
    pixels, positive = decode(decoder, z, SMALL), decode(decoder, z.clamp(min=0), SMALL)
    expect(
        not torch.allclose(pixels, positive, atol=1e-6),
        "`Decoder` ignores negative numbers in the code: a ReLU is applied to z itself, as the "
        "assignment's original sheet says. This is an erratum. Apply the linear layer first.",
        "relu_on_code",
    )


@check("decoder")
def test_decoder_sees_the_size(submission: Submission) -> None:
    """A code that is twice as long has another image, also if its numbers are large."""
    either_weights(lambda gain: DECODER.filled(submission, 6, gain), expect_size_used, 0.5)


def expect_size_used(decoder_and_codes: tuple[RemoteObject, torch.Tensor]) -> None:
    """Expect that large numbers in a code are not cut off, and that codes are not normalised."""
    decoder, z = decoder_and_codes
    z = z.sign() * (1 + torch.rand_like(z) / 2)
    opposite, unit, four, eight = (decode(decoder, f * z, SMALL) for f in (-1, 1, 4, 8))
    near, far = (float((a - b).abs().max()) for a, b in ((opposite, unit), (four, eight)))
    expect(
        far > 0.02 * near or near <= 1e-6,
        "`Decoder` returns the same image for a code and for a code that is twice as long. Is the "
        "code divided by its length, or does an activation such as a tanh limit it? Apply the "
        "linear layer to the code itself.",
        "code_limited",
    )


ENCODER = Part(
    "encoder",
    lambda submission, sizes: sizes.make(submission, "Encoder"),
    encode,
    lambda _, n, sizes: images(n),
    small=(SMALL,),
    shapes=tuple((n, sizes) for sizes in EVERY for n in (6, 1)),
    gives=("`mu`", "`sigma`"),
)
DECODER = replace(
    ENCODER,
    task="decoder",
    make=lambda submission, sizes: sizes.make(submission, "Decoder"),
    call=decode,
    inputs=lambda _, n, sizes: torch.randn(n, sizes.lat),
    row="code",
    gives=("image",),
    argument="z",
)
CHECKS = (
    *part_checks(
        ENCODER,
        "Images become mu and sigma, (N, Z) each, for k = 3 and 5, any sizes and batches of one.",
        ignored="image_ignored",
        detached="encoder_detached",
    ),
    *size_checks(ENCODER),
    test_sigma_is_positive,
    test_sigma_has_no_limits,
    test_sigma_has_its_own_features,
    test_encoder_has_no_padding,
    *nonlinearity_checks(ENCODER, 5),
    *part_checks(
        DECODER,
        "Codes become images (N, 1, 28, 28), for k = 3 and 5, any sizes and batches of one.",
        ignored="code_ignored",
        detached="decoder_detached",
    ),
    *size_checks(DECODER),
    *range_checks(DECODER, sizes=(replace(SMALL, c1=8),)),
    test_decoder_sees_the_sign,
    test_decoder_sees_the_size,
)
