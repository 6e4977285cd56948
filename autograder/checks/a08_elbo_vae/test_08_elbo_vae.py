"""What `08_elbo_vae` is graded on."""

from dataclasses import replace
from typing import Any

import torch

from autograder.checks.a08_elbo_vae.bernoulli_decoder import (
    expect_fair_coins,
    expect_not_tossed,
    expect_probabilities,
)
from autograder.checks.a08_elbo_vae.bernoulli_elbo import ELBO_MISTAKES, known_parts
from autograder.checks.a08_elbo_vae.given_layers import expect_given_layers
from autograder.checks.shared.device import expect_follows_input
from autograder.checks.shared.gaussian import negative_elbo, sample
from autograder.checks.shared.log_sigma import (
    Kl,
    expect_kl_averages_draws,
    expect_kl_gradient,
    expect_kl_known_numbers,
    expect_kl_values,
    expect_one_each,
    expect_posterior,
)
from autograder.checks.shared.networks import (
    Part,
    head_checks,
    nonlinearity_checks,
    part_checks,
)
from autograder.checks.shared.prior import ENCODED, expect_prior_codes
from autograder.checks.shared.sampling import (
    LOG_SIGMA,
    Draw,
    expect_centre,
    expect_fresh_noise,
    expect_gaussian,
    expect_new_draws,
    expect_pathwise_gradients,
    expect_spread,
)
from autograder.checks.training import Plan, training_checks
from autograder.checks.vocabulary import (
    ImportRule,
    Task,
    check,
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
    Task("sample_with_reparam", 10, "Reparameterized draw", parts=("sample_with_reparam",)),
    Task("decoder", 10, "Decoder", parts=("decoder",)),
    Task("kl_divergence", 5, "KL divergence", parts=("kl_divergence",)),
    Task("elbo", 15, "ELBO", parts=("elbo",), uses=PARTS),
    Task("sample", 10, "New images"),
)

IMPORTS = ImportRule(further=False, forbidden=("torch.distributions",))

# Sizes that nobody would write into a class by hand.
OBS, LATENTS, HIDDEN = 30, 5, 24


def new_vae(submission: Submission, latent_dim: int = LATENTS) -> RemoteObject:
    """Make a small model in eval mode."""
    vae = submission.new("VAE", OBS, latent_dim, HIDDEN)
    vae.eval()
    return vae


def any_vae(submission: Submission, latent_dim: int = LATENTS) -> RemoteObject:
    """Make a model for its methods alone: one whose `__init__` fails will do."""
    try:
        return new_vae(submission, latent_dim)
    except Raised:
        return submission.bare("VAE", latent_dim=latent_dim)


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
    """With the layers that are given, mu and logsigma are what they should be."""
    vae = new_vae(submission)
    x = torch.randn(6, OBS)
    expect_given_layers(vae, x, torch.stack(encode(vae, x)), HIDDEN)


# The draw


def draw(submission: Submission) -> Draw:
    """The submission's `sample_with_reparam`, as a function of mu and logsigma."""
    return any_vae(submission).sample_with_reparam


@check("sample_with_reparam")
def test_spread(submission: Submission) -> None:
    """The standard deviation of z is σ = exp(logsigma), in training and in eval mode."""
    vae = any_vae(submission)
    for mode in (vae.train, vae.eval):
        mode()
        expect_spread(vae.sample_with_reparam, LOG_SIGMA)


@check("sample_with_reparam")
def test_centre(submission: Submission) -> None:
    """The draw z is centred on mu."""
    expect_centre(draw(submission), LOG_SIGMA)


@check("sample_with_reparam")
def test_noise_is_gaussian(submission: Submission) -> None:
    """The noise is Gaussian: its fourth moment is 3 σ⁴."""
    expect_gaussian(draw(submission), LOG_SIGMA)


@check("sample_with_reparam")
def test_one_draw_for_each_number(submission: Submission) -> None:
    """Every entry of z has noise of its own, new at every call."""
    expect_fresh_noise(draw(submission), LOG_SIGMA)


@check("sample_with_reparam")
def test_gradients_pass(submission: Submission) -> None:
    """Gradients reach mu and logsigma: ∂z/∂mu is 1 and ∂z/∂logsigma is z − mu."""
    expect_pathwise_gradients(draw(submission), LOG_SIGMA)


@check("sample_with_reparam")
def test_device(submission: Submission) -> None:
    """New tensors are made on the device of those that come in (self-reported)."""
    given = torch.randn(3, 5), torch.randn(3, 5)
    draw = any_vae(submission).sample_with_reparam
    expect_follows_input(draw, *given, name="sample_with_reparam")


# Decoder


@check("decoder")
def test_decoder_range(submission: Submission) -> None:
    """Decoded pixels are probabilities, and can be low as well as high."""
    expect_probabilities(DECODER.far(submission, 1e3, 256)[0])


