"""Checks of codes that should be samples of the prior N(0, I), and of images made from them.

Right codes fail with a probability below 6e-10; see `chance`.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from autograder.checks.shared.chance import (
    correlation_error,
    deviation_error,
    kurtosis_range,
    mean_error,
)
from autograder.checks.shared.networks import Checks
from autograder.checks.shared.repeats import distinct, expect_different_codes, expect_new_noise
from autograder.checks.shared.sampling_mistakes import kurtosis
from autograder.checks.vocabulary import check, expect, expect_tensor
from autograder.protocol.remote import Affine, Raised, RemoteObject, Submission

# The codes that the stub of an encoder returns; `expect_prior_codes` recognises them.
ENCODED = 5.0


def expect_prior_codes(z: torch.Tensor) -> None:
    """Expect independent standard normal numbers.

    A mean, a correlation, a deviation and a kurtosis: right codes fail with a probability below
    6e-10.

    Args:
        z: The codes of many samples, (n, 2), with n of at least 4,000.
    """
    n, latents = z.shape
    count = n * latents
    expect(
        abs(float(z.mean()) - ENCODED) > 1,
        "The mean of the codes is not 0. Without an image there is no posterior. Which "
        "distribution should z be sampled from?",
        "posterior_for_prior",
    )
    expect(
        distinct(z[:, 0]) > n // 2,
        "All images of a call have the same code. Sample one code for each image.",
        "shared_code",
    )
    mean, deviation = float(z.mean()), float(z.std())
    expect(
        abs(mean - math.sqrt(2 / math.pi)) > 0.05 or abs(deviation - 0.603) > 0.05,
        "The codes are never negative: you use the absolute value of the noise. Use the noise "
        "itself.",
        "noise_absolute",
    )
    uniform = abs(deviation - 1 / math.sqrt(12)) < 0.01
    expect(
        abs(mean) <= mean_error(deviation, count),
        f"The mean of the codes is {mean:.2g}, not 0: the prior is N(0, I).",
        "uniform_noise" if uniform else None,
    )
    correlation = float(torch.corrcoef(z.T)[0, 1]) if float(z.std(0).min()) > 0 else 1.0
    expect(
        abs(correlation) <= correlation_error(n),
        "The latents of one code are not independent. Sample one number for each latent.",
        "shared_noise",
    )
    expect(
        abs(deviation - 1) <= deviation_error(1, count),
        f"The standard deviation of the codes is {deviation:.3g}; that of the prior N(0, I) is 1.",
        "prior_spread",
    )
    fourth = kurtosis(z)
    low, high = kurtosis_range(count)
    expect(
        low <= fourth <= high,
        f"The codes do not look Gaussian: their kurtosis should be 3; it is {fourth:.2f}.",
        "uniform_noise" if abs(fourth - 1.8) < 0.1 else None,
    )


def plug_random_decoder(vae: RemoteObject, latents: int, row: tuple[int, ...]) -> torch.Tensor:
    """Replace a decoder by the sigmoid of a random linear map; return its weights, (Z, D)."""
    weights = torch.randn(latents, math.prod(row))
    vae.set_stub("decoder", Affine([weights], row), squash=True, names=("z",))
    return weights


def sample_images(vae: RemoteObject, n: int, latents: int, size: str) -> Any:
    """Call `sample` of a model with a known decoder; explain codes of another size.

    Args:
        vae: The model.
        n: The number of images.
        latents: The size of its codes, Z.
        size: The attribute that contains Z, for the message; "" if there is none.

    Raises:
        CheckFailed: If the decoder gets rows of another size.
        Raised: If `sample` raises another exception.
    """
    try:
        return vae.sample(n)
    except Raised:
        seen = vae.decoder.seen()
        width = seen.shape[-1] if seen.dim() > 1 else latents
        expect(
            width == latents,
            f"`sample` of a model with Z = {latents} gives its decoder codes of {width} values. "
            "Use the size of the model itself, not a fixed number or a global variable"
            + (f": `{size}` is Z." if size else "."),
            "wrong_width",
        )
        raise


def new_image_checks(
    make: Callable[[Submission, int], RemoteObject],
    row: tuple[int, ...],
    codes: Callable[[Submission, int], torch.Tensor],
    call: str,
    size: str = "",
) -> Checks:
    """Make the checks of a model's `sample`, which decodes samples of the prior.

    Args:
        make: Makes a model with a number of latents.
        row: Shape of one image.
        codes: Samples n images of two latents through known parts; returns the codes, (n, 2).
        call: The call of `sample`, for messages.
        size: The attribute of a model that contains its number of latents, for messages.
    """

    def stubbed(submission: Submission, latents: int = 5) -> RemoteObject:
        vae = make(submission, latents)
        plug_random_decoder(vae, latents, row)
        return vae

    @check("sample")
    def test_sample_shape(submission: Submission) -> None:
        """`sample(n)` returns n images, also for n = 1."""
        for n, latents in ((1, 5), (7, 5), (3, 13)):
            vae = stubbed(submission, latents)
            expect_tensor(sample_images(vae, n, latents, size), (n, *row), call)

    @check("sample")
    def test_sample_uses_the_prior(submission: Submission) -> None:
        """Every image has its own code, a sample of N(0, I)."""
        expect_prior_codes(codes(submission, 5000))

    @check("sample")
    def test_sample_is_new_every_time(submission: Submission) -> None:
        """Two calls return different images."""
        # Compare the codes: each call uses another stub of the decoder.
        first, second = (codes(submission, 8) for _ in range(2))
        if torch.equal(first, first[:1].expand_as(first)):
            return  # Without noise all codes are equal: the check above reports it.
        expect(
            not torch.equal(first, second),
            "Two calls return the same images. Is a seed set inside?",
            "reseeded",
        )
        vae = stubbed(submission)
        expect_new_noise(vae.sample, 4, name="sample")
        # The codes alone: pixels may be sampled from their probabilities after that.
        seen = vae.decoder.seen()
        if len(seen) == 12:
            expect_different_codes(seen.unflatten(0, (3, 4)), "sample")

    @check("sample")
    def test_sample_carries_no_gradient(submission: Submission) -> None:
        """The samples are plain numbers without a graph."""
        got = stubbed(submission).sample.trace(4)
        expect(
            not isinstance(got, torch.Tensor) or not got.requires_grad,
            "The samples have a graph for gradients, which only uses memory. Compute them under "
            "`torch.no_grad()`.",
            "carries_gradient",
        )

    return (
        test_sample_shape,
        test_sample_uses_the_prior,
        test_sample_is_new_every_time,
        test_sample_carries_no_gradient,
    )
