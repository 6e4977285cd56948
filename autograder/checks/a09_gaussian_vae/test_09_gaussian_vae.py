"""Tasks and checks of `09_gaussian_vae`."""

import functools
import math
from dataclasses import replace
from typing import Any

import torch

from autograder.checks.a09_gaussian_vae import dequantization
from autograder.checks.a09_gaussian_vae.calc_elbo import (
    CODE,
    IMAGE,
    PIXELS,
    SIGMA_X,
    TERMS,
    any_vae,
    called_kl,
    expect_gradient_through_kl,
    expect_gradient_through_sample,
    expect_recon,
    expect_three_values,
    order_of,
    plug_blind_decoder,
    plug_encoder,
    sampler,
    terms,
    with_posterior,
)
from autograder.checks.a09_gaussian_vae.dequantization import (
    bits_per_dim,
    dequantize,
)
from autograder.checks.a09_gaussian_vae.gaussian_elbo import SUM_MISTAKES, expect_means
from autograder.checks.a09_gaussian_vae.lines import LINE_MISTAKES, expect_on_line, line
from autograder.checks.bounds import course_bounds
from autograder.checks.deformed import deformed_digits
from autograder.checks.shared.answers import expect_gaussians, expect_like, expect_values
from autograder.checks.shared.gaussian import sample
from autograder.checks.shared.kl import kl_checks, kl_term
from autograder.checks.shared.last_activation import (
    expect_black_reached,
    expect_no_plateau,
    expect_not_normalised,
)
from autograder.checks.shared.likelihood import GAUSSIAN, greys
from autograder.checks.shared.loss_terms_fit import expect_weights
from autograder.checks.shared.networks import (
    Checks,
    Part,
    either_weights,
    expect_nothing_around_sigmoid,
    head_checks,
    module_checks,
    named_check,
    part_checks,
)
from autograder.checks.shared.parameterization import (
    EACH_IMAGE,
    LOGSIGMA,
    expect_one_each,
    expect_posterior,
)
from autograder.checks.shared.parts import (
    expect_inputs_kept,
    expect_mode_kept,
    model_or_bare,
)
from autograder.checks.shared.prior import (
    ENCODED,
    new_image_checks,
    plug_random_decoder,
    sample_images,
)
from autograder.checks.shared.repeats import expect_new_noise
from autograder.checks.shared.sampling import sampling_checks
from autograder.checks.training import TrainingSpec, training_checks
from autograder.checks.vocabulary import (
    CheckFailed,
    Task,
    check,
    expect,
    expect_close,
    expect_tensor,
)
from autograder.protocol.remote import Affine, Raised, RemoteObject, Submission

PARTS = ("encoder", "decoder")
TASKS = (
    Task("dequantize", 10, "Dequantization"),
    Task("encoder", 10, "Encoder", parts=("encoder",), classes=("Encoder",)),
    Task("decoder", 10, "Decoder", parts=("decoder",), classes=("Decoder",)),
    Task(
        "reconstruction",
        15,
        "Gaussian log-density",
        parts=("calc_elbo",),
        uses=PARTS,
        no_seed=False,
    ),
    Task(
        "kl_divergence",
        10,
        "KL divergence",
        parts=("calc_elbo",),
        uses=PARTS,
        no_seed=False,
    ),
    Task("elbo", 15, "Sample and ELBO", parts=("calc_elbo",), uses=PARTS),
    Task("sample", 10, "New images"),
    Task("bits_per_dim", 5, "Bits per dimension"),
    Task("training", 10, "Training loss"),
    Task("interpolate", 5, "Straight line between codes"),
)

# Encoder and decoder


def new(submission: Submission, name: str, latent_dim: int) -> RemoteObject:
    """Make an encoder or a decoder in eval mode."""
    made = submission.new(name, latent_dim)
    made.eval()
    return made


def decode(decoder: RemoteObject, z: torch.Tensor) -> torch.Tensor:
    """Call a decoder and expect images."""
    got = decoder(z)
    expect(
        not (isinstance(got, tuple) and len(got) == 2),
        "The decoder returns two values. It should return one image, the mean of each pixel. "
        "Compute mean and log σ of the code from the output of the *encoder* (the sheet says "
        "'decoder', which is an error).",
        "erratum_heads_on_decoder",
    )
    shape = tuple(got.shape) if isinstance(got, torch.Tensor) else ()
    expect(
        len(shape) != 4 or shape[:2] != (len(z), 1) or shape[2:] == IMAGE[1:],
        f"`Decoder(…)(z)` returns images of {' × '.join(map(str, shape[2:]))} pixels; expected "
        "28 × 28. Follow the side through the layers: does each of them double it?",
        "wrong_side",
    )
    return expect_tensor(got, (len(z), *IMAGE), "`Decoder(…)(z)`")


