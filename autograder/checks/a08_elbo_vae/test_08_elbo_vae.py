"""Tasks and checks of `08_elbo_vae`."""

from dataclasses import replace
from typing import Any

import torch

from autograder.checks.a08_elbo_vae.bernoulli_decoder import (
    expect_fair_pixels,
    expect_not_random,
    expect_probabilities,
)
from autograder.checks.a08_elbo_vae.bernoulli_elbo import (
    ELBO_MISTAKES,
    KnownParts,
    known_parts,
)
from autograder.checks.a08_elbo_vae.given_layers import expect_given_layers
from autograder.checks.bounds import course_bounds
from autograder.checks.deformed import deformed_digits
from autograder.checks.shared.answers import expect_gaussians, expect_values
from autograder.checks.shared.calls import expect_called
from autograder.checks.shared.gaussian import negative_elbo, sample
from autograder.checks.shared.kl import Pair, kl_checks
from autograder.checks.shared.last_activation import expect_not_normalised
from autograder.checks.shared.likelihood import BERNOULLI
from autograder.checks.shared.loss_terms_fit import expect_weights
from autograder.checks.shared.networks import (
    Part,
    either_weights,
    expect_nothing_around_sigmoid,
    head_checks,
    logits_of,
    nonlinearity_checks,
    part_checks,
)
from autograder.checks.shared.parameterization import (
    EACH_IMAGE,
    LOGSIGMA,
    expect_one_each,
    expect_posterior,
)
from autograder.checks.shared.parts import expect_of_arguments_alone, model_or_bare
from autograder.checks.shared.prior import ENCODED, new_image_checks
from autograder.checks.shared.repeats import expect_noise_not_centred
from autograder.checks.shared.sampling import (
    expect_new_draws,
    mean_in_eval_accepted,
    method_sampler,
    sampling_checks,
)
from autograder.checks.shared.wiring import expect_images_given
from autograder.checks.training import TrainingSpec, expect_trained, live_sentence
from autograder.checks.vocabulary import (
    ImportRule,
    Task,
    check,
    close,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
)
from autograder.protocol.remote import Affine, Raised, RemoteObject, Submission

TOTAL_POINTS = 60.0
PARTS = ("encoder", "sample_with_reparam", "decoder", "kl_divergence")
TASKS = (
    Task("encoder", 10, "Encoder", parts=("encoder",)),
    Task("sample_with_reparam", 10, "Reparameterized sample", parts=("sample_with_reparam",)),
    Task("decoder", 10, "Decoder", parts=("decoder",)),
    Task("kl_divergence", 5, "KL divergence", parts=("kl_divergence",)),
    Task("elbo", 15, "ELBO", parts=("elbo",), uses=PARTS),
    Task("sample", 10, "New images"),
)

IMPORTS = ImportRule(further=False, forbidden=("torch.distributions",))

# Sizes that are not the notebook's: constants in the code fail.
OBS, LATENTS, HIDDEN = 30, 5, 24
SIDE = 28


def new_vae(submission: Submission, latent_dim: int = LATENTS) -> RemoteObject:
    """Make a small model in eval mode."""
    vae = submission.new("VAE", OBS, latent_dim, HIDDEN)
    vae.eval()
    return vae


def any_vae(submission: Submission, latent_dim: int = LATENTS, obs_dim: int = OBS) -> RemoteObject:
    """Make a model to test its methods only: `__init__` may fail."""
    sizes = {"obs_dim": obs_dim, "latent_dim": latent_dim, "hidden_dim": HIDDEN}
    return model_or_bare(submission, "VAE", *sizes.values(), **sizes)


# Encoder


def encode(
    vae: RemoteObject, x: torch.Tensor, latent_dim: int = LATENTS
) -> tuple[torch.Tensor, torch.Tensor]:
    """Call `encoder` and expect mu and logsigma, (N, L) each."""
    return expect_posterior(vae.encoder(x), len(x), latent_dim)