@check("decoder")
def test_decoder_gives_probabilities(submission: Submission) -> None:
    """The same code always gives the same probabilities, not tossed or rounded pixels."""
    vae = new_vae(submission)
    z = torch.randn(6, LATENTS)
    theta = expect_tensor(vae.decoder(z), (6, OBS), "`decoder(z)`")
    expect_not_tossed(theta)
    expect_close(vae.decoder(z), theta, "The decoder's answer to the same code, asked again,")


# KL


def called_kl(submission: Submission) -> Kl:
    """The submission's `kl_divergence`, which gives one number for each row."""

    def called(mu: torch.Tensor, logsigma: torch.Tensor) -> torch.Tensor:
        vae = any_vae(submission, mu.shape[1])
        return expect_one_each(vae.kl_divergence(mu, logsigma), len(mu), "`kl_divergence(…)`")

    return called


@check("kl_divergence")
def test_kl_closed_form(submission: Submission) -> None:
    """One number for each row, equal to the closed form at random mu and logsigma."""
    expect_kl_values(called_kl(submission))


@check("kl_divergence")
def test_kl_known_numbers(submission: Submission) -> None:
    """The KL is 0 at the prior, and 2 at mu = 2 and σ = 1."""
    expect_kl_known_numbers(called_kl(submission))


@check("kl_divergence")
def test_kl_is_an_expectation(submission: Submission) -> None:
    """The KL is the mean of log q(z) − log p(z) over draws from q, within six standard errors."""
    expect_kl_averages_draws(called_kl(submission))


@check("kl_divergence")
def test_kl_gradient(submission: Submission) -> None:
    """The KL trains the encoder: its gradient by mu is mu."""
    expect_kl_gradient(called_kl(submission))


# ELBO


def elbo(vae: RemoteObject, x: torch.Tensor) -> Any:
    """Call `elbo` on a model made of known parts."""
    try:
        return vae.elbo(x)
    except Raised:
        seen = vae.decoder.seen()
        expect(
            seen.dim() != 2 or seen.shape[1] != OBS,
            "`elbo` decodes the image itself. The decoder never sees x, only a code: g_λ(z) (where "
            "the sheet has g_λ(x), it is in error).",
            "erratum_decodes_x",
        )
        raise


@check("elbo")
def test_elbo_value(submission: Submission) -> None:
    """With known parts in place, log-likelihood minus KL, one number for each image.

    Two calls must draw twice, too.
    """
    vae = any_vae(submission)
    parts = known_parts(vae, OBS, LATENTS)
    for n, mode in ((5, vae.train), (5, vae.eval), (1, vae.eval)):
        mode()
        # Greys: swapped arguments and rounding then give other numbers.
        x = 0.05 + 0.9 * torch.rand(n, OBS)
        got = expect_one_each(elbo(vae, x), n, "`elbo(x)`")
        expect_close(got, parts.elbo(x), "The ELBO", (parts, x), ELBO_MISTAKES)
    names = ("mu", "logsigma")
    expect_new_draws(
        vae, "sample_with_reparam", names, LATENTS, lambda: torch.as_tensor(vae.elbo(x))
    )


@check("elbo")
def test_elbo_of_black_and_white(submission: Submission) -> None:
    """The same holds for black and white pixels."""
    vae = any_vae(submission)
    parts = known_parts(vae, OBS, LATENTS)
    x = torch.rand(3, OBS).round()
    got = expect_one_each(elbo(vae, x), 3, "`elbo(x)`")
    expect_close(got, parts.elbo(x), "The ELBO", (parts, x), ELBO_MISTAKES)


@check("elbo")
def test_elbo_gradient(submission: Submission) -> None:
    """Gradients pass through both terms of the ELBO."""
    vae = any_vae(submission)
    parts = known_parts(vae, OBS, LATENTS)
    x = (0.05 + 0.9 * torch.rand(4, OBS)).requires_grad_()
    (got,) = expect_grad(elbo(vae, x), {"x": x}, "the ELBO", "elbo_detached")
    parts.expect_gradient(got, x)


def loss_through_the_code(model: Any, x: torch.Tensor) -> torch.Tensor:
    """The loss where the code is drawn here: nothing of the image can pass beside it."""
    x = x.flatten(1)
    mu, logsigma = model.encoder(x)
    return negative_elbo(model.decoder(sample(mu, 2 * logsigma)), x, mu, 2 * logsigma)


PLAN = Plan(
    model="VAE",
    data="mnist",
    epochs=5,
    below=125.0,
    unit="nats per image",
    batch=lambda x, labels: (x.flatten(1),),
    loss=lambda batch, theta, mu, logsigma: negative_elbo(theta, batch[0], mu, 2 * logsigma),
    confirm=loss_through_the_code,
    sizes=("obs_dim", "latent_dim", "hidden_dim"),
    task="elbo",
    below_full=112.0,
    headline=110.0,
)