ENCODER = Part(
    "encoder",
    lambda submission, latent_dim: new(submission, "Encoder", latent_dim),
    lambda encoder, x, latent_dim: expect_posterior(encoder(x), len(x), latent_dim),
    lambda _, n, latent_dim: greys(n, *IMAGE),
    small=(5,),
    shapes=((1, 5), (7, 5), (4, 13)),
    gives=("`mu`", "`logsigma`"),
)
DECODER = replace(
    ENCODER,
    task="decoder",
    make=lambda submission, latent_dim: new(submission, "Decoder", latent_dim),
    call=lambda decoder, z, _: decode(decoder, z),
    inputs=lambda _, n, latent_dim: torch.randn(n, latent_dim),
    row="code",
    gives=("image",),
    argument="z",
)


def convolution_checks(part: Part) -> Checks:
    """Return a check that a part has at least two convolution weights."""

    @named_check(
        part.task,
        f"{part.task}_convolves",
        f"The {part.task} has at least two convolutions, transposed or not.",
    )
    def convolves(submission: Submission) -> None:
        what = part.task.capitalize()
        made = part.make(submission, *part.small)
        made.give_sizes(part.inputs(made, 2, *part.small))
        weights = made.parameters().values()
        if not weights:
            raise CheckFailed(f"`{what}` has no layers yet.", todo=True)
        count = sum(p.dim() == 4 for p in weights)
        expect(
            count >= 2,
            f"`{what}` has {count} convolution{'s' * (count != 1)}. The assignment requires at "
            "least two, and linear layers.",
            "no_convolutions",
        )

    return (convolves,)


@check("decoder")
def test_decoder_reaches_black_and_white(submission: Submission) -> None:
    """Decoded pixels can be dark and bright."""
    either_weights(
        lambda gain: DECODER.far(submission, 1e3, 64, gain=gain)[0], expect_black_and_white
    )
    expect_not_normalised(DECODER.far(submission, 1, 16, gain=0.01)[0])
    expect_nothing_around_sigmoid(DECODER, submission, 16)


def expect_black_and_white(pixels: torch.Tensor) -> None:
    """Expect dark and bright pixels; a model without a last activation is right, too."""
    low, high = float(pixels.min()), float(pixels.max())
    # Without a last activation, bright pixels alone are no sign of one before it.
    if low >= 0 and high <= 1:
        expect_black_reached(low, high)
    expect(
        low < 0.45 and high > 0.55,
        f"Decoded pixels are between {low:.2f} and {high:.2f}, even for extreme codes: no pixel "
        "can be black, or none can be white. Which values can your last activation output?",
        "squashed_twice",
    )
    expect_no_plateau(pixels)


# calc_elbo, with stubs of encoder and decoder

IS_MU = (
    "{} is mu itself, without noise. Do you sample z with noise that is scaled by σ, and is it z "
    "that you decode?"
)


@check("reconstruction")
def test_recon_value(submission: Submission) -> None:
    """With known parts, the second value is −log p(x | z), constants included, at several σ_x."""
    # As many images as latents: a KL that is not summed can then be added to this term.
    for n, sigma_x in ((5, SIGMA_X), (1, 0.05), (5, 2.0)):
        vae = any_vae(submission, 5, sigma_x)
        for mode in (vae.train, vae.eval):
            mode()
            expect_recon(vae, n, sigma_x)


@check("reconstruction")
def test_recon_default_sigma(submission: Submission) -> None:
    """By default, σ_x is 0.1."""
    expect_recon(model_or_bare(submission, "VAE", 5, latent_dim=5, sigma_x=0.1), 5, 0.1)


@check("reconstruction")
def test_recon_known_number(submission: Submission) -> None:
    """Pixels exactly at their means have −log p = D (log σ_x + ½ log 2π)."""
    vae = any_vae(submission, 5, 0.1)
    plug_encoder(vae, 5)
    plug_blind_decoder(vae, 5)
    recon = expect_one_each(terms(vae, torch.full((5, *IMAGE), 0.5))[1], 5, "`recon`")
    right = torch.full((5,), PIXELS * (math.log(0.1) + 0.5 * math.log(2 * math.pi)))
    expect_close(recon, right, "−log p of a perfect reconstruction")


# The sum of both terms