ENCODER = Part(
    "encoder",
    new_vae,
    encode,
    lambda _, n, latent_dim: torch.rand(n, OBS),
    small=(LATENTS,),
    shapes=((1, 5), (7, 5), (4, 13)),
    gives=("`mu`", "`logsigma`"),
)
DECODER = replace(
    ENCODER,
    task="decoder",
    call=lambda vae, z, _: expect_tensor(vae.decoder(z), (len(z), OBS), "`decoder(z)`"),
    inputs=lambda _, n, latent_dim: torch.randn(n, latent_dim),
    row="code",
    gives=("image",),
    argument="z",
)


@check("encoder")
def test_encoder_uses_the_given_layers(submission: Submission) -> None:
    """With the given layers, mu and logsigma have the correct values."""
    vae = new_vae(submission)
    x = torch.rand(6, OBS)
    got = torch.stack(expect_posterior(vae.encoder(x), 6, LATENTS))
    expect_given_layers(vae, x, got, HIDDEN)


# Decoder


@check("decoder")
def test_decoder_range(submission: Submission) -> None:
    """Decoded pixels are probabilities. They can be low and high."""
    either_weights(
        lambda gain: DECODER.far(submission, 1e3, 256, gain=gain)[0], expect_probabilities
    )
    expect_not_normalised(DECODER.far(submission, 1, 16, gain=0.01)[0])
    expect_nothing_around_sigmoid(DECODER, submission, 16)


@check("decoder")
def test_decoder_gives_probabilities(submission: Submission) -> None:
    """The same code always gives the same probabilities, not random or rounded pixels."""
    vae = new_vae(submission)
    z = torch.randn(6, LATENTS)
    theta = expect_tensor(vae.decoder(z), (6, OBS), "`decoder(z)`")
    expect_not_random(theta)
    expect_close(vae.decoder(z), theta, "The decoder's output for the same code at a second call")


# KL


def called_kl(submission: Submission) -> Pair:
    """Return the submission's `kl_divergence`, which returns one number for each row."""

    def called(mu: torch.Tensor, logsigma: torch.Tensor) -> torch.Tensor:
        vae = any_vae(submission, mu.shape[1])
        got, (n, width) = vae.kl_divergence(mu, logsigma), mu.shape
        return expect_one_each(got, n, "`kl_divergence(…)`", width=width)

    return called


@check("kl_divergence")
def test_kl_divergence_keeps_its_inputs(submission: Submission) -> None:
    """`kl_divergence` depends on its arguments alone, and does not change them."""
    inputs = dict(zip(("mu", "logsigma"), LOGSIGMA.posterior(6, LATENTS), strict=True))
    method = any_vae(submission).kl_divergence
    expect_of_arguments_alone(submission, method, "kl_divergence", inputs)


@check("sample_with_reparam")
def test_sample_of_one_image(submission: Submission) -> None:
    """The noise is not changed by the other images of a batch."""
    method = any_vae(submission, 5).sample_with_reparam
    expect_noise_not_centred(method, LOGSIGMA, "sample_with_reparam")


# ELBO


def elbo(vae: RemoteObject, x: torch.Tensor) -> Any:
    """Call `elbo` on a model made of known parts."""
    try:
        return vae.elbo(x)
    except Raised:
        seen = vae.decoder.seen()
        expect(
            seen.dim() != 2 or seen.shape[1] != OBS,
            "`elbo` decodes the image itself. The decoder should get the code z only: g_λ(z). "
            "The sheet prints g_λ(x), which is an error.",
            "erratum_decodes_x",
        )
        raise


def explain_elbo(got: torch.Tensor, vae: RemoteObject, parts: KnownParts, x: torch.Tensor) -> None:
    """Explain an ELBO that no known mistake computes."""
    expect_called(vae, PARTS, "elbo")
    expect_images_given(vae.encoder.seen(), x, "elbo")
    if len(x) > 2:
        expect_weights(got, -parts.likelihood(x), parts.kl(x), "your ELBO", sign=-1.0)


