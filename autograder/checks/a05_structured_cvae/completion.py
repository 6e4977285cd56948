"""The codes and conditions that a function for completing images has decoded."""

import math
from dataclasses import dataclass

import torch

from autograder.checks.shared.prior import ENCODED, expect_prior_codes
from autograder.checks.shared.vae_parts import PIXELS, with_stubs
from autograder.checks.shared.wiring import FEATURES, LATENTS
from autograder.checks.vocabulary import expect, expect_tensor
from autograder.protocol.remote import Affine, Raised, RemoteObject, Submission


@dataclass(frozen=True)
class Completed:
    """One call of a submission's `complete(model, x, n)` with known parts in the model.

    Attributes:
        x: The images, (N, 1, 28, 28).
        c: The right evidence for each image, (N, C).
        z: The codes that the samples were decoded from, (N, n, Z).
        given: The conditions that they were decoded with, (N, n, C).
        encoded: The inputs of the encoder, (rows, 784 + C); no rows if it was not called.
        reversed: Whether the decoder got rows [c, z].
    """

    x: torch.Tensor
    c: torch.Tensor
    z: torch.Tensor
    given: torch.Tensor
    encoded: torch.Tensor
    reversed: bool = False

    @classmethod
    def by(
        cls,
        submission: Submission,
        complete: RemoteObject,
        x: torch.Tensor,
        c: torch.Tensor,
        n: int,
    ) -> "Completed":
        """Call it. The decoder copies each of its inputs to a pixel, so its output shows them.

        A pixel is the sigmoid of a tenth of its input: a decoder's images are in [0, 1].
        """
        condition = c.shape[1]
        vae, _ = with_stubs(submission, condition)
        decoder = torch.randn(LATENTS + condition, PIXELS) / math.sqrt(condition)
        copies = torch.randperm(PIXELS)[: len(decoder)]
        decoder[:, copies] = 0.1 * torch.eye(len(decoder))
        vae.set_stub("decoder", Affine([decoder], (1, 28, 28)), squash=True)
        # A code of the encoder is far from every code of the prior.
        vae.set_stub("encoder", Affine([torch.zeros(PIXELS + condition, FEATURES)]))
        vae.set_stub("mu_layer", Affine([torch.zeros(FEATURES, LATENTS)], bias=ENCODED))
        vae.set_stub("logvar_layer", Affine([torch.zeros(FEATURES, LATENTS)], bias=-4.0))
        vae.set_stub("reparameterize", Affine([torch.eye(LATENTS), torch.zeros(LATENTS, LATENTS)]))
        try:
            got = complete(vae, x, n)
        except Raised:
            width = vae.decoder.seen().shape[-1]
            expect(
                not width or width == LATENTS + condition,
                f"`complete` calls the decoder of a model with Z = {LATENTS} and C = {condition} "
                f"with rows of {width} values. They should be [z, c], of "
                f"{LATENTS + condition}; `model.latent_dim` is Z.",
                "wrong_width",
            )
            raise
        if isinstance(got, torch.Tensor) and n != len(x):
            expect(
                tuple(got.shape[:2]) != (n, len(x)),
                f"`complete` returns shape {tuple(got.shape)}: the axes of images and samples are "
                "swapped.",
                "samples_first",
            )
        samples = expect_tensor(got, (len(x), n, 1, 28, 28), "`complete(model, x, n)`")
        pixels = samples.flatten(2)
        rows = 10 * pixels[..., copies].logit()
        difference = ((rows @ decoder.double()).sigmoid() - pixels).abs().max()
        expect(
            float(difference) < 1e-3,
            "`complete` does not return the images as the decoder returns them: some of their "
            "pixels are changed afterwards.",
            "decoded_images_changed",
        )
        encoded, c = vae.encoder.seen(), c.double()
        first = rows[..., :condition]
        if torch.allclose(first, c[:, None].expand_as(first), atol=1e-3):
            return cls(x, c, rows[..., condition:], first, encoded, reversed=True)
        return cls(x, c, rows[..., :LATENTS], rows[..., LATENTS:], encoded)


def expect_samples(made: Completed) -> None:
    """Expect that each sample was decoded with its own image's evidence."""
    expect(
        not made.reversed,
        "`complete` calls the decoder with rows [c, z]. The order is [z, c], as in `forward`.",
        "condition_first",
    )
    expected = made.c[:, None].expand_as(made.given)
    if torch.allclose(made.given, expected, atol=1e-3):
        return
    own = torch.cdist(made.given.flatten(0, 1), made.c)
    expect(
        float(own.min(1).values.max()) > 1e-2,
        "Samples and quarters are mixed up: some samples of an image were decoded with the quarter "
        "of another image. `repeat` and `repeat_interleave` return copies in different orders.",
        "quarters_mixed_up",
    )
    expect(
        float(made.given.abs().max()) > 1e-2,
        "The decoder does not get the quarter. Pass it to the decoder.",
        "condition_missing_in_decoder",
    )
    expect(
        False,
        "The decoder does not get the output of `lower_left`. Join z and the quarter.",
        "wrong_evidence",
    )


def expect_new_codes(first: Completed, again: Completed) -> None:
    """Expect different codes at another call.

    Two samples of N(0, I) are within 1e-3 of each other less than once in a thousand times. For six
    pairs, this happens less than once in 10¹⁸ runs.

    Args:
        first: One call.
        again: Another one, with as many images and samples.
    """
    expect(
        not torch.allclose(first.z, again.z, rtol=0, atol=1e-3),
        "Two calls sample the same codes. Do you set a seed?",
        "reseeded",
    )


def expect_prior_only(made: Completed) -> None:
    """Expect codes of the prior, one for each sample, for all images."""
    n = made.z.shape[1]
    from_encoder = abs(float(made.z.mean()) - ENCODED) < 1
    hidden = made.x.flatten(1).double()
    seen = made.encoded[:, :PIXELS].double() if len(made.encoded) else hidden[:0]
    whole = len(seen) > 0 and float(torch.cdist(seen[:1], hidden).min()) < 1e-3
    expect(
        not (from_encoder and whole),
        "`complete` encodes the whole image: its codes depend on the covered part. At test time "
        "this part is unknown.",
        "sees_the_rest",
    )
    expect(
        not from_encoder,
        "`complete` takes its codes from the encoder, which needs the whole image. Sample them "
        "from the prior.",
        "posterior_for_prior",
    )
    expect(
        n == 1 or float(made.z.std(1).max()) > 1e-6,
        "All samples of an image have the same code, so they are equal. Sample one for each.",
        "samples_alike",
    )
    expect(
        float(made.z.std(0).max()) > 1e-6,
        "Every image gets the same codes. Sample new ones for each image.",
        "shared_noise",
    )
    expect_prior_codes(made.z.flatten(0, 1)[:, :2])