def adds_up(total: Any, recon: Any, divergence: Any) -> bool:
    """Return whether the first value is the sum of the others, whatever their shapes are."""
    try:
        values = [torch.as_tensor(value).double() for value in (total, recon, divergence)]
        return torch.allclose(values[0], values[1] + values[2], rtol=1e-4)
    except (RuntimeError, TypeError):  # shapes that cannot be added or compared
        return False


@check("elbo")
def test_elbo_is_the_sum(submission: Submission) -> None:
    """The first value is the sum of the second and the third, for each image."""
    order = order_of(submission)
    names = ("neg_elbo", "recon", "kl")
    found = ", ".join(names[order.index(place)] for place in range(3) if place in order)
    expect(
        order == (0, 1, 2) or -1 in order,
        f"`calc_elbo` returns ({found}). The order should be (neg_elbo, recon, kl).",
        "outputs_swapped",
    )
    vae = any_vae(submission)
    plug_encoder(vae, 5)
    plug_random_decoder(vae, 5, IMAGE)
    for n in (5, 1):
        x = with_posterior(1.5 * torch.randn(n, 5), 0.7 * torch.randn(n, 5))
        expect_three_values(vae, x)
        total, *both = terms(vae, x)
        if TERMS & submission.failed:
            if isinstance(total, Raised):
                continue  # A term of the wrong shape, or with an exception, cannot be added.
            if adds_up(total, *both):
                continue  # The shape of a term is wrong, and so is that of the sum.
        total = expect_one_each(total, n, "The first value, `neg_elbo`,")
        # Other tasks test these two terms.
        recon, divergence = (torch.as_tensor(term).double() for term in both)
        inputs = (recon, divergence)
        expect_close(
            total,
            recon + divergence,
            "The negative ELBO",
            inputs,
            SUM_MISTAKES,
            otherwise=functools.partial(
                expect_weights, total, recon, divergence, "the first value (neg_elbo)"
            ),
        )


@check("elbo")
def test_calls_use_new_noise(submission: Submission) -> None:
    """Calls of `calc_elbo` one after the other use new noise."""
    vae = any_vae(submission)
    vae.train()
    plug_encoder(vae, 5)
    plug_random_decoder(vae, 5, IMAGE)
    x = with_posterior(torch.randn(5, 5), torch.randn(5, 5))
    first, again = (terms(vae, x)[0] for _ in range(2))
    if isinstance(first, Raised) and TERMS & submission.failed:
        return  # Another check compares the codes of two calls.
    # If there is no noise at all, the check of the standard deviation reports it.
    both = isinstance(first, torch.Tensor) and isinstance(again, torch.Tensor)
    if not (torch.equal(first, again) if both else first == again):
        expect_new_noise(vae.calc_elbo, x, name="calc_elbo")


@check("elbo")
def test_gradient_through_the_sample(submission: Submission) -> None:
    """Gradients reach mu and logsigma through z: ∂z/∂mu is 1 and ∂z/∂logsigma is z − mu."""
    expect_gradient_through_sample(submission)


@check("elbo")
def test_gradient_through_the_kl(submission: Submission) -> None:
    """The KL in the negative ELBO has a gradient that trains the encoder."""
    expect_gradient_through_kl(submission)


# New images

SIZE = "self.latent_dim"