# New images. The stand-in for the decoder makes pixels 0 and 1 fair coins, whatever the code;
# pixel 2 is white where the first latent is positive, and pixel 3 where the second is.

DRAWS = 10_000
STEEP = 1e4


def drawn(submission: Submission, n: int = DRAWS) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample images through known parts: pixels (n, 4) and codes (n, 2)."""
    vae = any_vae(submission, 2)
    weights = torch.zeros(2, 4)
    weights[0, 2] = weights[1, 3] = STEEP
    vae.plug("decoder", Affine([weights]), squash=True, names=("z",))
    nothing = torch.zeros(OBS, 2)
    vae.plug("encoder", Affine([nothing], bias=ENCODED), Affine([nothing], bias=-ENCODED))
    # Noise around mu, whatever logsigma says: right at the prior, where `sample` may use it.
    by_mu_alone = Affine([torch.eye(2), torch.zeros(2, 2)])
    vae.plug("sample_with_reparam", by_mu_alone, noise=True, names=("mu", "logsigma"))
    vae.eval()
    x = expect_tensor(vae.sample(n), (n, 4), "`sample(num_samples)`")
    expect(
        bool(((x == 0) | (x == 1)).all()),
        "`sample` gives probabilities. The last step is still missing: each pixel is to be 0 or 1.",
        "returns_probabilities",
    )
    z = vae.decoder.seen()
    z = z.expand(n, -1) if len(z) == 1 else z
    return x, expect_tensor(z, (n, 2), "What `sample` decodes")


@check("sample")
def test_sample_shape(submission: Submission) -> None:
    """There are num_samples rows of pixels, one alone included."""
    for n, latent_dim in ((1, 5), (7, 5), (3, 13)):
        vae = new_vae(submission, latent_dim)
        decoder = torch.randn(latent_dim, OBS)
        vae.plug("decoder", Affine([decoder]), squash=True, names=("z",))
        expect_tensor(vae.sample(n), (n, OBS), "`sample(num_samples)`")


@check("sample")
def test_sample_is_black_and_white(submission: Submission) -> None:
    """Every pixel is 0 or 1, and where white is as likely as black, both come up."""
    expect_fair_coins(drawn(submission)[0][:, :2])


@check("sample")
def test_sample_draws_from_the_prior(submission: Submission) -> None:
    """Every image has a code of its own, from N(0, I)."""
    expect_prior_codes(drawn(submission)[1])


@check("sample")
def test_sample_decodes_its_codes(submission: Submission) -> None:
    """Each image is painted from the code that was drawn for it."""
    x, z = drawn(submission)
    sure = z.abs() > 0.01
    expect(
        bool((x[:, 2:][sure] == (z > 0)[sure]).all()),
        "Pixels that the decoder is sure of come out in the other colour, or in another image.",
    )


@check("sample")
def test_sample_is_new_every_time(submission: Submission) -> None:
    """Two calls give different images."""
    first, second = (drawn(submission, 100)[0] for _ in range(2))
    expect(
        not torch.equal(first, second),
        "Two calls give the same images. Is a seed set inside?",
        "reseeded",
    )


@check("sample")
def test_sample_device(submission: Submission) -> None:
    """New tensors are made on the device of the model (self-reported)."""
    vae = any_vae(submission)
    vae.plug("decoder", Affine([torch.randn(LATENTS, OBS)]), squash=True, names=("z",))
    expect_follows_input(vae.sample, 4, name="sample")


@check("sample")
def test_sample_carries_no_gradient(submission: Submission) -> None:
    """The samples are plain numbers: no graph hangs on them."""
    vae = any_vae(submission)
    vae.plug("decoder", Affine([torch.randn(LATENTS, OBS)]), squash=True, names=("z",))
    got = vae.sample.trace(4)
    expect(
        isinstance(got, torch.Tensor) and not got.requires_grad,
        "The samples carry a graph for gradients, which only costs memory: compute them under "
        "`torch.no_grad()`.",
        "carries_gradient",
    )


FAMILIES = (
    part_checks(
        ENCODER,
        "Rows (N, D) become mu and logsigma, (N, L) each, one row alone included.",
        detached="encoder_detached",
    ),
    head_checks(ENCODER, (16,), same="same_head"),
    nonlinearity_checks(ENCODER, 5),
    part_checks(
        DECODER,
        "Codes (N, L) become rows of pixels (N, D), one code alone included.",
        detached="decoder_detached",
    ),
    nonlinearity_checks(DECODER, 3, lambda theta: theta.logit(1e-6), 1e-3),
    training_checks(TASKS, PLAN, name="elbo_threshold", loss="−ELBO", limit=" nats"),
)
