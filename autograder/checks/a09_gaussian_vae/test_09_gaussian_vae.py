"""What `09_gaussian_vae` is graded on."""

import math
from dataclasses import replace
from typing import Any

import torch

from autograder.checks.a09_gaussian_vae.calc_elbo import (
    IMAGE,
    PIXELS,
    SCALE,
    SIGMA_X,
    any_vae,
    called_kl,
    draw,
    expect_gradient_through_draw,
    expect_gradient_through_kl,
    expect_recon,
    images,
    plug_blind_decoder,
    plug_decoder,
    plug_encoder,
    terms,
    with_posterior,
)
from autograder.checks.a09_gaussian_vae.dequantization import (
    BITS_MISTAKES,
    bits_per_dim,
    dequantize,
    expect_bins,
    expect_levels_kept,
    expect_own_noise,
)
from autograder.checks.a09_gaussian_vae.gaussian_elbo import (
    SUM_MISTAKES,
    expect_means,
    gaussian_nll,
)
from autograder.checks.a09_gaussian_vae.lines import LINE_MISTAKES, line
from autograder.checks.shared.device import expect_follows_input
from autograder.checks.shared.gaussian import sample
from autograder.checks.shared.log_sigma import (
    expect_kl_averages_draws,
    expect_kl_known_numbers,
    expect_kl_values,
    expect_one_each,
    expect_posterior,
    kl,
)
from autograder.checks.shared.networks import (
    Checks,
    Part,
    head_checks,
    part_checks,
)
from autograder.checks.shared.parts import expect_inputs_kept, model_or_bare
from autograder.checks.shared.prior import ENCODED, expect_prior_codes
from autograder.checks.shared.sampling import (
    expect_centre,
    expect_fresh_noise,
    expect_gaussian,
    expect_spread,
)
from autograder.checks.training import Plan, training_checks
from autograder.checks.vocabulary import (
    CheckFailed,
    Task,
    check,
    expect,
    expect_close,
    expect_tensor,
    kind,
)
from autograder.protocol.remote import Affine, RemoteObject, Submission

PARTS = ("encoder", "decoder")
TASKS = (
    Task("dequantize", 10, "Dequantization"),
    Task("encoder", 10, "Encoder", parts=("encoder",)),
    Task("decoder", 10, "Decoder", parts=("decoder",)),
    Task("reconstruction", 15, "Gaussian log-density", parts=("calc_elbo",), uses=PARTS),
    Task("kl_divergence", 10, "KL divergence", parts=("calc_elbo",), uses=PARTS),
    Task("elbo", 15, "Draw and ELBO", parts=("calc_elbo",), uses=PARTS),
    Task("sample", 10, "New images"),
    Task("bits_per_dim", 5, "Bits per dimension"),
    Task("training", 10, "Training loss"),
    Task("interpolate", 5, "Straight line between codes"),
)

# Dequantization


def dequantized(submission: Submission, x: torch.Tensor) -> torch.Tensor:
    """Call `dequantize` and expect floats of the same shape."""
    got = submission.object("dequantize")(x)
    expect(
        not isinstance(got, torch.Tensor) or got.is_floating_point(),
        "`dequantize` gives whole numbers. Noise below 1 needs floats.",
        "no_noise",
    )
    return expect_tensor(got, x.shape, "`dequantize(x_uint8)`")


def flat(level: int) -> torch.Tensor:
    """Images of one grey level, uint8."""
    return torch.full((50, *IMAGE), level, dtype=torch.uint8)


@check("dequantize")
def test_dequantize_bins(submission: Submission) -> None:
    """Black and white are spread evenly over the first and the last of 256 bins in [0, 1]."""
    expect_bins(*(dequantized(submission, flat(level)) for level in (0, 255)))


@check("dequantize")
def test_dequantize_keeps_levels(submission: Submission) -> None:
    """Every grey level stays in its own bin, for images of any shape."""
    for shape in ((256,), (3, *IMAGE), (2, 3, 5, 4)):
        x = torch.randint(0, 256, shape, dtype=torch.uint8)
        expect_levels_kept(dequantized(submission, x), x)


@check("dequantize")
def test_dequantize_noise(submission: Submission) -> None:
    """Every pixel of every image has noise of its own, new at every call."""
    expect_own_noise(*(dequantized(submission, flat(7)) for _ in range(2)))


@check("dequantize")
def test_dequantize_device(submission: Submission) -> None:
    """New tensors are made on the device of those that come in (self-reported)."""
    expect_follows_input(submission.object("dequantize"), flat(100), name="dequantize")