def one_for_each(got: Any, parts: KnownParts, x: torch.Tensor) -> torch.Tensor:
    """Expect one number for each image, (N,), or explain a table of all pairs."""
    n = len(x)
    if isinstance(got, torch.Tensor) and tuple(got.shape) == (n, n) and n > 1:
        pairs = parts.likelihood(x)[:, None] - parts.kl(x)
        table = got.double()
        expect(
            not close(table, pairs) and not close(table.T, pairs),
            f"`elbo(x)` has the shape ({n}, {n}): one of its terms has the shape ({n}, 1), as "
            f"after `keepdim=True`, and the other ({n},). Both should have the shape ({n},).",
            "pairs_of_images",
        )
    return expect_one_each(got, n, "`elbo(x)`")


def expect_elbo(got: torch.Tensor, vae: RemoteObject, parts: KnownParts, x: torch.Tensor) -> None:
    """Expect the ELBO of known parts, or find out why it has another value."""
    expect_close(
        got,
        parts.elbo(x),
        "The ELBO",
        (parts, x),
        ELBO_MISTAKES,
        otherwise=lambda: explain_elbo(got, vae, parts, x),
    )


@check("elbo")
def test_elbo_value(submission: Submission) -> None:
    """With known parts, the ELBO is log-likelihood minus KL, one number for each image.

    Two calls must return two samples.
    """
    vae = any_vae(submission)
    parts = known_parts(vae, OBS, LATENTS)
    for n, mode in ((5, "train"), (5, "eval"), (1, "eval")):
        getattr(vae, mode)()
        # Grey pixels make swapped arguments and rounding visible.
        x = 0.05 + 0.9 * torch.rand(n, OBS)
        got = one_for_each(elbo(vae, x), parts, x)
        with mean_in_eval_accepted(submission, "sample_with_reparam", mode):
            expect_elbo(got, vae, parts, x)
    names = ("mu", "logsigma")
    expect_new_draws(vae, "sample_with_reparam", names, LATENTS, vae.elbo, x)


@check("elbo")
def test_elbo_of_black_and_white(submission: Submission) -> None:
    """The ELBO is also correct for black and white pixels, and for large images."""
    vae = any_vae(submission)
    parts = known_parts(vae, OBS, LATENTS, largest=9.0)
    x = torch.rand(12, OBS).round()
    got = one_for_each(elbo(vae, x), parts, x)
    # A number of 1e-6 inside the logarithms is right.
    if not close(got, parts.elbo(x), 1e-3):
        expect_elbo(got, vae, parts, x)
    vae = any_vae(submission, obs_dim=SIDE**2)
    parts = known_parts(vae, SIDE**2, LATENTS)
    x = torch.rand(2, SIDE**2).round()
    large = elbo(vae, x)
    expect(
        not isinstance(large, torch.Tensor) or bool(torch.isfinite(large).all()),
        f"The ELBO of images of {OBS} pixels is right. That of images of {SIDE**2} pixels is not "
        "finite: is it the logarithm of a product? The product of so many probabilities is 0 in "
        "float32. Add their logarithms.",
        "product_underflows",
    )
    expect_elbo(one_for_each(large, parts, x), vae, parts, x)