def sampled(submission: Submission, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sample through known parts: pixels, the decoder's output (n, 784), and codes (n, 2)."""
    vae = any_vae(submission, 2)
    weights = plug_random_decoder(vae, 2, IMAGE)
    # If an image is encoded here, its code is far from the prior.
    nothing = torch.zeros(PIXELS, 2)
    vae.set_stub(
        "encoder",
        Affine([nothing], bias=ENCODED),
        Affine([nothing], bias=-ENCODED),
        names=("x",),
    )
    vae.eval()
    x = expect_tensor(sample_images(vae, n, 2, SIZE), (n, *IMAGE), "`sample(n)`").flatten(1)
    z = vae.decoder.seen()
    z = expect_tensor(
        z.expand(n, -1) if len(z) == 1 else z, (n, 2), "The code that `sample` decodes"
    )
    return x, (z @ weights.double()).sigmoid(), z


@check("sample")
def test_sample_gives_means(submission: Submission) -> None:
    """The samples are the decoder's output for the codes: the means of the pixels."""
    x, mean, _ = sampled(submission, 50)
    expect_means(x, mean, SIGMA_X)


@check("sample")
def test_sample_keeps_the_mode(submission: Submission) -> None:
    """After a call of `sample`, the model is in the same mode as before."""
    vae = any_vae(submission, 2)
    plug_random_decoder(vae, 2, IMAGE)
    for training in (True, False):
        if training:
            vae.train()
        else:
            vae.eval()
        vae.sample(2)
        expect_mode_kept(vae, "sample", training=training)


# The line between two codes


@check("interpolate")
def test_line_is_straight(submission: Submission) -> None:
    """`interpolate` returns n evenly spaced points from z1 to z2, both included; default n = 10."""
    interpolate = submission.object("interpolate")
    for latent_dim, n in ((5, None), (16, 7), (1, 2), (3, 50)):
        a, b = torch.randn(2, latent_dim) + torch.tensor([[1.0], [3.0]])
        got = interpolate(a, b) if n is None else interpolate(a, b, n)
        call = "`interpolate(z1, z2)`" if n is None else f"`interpolate(z1, z2, {n})`"
        default, n = n is None, n or 10
        points = len(got) if isinstance(got, torch.Tensor) and got.dim() == 2 else n
        expect(
            points != n - 1,
            f"{call} returns {n - 1} points. Expected: {n} points, including both ends.",
            "end_missing",
        )
        expect(
            not default or points == n or points < 2,
            f"{call} returns {points} points. It should return 10: the default of `n` is 10.",
            "other_default",
        )
        got = expect_tensor(got, (n, latent_dim), call)
        right = line(a, b, torch.linspace(0, 1, n))
        expect_close(
            got,
            right,
            "The line",
            (a, b, n),
            LINE_MISTAKES,
            otherwise=functools.partial(expect_on_line, got, a, b),
        )


@check("interpolate")
def test_line_keeps_its_ends(submission: Submission) -> None:
    """z1 and z2 are the same after the call as before."""
    ends = {"z1": torch.randn(5), "z2": torch.randn(5)}
    expect_inputs_kept(submission, "interpolate", ends)


# The whole model. The loss is in bits per dimension at σ_x = 0.1.

PLAN_SIGMA_X = 0.1


def loss_in_bits(
    x: torch.Tensor, mean: torch.Tensor, mu: torch.Tensor, logsigma: torch.Tensor
) -> torch.Tensor:
    """Return the negative ELBO in bits per dimension, the mean over images."""
    mean = expect_like(mean, x, "the mean")
    mu, logsigma = expect_gaussians(mu, logsigma, len(x), "logsigma")
    recon = GAUSSIAN.term(EACH_IMAGE, mean, x, PLAN_SIGMA_X)
    return bits_per_dim(recon + kl_term(mu, logsigma, LOGSIGMA, EACH_IMAGE), PIXELS).mean()


def loss_through_the_code(model: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the loss of a code sampled here: it depends on the image only through the code."""
    x = dequantize(x)
    mu, logsigma = expect_values(model.encoder(x), ("mu", "logsigma"))
    mu, logsigma = expect_gaussians(mu, logsigma, len(x), "logsigma")
    return loss_in_bits(x, model.decoder(sample(mu, 2 * logsigma)), mu, logsigma)


BOUNDS = course_bounds(__name__, epochs=10, below=7.6, below_new=9.0)
SPEC = TrainingSpec(
    model="VAE",
    data="mnist",
    unit="bits per dimension",
    batch=lambda x, labels: (dequantize(x),),
    loss=lambda batch, mean, mu, logsigma, *terms: loss_in_bits(batch[0], mean, mu, logsigma),
    confirm=loss_through_the_code,
    new_images=deformed_digits,
    untrained=7.7,
    sizes=("latent_dim",),
    confirmed="With each code sampled from your model's own mu and logsigma, and decoded",
    digits=2,
    **BOUNDS,
)


FAMILIES = (
    module_checks(dequantization),
    part_checks(
        ENCODER,
        "Images (N, 1, 28, 28) become mu and logsigma, (N, Z) each, also for a batch of one.",
        detached="encoder_detached",
    ),
    convolution_checks(ENCODER),
    head_checks(ENCODER, (40,), same="same_head"),
    part_checks(
        DECODER,
        "Codes (N, Z) become images (N, 1, 28, 28), also for a batch of one.",
        detached="decoder_detached",
    ),
    convolution_checks(DECODER),
    kl_checks("kl_divergence", called_kl, LOGSIGMA, EACH_IMAGE, gradient=False),
    sampling_checks("elbo", sampler, LOGSIGMA, what=CODE, is_mu=IS_MU),
    new_image_checks(
        any_vae, IMAGE, lambda submission, n: sampled(submission, n)[2], "`sample(n)`", SIZE
    ),
    training_checks(TASKS, SPEC, loss="−ELBO", limit=" bits"),
)