@check("dequantize")
def test_dequantize_leaves_its_input(submission: Submission) -> None:
    """The images that go in stay as they are."""
    expect_inputs_kept(submission, "dequantize", {"x_uint8": flat(100)})


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
        "The decoder gives two values. It gives one image, the mean of each pixel; mean and log σ "
        "of the code are made from the output of the *encoder* (where the sheet says 'decoder', it "
        "is in error).",
        "erratum_heads_on_decoder",
    )
    shape = tuple(got.shape) if isinstance(got, torch.Tensor) else ()
    expect(
        len(shape) != 4 or shape[:2] != (len(z), 1) or shape[2:] == IMAGE[1:],
        f"`Decoder(…)(z)` gives images of {' × '.join(map(str, shape[2:]))} pixels; they should "
        "have 28 × 28. Follow the side through the layers: does each of them double it?",
        "wrong_side",
    )
    return expect_tensor(got, (len(z), *IMAGE), "`Decoder(…)(z)`")


ENCODER = Part(
    "encoder",
    lambda submission, latent_dim: new(submission, "Encoder", latent_dim),
    lambda encoder, x, latent_dim: expect_posterior(encoder(x), len(x), latent_dim),
    lambda _, n, latent_dim: images(n),
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
    """Test that a part has at least two weights of convolutions."""

    @check(
        part.task,
        f"There are at least two convolutions in the {part.task}, transposed or not.",
        name=f"{part.task}_convolves",
    )
    def convolves(submission: Submission) -> None:
        what = part.task.capitalize()
        weights = part.make(submission, *part.small).parameters().values()
        if not weights:
            raise CheckFailed(f"`{what}` has no layers yet.", todo=True)
        count = sum(p.dim() == 4 for p in weights)
        expect(
            count >= 2,
            f"`{what}` has {count} convolution{'s' * (count != 1)}; the assignment asks for at "
            "least two, and for linear layers.",
            "no_convolutions",
        )

    return (convolves,)


@check("decoder")
def test_decoder_reaches_black_and_white(submission: Submission) -> None:
    """Decoded pixels can be dark as well as bright."""
    (pixels,) = DECODER.far(submission, 1e3, 64)
    low, high = float(pixels.min()), float(pixels.max())
    # A mean may well lie outside [0, 1]: without a last activation the model is as right.
    expect(
        low < 0.45 and high > 0.55,
        f"Decoded pixels stay between {low:.2f} and {high:.2f}, however extreme the code: black or "
        "white is out of reach. What does your last activation allow?",
        "squashed_twice",
    )


# calc_elbo, with known maps in the place of encoder and decoder


@check("reconstruction")
def test_recon_value(submission: Submission) -> None:
    """With known parts, the second value is −log p(x | z), constants included, at several σ_x."""
    for n, sigma_x in ((3, SIGMA_X), (1, 0.05), (4, 2.0)):
        vae = any_vae(submission, 5, sigma_x)
        for mode in (vae.train, vae.eval):
            mode()
            expect_recon(vae, n, sigma_x)


@check("reconstruction")
def test_recon_default_sigma(submission: Submission) -> None:
    """Where nothing is said, σ_x is 0.1."""
    expect_recon(model_or_bare(submission, "VAE", 5, latent_dim=5, sigma_x=0.1), 2, 0.1)


@check("reconstruction")
def test_recon_known_number(submission: Submission) -> None:
    """Pixels exactly at their means have −log p = D (log σ_x + ½ log 2π)."""
    vae = any_vae(submission, 5, 0.1)
    plug_encoder(vae, 5)
    plug_blind_decoder(vae, 5)
    recon = expect_one_each(terms(vae, torch.full((2, *IMAGE), 0.5))[1], 2, "`recon`")
    right = torch.full((2,), PIXELS * (math.log(0.1) + 0.5 * math.log(2 * math.pi)))
    expect_close(recon, right, "−log p of a perfect reconstruction")


@check("kl_divergence")
def test_kl_closed_form(submission: Submission) -> None:
    """The third value equals the closed form at random mu and logsigma, for each image."""
    expect_kl_values(called_kl(submission))


@check("kl_divergence")
def test_kl_known_numbers(submission: Submission) -> None:
    """The KL is 0 at the prior, and 2 at mu = 2 and σ = 1."""
    expect_kl_known_numbers(called_kl(submission))


@check("kl_divergence")
def test_kl_is_an_expectation(submission: Submission) -> None:
    """The KL is the mean of log q(z) − log p(z) over draws from q, within six standard errors."""
    expect_kl_averages_draws(called_kl(submission))


# The draw. What the decoder is called with is what was drawn.


@check("elbo")
def test_spread(submission: Submission) -> None:
    """The standard deviation of z is σ = exp(logsigma), in training and in eval mode."""
    for train in (True, False):
        expect_spread(draw(submission, train=train), SCALE)


@check("elbo")
def test_centre(submission: Submission) -> None:
    """The draw z is centred on mu."""
    expect_centre(draw(submission), SCALE)


@check("elbo")
def test_noise_is_gaussian(submission: Submission) -> None:
    """The noise is Gaussian: its fourth moment is 3 σ⁴."""
    expect_gaussian(draw(submission), SCALE)


@check("elbo")
def test_one_draw_for_each_number(submission: Submission) -> None:
    """Every entry of z has noise of its own, new at every call."""
    expect_fresh_noise(draw(submission), SCALE)


@check("elbo")
def test_elbo_is_the_sum(submission: Submission) -> None:
    """The first value is the sum of the second and the third, for each image."""
    vae = any_vae(submission)
    plug_encoder(vae, 5)
    plug_decoder(vae, torch.randn(5, PIXELS))
    for n in (4, 1):
        mu, logsigma = 1.5 * torch.randn(n, 5), 0.7 * torch.randn(n, 5)
        total, *both = terms(vae, with_posterior(mu, logsigma))
        total = expect_one_each(total, n, "The first value, `neg_elbo`,")
        # Whether these two are right is for other tasks to say.
        recon, divergence = (torch.as_tensor(term).double() for term in both)
        inputs = (recon, divergence)
        expect_close(total, recon + divergence, "The negative ELBO", inputs, SUM_MISTAKES)


@check("elbo")
def test_device(submission: Submission) -> None:
    """New tensors are made on the device of those that come in (self-reported)."""
    vae = any_vae(submission)
    plug_encoder(vae, 5)
    plug_decoder(vae, torch.randn(5, PIXELS))
    x = with_posterior(torch.randn(4, 5), torch.randn(4, 5))
    expect_follows_input(vae.calc_elbo, x, name="calc_elbo")


@check("elbo")
def test_gradient_through_the_draw(submission: Submission) -> None:
    """Gradients reach mu and logsigma through z: ∂z/∂mu is 1 and ∂z/∂logsigma is z − mu."""
    expect_gradient_through_draw(submission)


@check("elbo")
def test_gradient_through_the_kl(submission: Submission) -> None:
    """The KL in the negative ELBO trains the encoder."""
    expect_gradient_through_kl(submission)


# New images


def sampled(submission: Submission, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sample through known parts: pixels, what the decoder gave (n, 784), and codes (n, 2)."""
    vae = any_vae(submission, 2)
    weights = torch.randn(2, PIXELS)
    plug_decoder(vae, weights)
    # Whoever encodes an image here finds its code far from the prior.
    nothing = torch.zeros(PIXELS, 2)
    vae.plug(
        "encoder",
        Affine([nothing], bias=ENCODED),
        Affine([nothing], bias=-ENCODED),
        names=("x",),
    )
    vae.eval()
    x = expect_tensor(vae.sample(n), (n, *IMAGE), "`sample(n)`").flatten(1)
    z = vae.decoder.seen()
    z = expect_tensor(z.expand(n, -1) if len(z) == 1 else z, (n, 2), "What `sample` decodes")
    return x, (z @ weights.double()).sigmoid(), z


@check("sample")
def test_sample_shape(submission: Submission) -> None:
    """There are n images, one alone included."""
    for n, latent_dim in ((1, 5), (7, 5), (3, 13)):
        vae = any_vae(submission, latent_dim)
        plug_decoder(vae, torch.randn(latent_dim, PIXELS))
        expect_tensor(vae.sample(n), (n, *IMAGE), "`sample(n)`")


@check("sample")
def test_sample_gives_means(submission: Submission) -> None:
    """What comes out is what the decoder makes of the codes, its means."""
    x, mean, _ = sampled(submission, 50)
    expect_means(x, mean, SIGMA_X)


@check("sample")
def test_sample_draws_from_the_prior(submission: Submission) -> None:
    """Every image has a code of its own, from N(0, I)."""
    expect_prior_codes(sampled(submission, 3000)[2])


@check("sample")
def test_sample_is_new_every_time(submission: Submission) -> None:
    """Two calls give different images."""
    # The codes: the stand-in for the decoder is another one at every call.
    first, second = (sampled(submission, 8)[2] for _ in range(2))
    expect(
        not torch.equal(first, second),
        "Two calls give the same images. Is a seed set inside?",
        "reseeded",
    )


@check("sample")
def test_sample_device(submission: Submission) -> None:
    """New tensors are made on the device of the model (self-reported)."""
    vae = any_vae(submission)
    plug_decoder(vae, torch.randn(5, PIXELS))
    expect_follows_input(vae.sample, 4, name="sample")


@check("sample")
def test_sample_carries_no_gradient(submission: Submission) -> None:
    """The samples are plain numbers: no graph hangs on them."""
    vae = any_vae(submission)
    plug_decoder(vae, torch.randn(5, PIXELS))
    got = vae.sample.trace(4)
    expect(
        isinstance(got, torch.Tensor) and not got.requires_grad,
        "The samples carry a graph for gradients, which only costs memory: compute them under "
        "`torch.no_grad()`.",
        "carries_gradient",
    )


# Bits per dimension


@check("bits_per_dim")
def test_bits_of_tensors(submission: Submission) -> None:
    """One number for each that goes in, for images of any number of dimensions."""
    for shape, pixels in (((4,), 12), ((), 3072), ((2, 3), 784)):
        nats = pixels * torch.randn(shape)
        got = submission.object("bits_per_dim")(nats, pixels)
        got = expect_tensor(got, shape, "`bits_per_dim(neg_elbo, D)`")
        right = bits_per_dim(nats.double(), pixels)
        expect_close(got, right, "The number of bits", (nats, pixels), BITS_MISTAKES)


@check("bits_per_dim")
def test_bits_of_numbers(submission: Submission) -> None:
    """A plain number does as well; a model that knows nothing has 8 bits per dimension."""
    for nats, right in ((0.0, 8.0), (-784 * math.log(2), 7.0), (3 * 784 * math.log(2), 11.0)):
        got = submission.object("bits_per_dim")(nats, 784)
        expect(
            isinstance(got, int | float) or (isinstance(got, torch.Tensor) and got.numel() == 1),
            f"`bits_per_dim` of a number should be a number, got {kind(got)}.",
        )
        expect_close(
            torch.tensor(float(got)),
            torch.tensor(right),
            f"The number of bits of {nats:.1f} nats at D = 784",
            (torch.tensor(nats), 784),
            BITS_MISTAKES,
        )


# The line between two codes


@check("interpolate")
def test_line_is_straight(submission: Submission) -> None:
    """There are n evenly spaced points from z1 to z2, ends included; n is 10 by default."""
    interpolate = submission.object("interpolate")
    for latent_dim, n in ((5, None), (16, 7), (1, 2), (3, 50)):
        a, b = torch.randn(2, latent_dim) + torch.tensor([[1.0], [3.0]])
        got = interpolate(a, b) if n is None else interpolate(a, b, n)
        n = n or 10
        expect(
            not (isinstance(got, torch.Tensor) and got.shape == (n - 1, latent_dim)),
            f"There are {n - 1} points for n = {n}: both ends count.",
            "end_missing",
        )
        got = expect_tensor(got, (n, latent_dim), f"`interpolate(z1, z2, {n})`")
        right = line(a, b, torch.linspace(0, 1, n))
        expect_close(got, right, "The line", (a, b, n), LINE_MISTAKES)


@check("interpolate")
def test_line_device(submission: Submission) -> None:
    """New tensors are made on the device of those that come in (self-reported)."""
    interpolate, ends = submission.object("interpolate"), torch.randn(2, 5)
    expect_follows_input(interpolate, *ends, 7, name="interpolate")


# The whole model. The loss is in bits per dimension at σ_x = 0.1.

PLAN_SIGMA_X = 0.1


def loss_in_bits(
    x: torch.Tensor, mean: torch.Tensor, mu: torch.Tensor, logsigma: torch.Tensor
) -> torch.Tensor:
    """The negative ELBO in bits per dimension, the mean over images."""
    if mean.shape != x.shape or mu.shape != logsigma.shape or mu.dim() != 2:
        raise CheckFailed("The encoder or the decoder gives other shapes while it trains.")
    return bits_per_dim(gaussian_nll(x, mean, PLAN_SIGMA_X) + kl(mu, logsigma), PIXELS).mean()


def loss_through_the_code(model: Any, x: torch.Tensor) -> torch.Tensor:
    """The loss where the code is drawn here: nothing of the image can pass beside it."""
    x = dequantize(x)
    mu, logsigma = model.encoder(x)
    return loss_in_bits(x, model.decoder(sample(mu, 2 * logsigma)), mu, logsigma)


PLAN = Plan(
    model="VAE",
    data="mnist",
    epochs=10,
    below=7.6,
    unit="bits per dimension",
    batch=lambda x, labels: (dequantize(x),),
    loss=lambda batch, mean, mu, logsigma, *terms: loss_in_bits(batch[0], mean, mu, logsigma),
    confirm=loss_through_the_code,
    sizes=("latent_dim",),
    confirmed="With each code drawn from your model's own mu and logsigma, and decoded",
    digits=2,
)


FAMILIES = (
    part_checks(
        ENCODER,
        "Images (N, 1, 28, 28) become mu and logsigma, (N, Z) each, one image alone included.",
        detached="encoder_detached",
    ),
    convolution_checks(ENCODER),
    head_checks(ENCODER, (16,), same="same_head"),
    part_checks(
        DECODER,
        "Codes (N, Z) become images (N, 1, 28, 28), one code alone included.",
        detached="decoder_detached",
    ),
    convolution_checks(DECODER),
    training_checks(TASKS, PLAN, loss="−ELBO", limit=" bits"),
)