@check("elbo")
def test_elbo_uses_one_sample(submission: Submission) -> None:
    """The decoder gets samples, not means of several samples; so does the likelihood."""
    vae = any_vae(submission, obs_dim=SIDE)
    parts = known_parts(vae, SIDE, LATENTS)
    alone = Affine([torch.eye(LATENTS), torch.zeros(LATENTS, LATENTS)])
    vae.set_stub("sample_with_reparam", alone, noise=True, names=("mu", "logsigma"))
    vae.train()
    x = 0.05 + 0.9 * torch.rand(500, SIDE)
    got = elbo(vae, x)
    seen = vae.decoder.seen()
    if seen.dim() != 2 or seen.shape[1] != LATENTS or not len(seen) or len(seen) % len(x):
        return  # other checks compare the values
    noise = seen.double() - parts.encode(x)[0].repeat(len(seen) // len(x), 1).double()
    spread = float(noise.std())
    # 2,500 normal numbers have such a deviation with a probability below 1e-10.
    expect(
        not 0.01 < spread < 0.9 or len(vae.sample_with_reparam.seen()) <= len(seen),
        f"The decoder gets the mean of several samples: their deviation is {spread:.2g} times that "
        "of one. Decode one sample of z for each image.",
        "samples_averaged",
    )
    theta = parts.decode(seen).unflatten(0, (-1, len(x))).mean(0)
    if len(seen) > len(x) and isinstance(got, torch.Tensor) and got.shape == (len(x),):
        averaged = -BERNOULLI.term(EACH_IMAGE, theta, x) - parts.kl(x)
        expect(
            not close(got.double(), averaged.double()),
            "`elbo` averages the decoded probabilities of several samples, and then takes the "
            "logarithm. Decode one sample of z for each image.",
            "probabilities_averaged",
        )


@check("elbo")
def test_elbo_gradient(submission: Submission) -> None:
    """Gradients pass through both terms of the ELBO."""
    vae = any_vae(submission)
    parts = known_parts(vae, OBS, LATENTS)
    x = (0.05 + 0.9 * torch.rand(4, OBS)).requires_grad_()
    (got,) = expect_grad(elbo(vae, x), {"x": x}, "the ELBO", "elbo_detached")
    parts.expect_gradient(got, x)


def loss_through_the_code(model: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the loss of a code sampled here: it depends on the image only through the code."""
    x = x.flatten(1)
    mu, logsigma = expect_values(model.encoder(x), ("mu", "logsigma"))
    mu, logsigma = expect_gaussians(mu, logsigma, len(x), "logsigma")
    return negative_elbo(model.decoder(sample(mu, 2 * logsigma)), x, mu, 2 * logsigma)


BOUNDS = course_bounds(__name__, epochs=5, below=125.0, below_full=112.0, below_new=150.0)
SPEC = TrainingSpec(
    model="VAE",
    data="mnist",
    unit="nats per image",
    batch=lambda x, labels: (x.flatten(1),),
    loss=lambda batch, theta, mu, logsigma: negative_elbo(theta, batch[0], mu, 2 * logsigma),
    confirm=loss_through_the_code,
    new_images=deformed_digits,
    untrained=175.0,
    sizes=("obs_dim", "latent_dim", "hidden_dim"),
    task="elbo",
    headline=110.0,
    **BOUNDS,
)


# After the other checks of its task: a wrong `elbo` is replaced by the reference's for training.
@check(
    "elbo",
    live=live_sentence(SPEC, "−ELBO", " nats"),
    says=f"Trained from scratch with your settings, −ELBO falls below {SPEC.below:g} nats within "
    f"{SPEC.epochs} epochs.",
)
def test_elbo_threshold(submission: Submission) -> None:
    """Train the model; −ELBO must fall below the bound."""
    expect_trained(submission, TASKS, SPEC)


# New images. With the stub of the decoder, all pixels but two have the probability ½.
# The last but one is white where the first latent is positive, and the last where the second is.

STEEP, NEW_PIXELS = 1e4, 24
# By how much a code of the stub of `sample_with_reparam` is larger where logsigma is 1.
SHIFT = 50.0


def sampled(submission: Submission, n: int = 10_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample images through known parts: pixels (n, NEW_PIXELS) and codes (n, 2)."""
    vae = any_vae(submission, 2, NEW_PIXELS)
    weights = torch.zeros(2, NEW_PIXELS)
    weights[0, -2] = weights[1, -1] = STEEP
    vae.set_stub("decoder", Affine([weights]), squash=True, names=("z",))
    nothing = torch.zeros(NEW_PIXELS, 2)
    vae.set_stub("encoder", Affine([nothing], bias=ENCODED), Affine([nothing]))
    # Noise around mu, shifted by logsigma: correct at the prior, where `sample` may use it.
    shifted = Affine([torch.eye(2), SHIFT * torch.eye(2)])
    vae.set_stub("sample_with_reparam", shifted, noise=True, names=("mu", "logsigma"))
    vae.eval()
    few = vae.sample(3)  # a list of 10,000 tensors is too long to send
    expect(
        not isinstance(few, tuple),
        f"{SAMPLE} returns a list or a tuple. Return one tensor of shape (N, D).",
        "list_returned",
    )
    expect_tensor(few, (3, NEW_PIXELS), SAMPLE)
    x = expect_tensor(vae.sample(n), (n, NEW_PIXELS), SAMPLE)
    expect(
        bool(((x == 0) | (x == 1)).all()),
        "`sample` returns probabilities. The last step is missing: each pixel should be 0 or 1.",
        "returns_probabilities",
    )
    # The codes of the call before are the first ones. One code may be decoded for all images.
    seen = vae.decoder.seen()
    z = seen[-n:] if len(seen) >= 3 + n else seen[-1:].expand(n, *seen.shape[1:])
    z = expect_tensor(z, (n, 2), "The code that `sample` decodes")
    expect_prior_given(vae, z)
    return x, z


def expect_prior_given(vae: RemoteObject, z: torch.Tensor) -> None:
    """Expect that `sample_with_reparam` got logsigma = 0, if it sampled these codes."""
    mu = vae.sample_with_reparam.seen()[-len(z) :]
    if mu.shape != z.shape:
        return
    logsigma = float((z - mu).mean()) / SHIFT
    expect(
        abs(logsigma) < 0.2,
        f"`sample` calls `self.sample_with_reparam` with logsigma = {logsigma:.2g}. The prior has "
        "σ = 1: its logarithm is another number.",
        "prior_spread",
    )


@check("sample")
def test_sample_is_black_and_white(submission: Submission) -> None:
    """Every pixel is 0 or 1. A pixel with the probability ½ takes both values."""
    pixels = sampled(submission)[0][:, :-2]
    expect_fair_pixels(pixels, lambda: sampled(submission, 1)[0][:, :-2])


@check("sample")
def test_sample_decodes_its_codes(submission: Submission) -> None:
    """Each image is decoded from the code that was sampled for it."""
    x, z = sampled(submission)
    sure = z.abs() > 0.01
    if not bool(sure.any()):
        return  # all codes are 0: another check reports it
    white, expected = x[:, -2:][sure], (z > 0)[sure]
    expect(
        not bool((white != expected).all()),
        "A pixel with the probability 1 is black, and one with the probability 0 is white.",
        "pixels_inverted",
    )
    expect(
        bool((white == expected).all()),
        "A pixel with the probability 1 is black, or it is white in another image. Decode each "
        "image from its own code.",
    )


SAMPLE = "`sample(num_samples)`"
FAMILIES = (
    part_checks(
        ENCODER,
        "Rows (N, D) become mu and logsigma, (N, L) each, also for a batch of one.",
        detached="encoder_detached",
    ),
    head_checks(ENCODER, (40,), same="same_head"),
    nonlinearity_checks(ENCODER, 5),
    sampling_checks(
        "sample_with_reparam",
        method_sampler(any_vae, "sample_with_reparam"),
        LOGSIGMA,
        what="`sample_with_reparam(mu, logsigma)`",
        name="sample_with_reparam",
    ),
    part_checks(
        DECODER,
        "Codes (N, L) become rows of pixels (N, D), also for a batch of one.",
        detached="decoder_detached",
    ),
    nonlinearity_checks(DECODER, 3, logits_of, 1e-3),
    kl_checks("kl_divergence", called_kl, LOGSIGMA, EACH_IMAGE),
    new_image_checks(any_vae, (OBS,), lambda submission, n: sampled(submission, n)[1], SAMPLE),
)
