"""What `08_elbo_vae` is graded on."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from autograder.checking import (
    CheckFailed,
    Mistake,
    Task,
    check,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
    kind,
)
from autograder.checks.gaussian import negative_elbo, sample
from autograder.checks.sampling import (
    LOG_SIGMA,
    STANDARD_ERRORS,
    Draw,
    expect_centre,
    expect_fresh_noise,
    expect_gaussian,
    expect_pathwise_gradients,
    expect_spread,
)
from autograder.submission import Affine, Raised, RemoteObject, Submission
from autograder.training import Plan, expect_trained

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

# Sizes that nobody would write into a class by hand.
OBS, LATENTS, HIDDEN = 30, 5, 24


def new_vae(submission: Submission, latent_dim: int = LATENTS) -> RemoteObject:
    """Make a small model."""
    return submission.new("VAE", OBS, latent_dim, HIDDEN)


def any_vae(submission: Submission, latent_dim: int = LATENTS) -> RemoteObject:
    """Make a model for its methods alone: one whose `__init__` fails will do."""
    try:
        return new_vae(submission, latent_dim)
    except Raised:
        return submission.bare("VAE", latent_dim=latent_dim)


def posterior(n: int, latent_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make means and log σ of both signs, (n, latent_dim) each."""
    return 1.5 * torch.randn(n, latent_dim), 0.7 * torch.randn(n, latent_dim)


def expect_one_each(got: Any, n: int, what: str) -> torch.Tensor:
    """Expect one number for each image, (n,)."""
    if isinstance(got, float) or (isinstance(got, torch.Tensor) and got.dim() == 0):
        raise CheckFailed(
            f"{what} is one number for the whole batch. It should be one for each image, "
            f"({n},): training takes their mean later.",
            "batch_reduced",
        )
    if isinstance(got, torch.Tensor) and got.dim() == 2 and got.shape[0] == n:
        raise CheckFailed(
            f"{what} has {got.shape[1]} numbers for each image: what belongs to one image is to "
            "be summed up.",
            "not_summed",
        )
    return expect_tensor(got, (n,), what)


# Encoder


def encode(vae: RemoteObject, x: torch.Tensor, latent_dim: int = LATENTS) -> list[torch.Tensor]:
    """Call `encoder` and expect mu and logsigma, (N, L) each."""
    got = vae.encoder(x)
    expect(
        isinstance(got, tuple) and len(got) == 2,
        f"`encoder` should return the two values (mu, logsigma), got {kind(got)}.",
    )
    names = ("`mu`", "`logsigma`")
    return [
        expect_tensor(t, (len(x), latent_dim), name) for t, name in zip(got, names, strict=True)
    ]


@check("encoder")
def test_encoder_shapes(submission: Submission) -> None:
    """Rows (N, D) go to mu and logsigma, (N, L) each, one row alone included."""
    for n, latent_dim in ((1, 5), (7, 5), (4, 13)):
        vae = new_vae(submission, latent_dim)
        vae.eval()
        encode(vae, torch.rand(n, OBS), latent_dim)


ENCODER_MISTAKES = (
    Mistake(
        "outputs_swapped",
        "mu and logsigma have changed places: `linear21` gives mu, `linear22` gives logsigma, and "
        "mu is returned first.",
        lambda mu, logsigma, plain: torch.stack([logsigma, mu]),
    ),
    Mistake(
        "sigma_for_log_sigma",
        "The second value is exp(logsigma), which is σ. `encoder` returns its logarithm.",
        lambda mu, logsigma, plain: torch.stack([mu, logsigma.exp()]),
    ),
    Mistake(
        "sigma_for_log_sigma",
        "The second value is exp(2 logsigma), which is σ². `encoder` returns log σ.",
        lambda mu, logsigma, plain: torch.stack([mu, (2 * logsigma).exp()]),
    ),
    Mistake(
        "log_variance",
        "The second value is twice what it should be: log σ², not log σ.",
        lambda mu, logsigma, plain: torch.stack([mu, 2 * logsigma]),
    ),
    Mistake(
        "same_head",
        "mu and logsigma come from the same layer: each has its own.",
        lambda mu, logsigma, plain: torch.stack([mu, mu]),
    ),
    Mistake(
        "no_activation",
        "There is no ReLU between the encoder's layers: without it, two linear layers are one.",
        lambda mu, logsigma, plain: plain,
    ),
)


@check("encoder")
def test_encoder_uses_the_given_layers(submission: Submission) -> None:
    """With the layers that are given, mu and logsigma are what they should be."""
    vae = new_vae(submission)
    vae.eval()
    x = torch.randn(6, OBS)
    got = torch.stack(encode(vae, x))
    weights = {name: p.double() for name, p in vae.parameters().items()}
    shapes = {
        "linear1": (HIDDEN, OBS),
        "linear21": (LATENTS, HIDDEN),
        "linear22": (LATENTS, HIDDEN),
    }
    for name, shape in shapes.items():
        there = weights.get(f"{name}.weight"), weights.get(f"{name}.bias")
        # Other layers are as good; what they compute is for the other checks to see.
        if there[0] is None or there[1] is None or tuple(there[0].shape) != shape:
            return

    def linear(name: str, rows: torch.Tensor) -> torch.Tensor:
        return F.linear(rows, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def heads(hidden: torch.Tensor) -> torch.Tensor:
        return torch.stack([linear("linear21", hidden), linear("linear22", hidden)])

    before = linear("linear1", x.double())
    right = heads(before.relu())
    # What is none of the known mistakes may be right in its own way: another activation, say.
    for mistake in ENCODER_MISTAKES:
        wrong = mistake.formula(*right, heads(before))
        expect(not torch.allclose(got, wrong, atol=1e-4), mistake.says, mistake.name)


@check("encoder")
def test_heads_reach_both_signs(submission: Submission) -> None:
    """Both mu and logsigma can be negative as well as positive, and differ."""
    vae = new_vae(submission, 16)
    mu, logsigma = encode(vae, 20 * torch.randn(256, OBS), 16)
    for name, out in (("mu", mu), ("logsigma", logsigma)):
        expect(
            bool((out < 0).any() and (out > 0).any()),
            f"`{name}` only ever has one sign: a mean and a logarithm may have any. Is there an "
            "activation, or an exponential, after the last layer?",
            "activation_on_head",
        )
    expect(
        not torch.equal(mu, logsigma),
        "mu and logsigma come from the same layer: each has its own.",
        "same_head",
    )


@check("encoder")
def test_encoder_is_not_linear(submission: Submission) -> None:
    """An activation stands between the encoder's layers."""
    vae = new_vae(submission)
    vae.eval()
    a, b = 5 * torch.randn(2, 20, OBS)
    middle, left, right = (torch.cat(encode(vae, x)) for x in ((a + b) / 2, a, b))
    expect(
        not torch.allclose(middle, (left + right) / 2, atol=1e-4),
        "There is no ReLU between the encoder's layers: without it, two linear layers are one.",
        "no_activation",
    )


@check("encoder")
def test_encoder_sees_the_image(submission: Submission) -> None:
    """Each row depends on its own image alone, is always the same, and carries gradients."""
    vae = new_vae(submission)
    vae.eval()
    x = torch.rand(6, OBS)
    both = torch.stack(encode(vae, x), dim=1)
    expect(float(both[:, 0].std(0).max()) > 1e-6, "Every image gets the same `mu`: is `x` used?")
    alone = torch.stack(encode(vae, x[2:3]), dim=1)
    expect_close(alone, both[2:3], "What the encoder says of an image alone, and in a batch,")
    x.requires_grad_()
    for number, name in enumerate(("mu", "logsigma")):
        expect_grad(encode(vae, x)[number], {"x": x}, f"`{name}`", "encoder_detached")


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


# Decoder


@check("decoder")
def test_decoder_shape(submission: Submission) -> None:
    """Codes (N, L) become rows of pixels (N, D), one code alone included."""
    for n, latent_dim in ((1, 5), (7, 5), (4, 13)):
        vae = new_vae(submission, latent_dim)
        vae.eval()
        expect_tensor(vae.decoder(torch.randn(n, latent_dim)), (n, OBS), "`decoder(z)`")


@check("decoder")
def test_decoder_range(submission: Submission) -> None:
    """Decoded pixels are probabilities, and can be low as well as high."""
    vae = new_vae(submission)
    theta = expect_tensor(vae.decoder(1e3 * torch.randn(256, LATENTS)), (256, OBS), "`decoder(z)`")
    low, high = float(theta.min()), float(theta.max())
    shown = f"Decoded pixels run from {low:.3g} to {high:.3g}"
    expect(
        not (low == 0 and high > 1),
        f"{shown}: nothing is negative, but much is above 1. A ReLU does not make probabilities.",
        "relu_for_sigmoid",
    )
    expect(
        low >= 0 and high <= 1,
        f"{shown}; a probability lies between 0 and 1. What does your last step allow?",
        "no_sigmoid",
    )
    known = "Is the sigmoid applied once, and last?"
    expect(
        low < 0.45 or high < 0.9,
        f"{shown}: black is out of reach, as it is when a ReLU comes before the sigmoid.",
        "relu_before_sigmoid",
    )
    expect(
        low < 0.45 and high > 0.55, f"{shown}, however extreme the code. {known}", "squashed_twice"
    )


@check("decoder")
def test_decoder_gives_probabilities(submission: Submission) -> None:
    """The same code always gives the same probabilities, not tossed or rounded pixels."""
    vae = new_vae(submission)
    vae.eval()
    z = torch.randn(6, LATENTS)
    theta = expect_tensor(vae.decoder(z), (6, OBS), "`decoder(z)`")
    expect(
        not bool(((theta == 0) | (theta == 1)).all()),
        "`decoder` gives black and white pixels. It should give the probability of white; the "
        "coins are tossed in `sample`.",
        "decoder_draws_pixels",
    )
    expect_close(vae.decoder(z), theta, "The decoder's answer to the same code, asked again,")


@check("decoder")
def test_decoder_is_not_linear(submission: Submission) -> None:
    """An activation stands between the decoder's layers."""
    vae = new_vae(submission)
    vae.eval()
    a, b = 3 * torch.randn(2, 20, LATENTS)
    middle, left, right = (
        expect_tensor(vae.decoder(z), (20, OBS), "`decoder(z)`").logit(1e-6)
        for z in ((a + b) / 2, a, b)
    )
    expect(
        not torch.allclose(middle, (left + right) / 2, atol=1e-3),
        "There is no ReLU between the decoder's layers: without it, two linear layers are one.",
        "no_activation",
    )


@check("decoder")
def test_decoder_uses_the_code(submission: Submission) -> None:
    """Each row depends on its own code alone, and carries gradients."""
    vae = new_vae(submission)
    vae.eval()
    z = torch.randn(6, LATENTS)
    theta = expect_tensor(vae.decoder(z), (6, OBS), "`decoder(z)`")
    expect(float(theta.std(0).max()) > 1e-6, "Every code gives the same pixels: is `z` used?")
    alone = expect_tensor(vae.decoder(z[2:3]), (1, OBS), "`decoder(z)`")
    expect_close(alone, theta[2:3], "A code decoded alone, and in a batch,")
    z.requires_grad_()
    expect_grad(vae.decoder(z), {"z": z}, "the decoded pixels", "decoder_detached")


# KL


def kl(mu: torch.Tensor, logsigma: torch.Tensor) -> torch.Tensor:
    """KL(N(mu, σ²) ‖ N(0, I)) of each row, (N,) (Kingma & Welling 2014, appendix B)."""
    return (0.5 * (mu**2 + (2 * logsigma).exp() - 1) - logsigma).sum(1)


def called_kl(vae: RemoteObject, mu: torch.Tensor, logsigma: torch.Tensor) -> torch.Tensor:
    """Call `kl_divergence` and expect one number for each row."""
    return expect_one_each(vae.kl_divergence(mu, logsigma), len(mu), "`kl_divergence(…)`")


KL_MISTAKES = (
    Mistake(
        "kl_without_half",
        "Your KL is twice what it should be: a factor of ½ is missing.",
        lambda mu, s: 2 * kl(mu, s),
    ),
    Mistake(
        "kl_without_half",
        "A factor of ½ is missing in your KL.",
        lambda mu, s: (mu**2 + (2 * s).exp() - 1 - s).sum(1),
    ),
    Mistake(
        "log_sigma_read_as_logvar",
        "Your KL is what you get when logsigma is read as log σ². Here it is log σ.",
        lambda mu, s: kl(mu, s / 2),
    ),
    Mistake(
        "log_sigma_halved",
        "Your KL takes half of logsigma where it takes all of it: ½ log σ² is log σ.",
        lambda mu, s: (0.5 * (mu**2 + (2 * s).exp() - 1 - s)).sum(1),
    ),
    Mistake(
        "sigma_for_variance",
        "Your KL holds σ where σ² belongs.",
        lambda mu, s: (0.5 * (mu**2 + s.exp() - 1) - s).sum(1),
    ),
    Mistake(
        "exp_missing",
        "Your KL uses logsigma where σ is due: it is a logarithm.",
        lambda mu, s: (0.5 * (mu**2 + s**2 - 1) - s).sum(1),
    ),
    Mistake(
        "kl_mean_over_latents",
        "Your KL averages over the latent dimensions. Dimensions add up.",
        lambda mu, s: kl(mu, s) / mu.shape[1],
    ),
    Mistake(
        "kl_sign",
        "Your KL has the wrong sign: it is 0 at N(0, I) and positive everywhere else.",
        lambda mu, s: -kl(mu, s),
    ),
    Mistake(
        "kl_mu_not_squared",
        "The means enter your KL without their square.",
        lambda mu, s: (0.5 * (mu + (2 * s).exp() - 1) - s).sum(1),
    ),
    Mistake(
        "kl_without_one",
        "A constant is missing: your KL is not 0 at N(0, I).",
        lambda mu, s: kl(mu, s) + 0.5 * mu.shape[1],
    ),
    Mistake(
        "kl_only_entropy",
        "Your KL has no prior in it: only the posterior's own entropy is there.",
        lambda mu, s: -s.sum(1),
    ),
)


@check("kl_divergence")
def test_kl_closed_form(submission: Submission) -> None:
    """One number for each row, equal to the closed form at random mu and logsigma."""
    for n in (3, 1):
        mu, logsigma = posterior(n, 4)
        got = called_kl(any_vae(submission, 4), mu, logsigma)
        expect_close(got, kl(mu, logsigma), "The KL", (mu, logsigma), KL_MISTAKES)


@check("kl_divergence")
def test_kl_known_numbers(submission: Submission) -> None:
    """The KL is 0 at the prior, and 2 at mu = 2 and σ = 1."""
    vae = any_vae(submission, 1)
    got = called_kl(vae, torch.tensor([[0.0], [2.0]]), torch.zeros(2, 1))
    expect_close(got, torch.tensor([0.0, 2.0]), "The KL at mu = 0 and at mu = 2, with σ = 1,")


@check("kl_divergence")
def test_kl_is_an_expectation(submission: Submission) -> None:
    """The KL is the mean of log q(z) − log p(z) over draws from q, within six standard errors."""
    mu, logsigma = posterior(1, 3)
    q = torch.distributions.Normal(mu, logsigma.exp())
    prior = torch.distributions.Normal(0.0, 1.0)
    z = q.sample((200_000,))
    ratios = (q.log_prob(z) - prior.log_prob(z)).sum(-1)[:, 0]
    got = float(called_kl(any_vae(submission, 3), mu, logsigma))
    error = float(ratios.std()) / math.sqrt(len(ratios))
    expect(
        abs(got - float(ratios.mean())) <= STANDARD_ERRORS * error + 1e-4,
        f"Averaged over draws, log q(z) − log p(z) is {float(ratios.mean()):.3f}; your KL says "
        f"{got:.3f}.",
    )


@check("kl_divergence")
def test_kl_gradient(submission: Submission) -> None:
    """The KL trains the encoder: its gradient by mu is mu."""
    mu, logsigma = (t.requires_grad_() for t in posterior(3, 5))
    value = called_kl(any_vae(submission), mu, logsigma)
    inputs = {"mu": mu, "logsigma": logsigma}
    by_mu, by_logsigma = expect_grad(value, inputs, "the KL", "kl_detached")
    expect_close(by_mu, mu.detach(), "The gradient of the KL by mu")
    right = ((2 * logsigma).exp() - 1).detach()
    expect_close(by_logsigma, right, "The gradient of the KL by logsigma")


# Known parts stand in for the submission's own, so that only what joins them is judged. They say
# nothing of how the parts are made.


# ELBO


@dataclass(frozen=True)
class KnownParts:
    """What the stand-ins compute."""

    mu: torch.Tensor
    logsigma: torch.Tensor
    by_mu: torch.Tensor
    by_logsigma: torch.Tensor
    decoder: torch.Tensor
    kl_mu: torch.Tensor
    kl_logsigma: torch.Tensor

    def theta(self, x: torch.Tensor, swapped: bool = False, mean: bool = False) -> torch.Tensor:
        """Probabilities of the pixels, (N, D)."""
        mu, logsigma = x @ self.mu, x @ self.logsigma
        if swapped:
            mu, logsigma = logsigma, mu
        z = mu if mean else mu @ self.by_mu + logsigma @ self.by_logsigma
        return (z @ self.decoder).sigmoid()

    def likelihood(self, x: torch.Tensor, **how: bool) -> torch.Tensor:
        """Compute log p(x | z) of each image, (N,)."""
        return -F.binary_cross_entropy(self.theta(x, **how), x, reduction="none").sum(1)

    def kl(self, x: torch.Tensor, swapped: bool = False) -> torch.Tensor:
        """What stands in for the KL of each image, (N,)."""
        mu, logsigma = x @ self.mu, x @ self.logsigma
        if swapped:
            mu, logsigma = logsigma, mu
        return mu @ self.kl_mu + logsigma @ self.kl_logsigma

    def elbo(self, x: torch.Tensor) -> torch.Tensor:
        """The ELBO of each image, (N,)."""
        return self.likelihood(x) - self.kl(x)


def known_parts(vae: RemoteObject) -> KnownParts:
    """Put known maps in the place of a model's four parts."""
    parts = KnownParts(
        mu=torch.randn(OBS, LATENTS) / OBS**0.5,
        logsigma=torch.randn(OBS, LATENTS) / OBS**0.5,
        by_mu=torch.randn(LATENTS, LATENTS) / LATENTS**0.5,
        by_logsigma=torch.randn(LATENTS, LATENTS) / LATENTS**0.5,
        decoder=torch.randn(LATENTS, OBS),
        # As large as the other term, so that neither hides the other.
        kl_mu=8 * torch.rand(LATENTS),
        kl_logsigma=8 * torch.rand(LATENTS),
    )
    vae.plug("encoder", Affine([parts.mu]), Affine([parts.logsigma]))
    vae.plug("sample_with_reparam", Affine([parts.by_mu, parts.by_logsigma]))
    vae.plug("decoder", Affine([parts.decoder]), squash=True)
    vae.plug("kl_divergence", Affine([parts.kl_mu, parts.kl_logsigma]))
    return parts


SUMMED = "Sum over the pixels; images stay apart."
ELBO_MISTAKES = (
    Mistake(
        "elbo_sign",
        "You return the negative ELBO. A bound on a log-likelihood is large where the model is "
        "good; training turns the sign.",
        lambda p, x: -p.elbo(x),
    ),
    Mistake(
        "kl_added",
        "Your ELBO adds the KL. The code has to be paid for: the KL is taken away.",
        lambda p, x: p.likelihood(x) + p.kl(x),
    ),
    Mistake(
        "recon_sign",
        "Your first term has the wrong sign: cross-entropy is the negative log-likelihood.",
        lambda p, x: -p.likelihood(x) - p.kl(x),
    ),
    Mistake(
        "recon_mean_over_pixels",
        f"Your likelihood averages over pixels, while the KL sums over latents. {SUMMED}",
        lambda p, x: p.likelihood(x) / x.shape[1] - p.kl(x),
    ),
    Mistake(
        "recon_over_the_batch",
        f"Your likelihood mixes the images of the batch. {SUMMED}",
        lambda p, x: p.likelihood(x).sum() - p.kl(x),
    ),
    Mistake(
        "recon_over_the_batch",
        f"Your likelihood mixes the images of the batch. {SUMMED}",
        lambda p, x: p.likelihood(x).mean() - p.kl(x),
    ),
    Mistake(
        "recon_over_the_batch",
        f"Your likelihood mixes the images of the batch. {SUMMED}",
        lambda p, x: p.likelihood(x).mean() / x.shape[1] - p.kl(x),
    ),
    Mistake(
        "kl_over_the_batch",
        "Your KL mixes the images of the batch: each image has its own.",
        lambda p, x: p.likelihood(x) - p.kl(x).mean(),
    ),
    Mistake("kl_dropped", "The KL is not in your ELBO.", lambda p, x: p.likelihood(x)),
    Mistake("recon_dropped", "The likelihood is not in your ELBO.", lambda p, x: -p.kl(x)),
    Mistake(
        "decodes_mu",
        "`elbo` decodes mu itself: draw z with `self.sample_with_reparam` first, in eval mode too.",
        lambda p, x: p.likelihood(x, mean=True) - p.kl(x),
    ),
    Mistake(
        "arguments_swapped",
        "`elbo` calls `self.sample_with_reparam` with logsigma first; it takes (mu, logsigma).",
        lambda p, x: p.likelihood(x, swapped=True) - p.kl(x),
    ),
    Mistake(
        "arguments_swapped",
        "`elbo` calls `self.kl_divergence` with logsigma first; it takes (mu, logsigma).",
        lambda p, x: p.likelihood(x) - p.kl(x, swapped=True),
    ),
    Mistake(
        "recon_swapped",
        "Prediction and data have changed places in your cross-entropy: the prediction comes "
        "first, the data second.",
        lambda p, x: -F.binary_cross_entropy(x, p.theta(x), reduction="none").sum(1) - p.kl(x),
    ),
    Mistake(
        "recon_logits",
        "Your likelihood squashes the pixels a second time: the decoder has already applied the "
        "sigmoid, so these are no logits.",
        lambda p, x: (
            -F.binary_cross_entropy_with_logits(p.theta(x), x, reduction="none").sum(1) - p.kl(x)
        ),
    ),
    Mistake(
        "recon_half",
        "Half of your likelihood is missing: black pixels have a probability too.",
        lambda p, x: (x * p.theta(x).log()).sum(1) - p.kl(x),
    ),
    Mistake(
        "recon_squared_error",
        "Your likelihood is a squared error. Here each pixel is a coin: it is Bernoulli.",
        lambda p, x: -((p.theta(x) - x) ** 2).sum(1) - p.kl(x),
    ),
    Mistake(
        "recon_not_log",
        "Your first term holds θ where log θ belongs.",
        lambda p, x: (x * p.theta(x) + (1 - x) * (1 - p.theta(x))).sum(1) - p.kl(x),
    ),
    Mistake(
        "greys_rounded",
        "You round the greys to black and white. Use them as they are.",
        lambda p, x: (
            -F.binary_cross_entropy(p.theta(x), x.round(), reduction="none").sum(1) - p.kl(x)
        ),
    ),
)


@check("elbo")
def test_elbo_value(submission: Submission) -> None:
    """With known parts in place, log-likelihood minus KL, one number for each image."""
    vae = any_vae(submission)
    parts = known_parts(vae)
    for n, mode in ((5, vae.train), (5, vae.eval), (1, vae.eval)):
        mode()
        # Greys: swapped arguments and rounding then give other numbers.
        x = 0.05 + 0.9 * torch.rand(n, OBS)
        got = expect_one_each(vae.elbo(x), n, "`elbo(x)`")
        expect_close(got, parts.elbo(x), "The ELBO", (parts, x), ELBO_MISTAKES)


@check("elbo")
def test_elbo_of_black_and_white(submission: Submission) -> None:
    """The same holds for black and white pixels."""
    vae = any_vae(submission)
    parts = known_parts(vae)
    x = torch.rand(3, OBS).round()
    got = expect_one_each(vae.elbo(x), 3, "`elbo(x)`")
    expect_close(got, parts.elbo(x), "The ELBO", (parts, x), ELBO_MISTAKES)


@check("elbo")
def test_elbo_gradient(submission: Submission) -> None:
    """Gradients pass through both terms of the ELBO."""
    vae = any_vae(submission)
    parts = known_parts(vae)
    x = (0.05 + 0.9 * torch.rand(4, OBS)).requires_grad_()
    (got,) = expect_grad(vae.elbo(x), {"x": x}, "the ELBO", "elbo_detached")

    def by_x(value: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(value.sum(), x)[0]

    for wrong, what in (
        (by_x(parts.likelihood(x)), "the KL"),
        (-by_x(parts.kl(x)), "the likelihood"),
    ):
        expect(
            not torch.allclose(got, wrong, atol=1e-3),
            f"No gradient comes back through {what}: is something detached? Both terms train the "
            "model.",
            "elbo_detached",
        )
    expect_close(got, by_x(parts.elbo(x)), "The gradient of the ELBO", tolerance=1e-3)


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
)


@check("elbo")
def test_elbo_threshold(submission: Submission) -> None:
    """Trained from scratch, −ELBO falls below 125 nats within 5 epochs on the course's digits."""
    expect_trained(submission, TASKS, PLAN)


# New images. The stand-in for the decoder makes pixels 0 and 1 fair coins, pixels 2 and 3 follow
# the sign of the first latent and pixels 4 and 5 that of the second.

DRAWS = 40_000
SLOPE = 4.0


def drawn(submission: Submission) -> torch.Tensor:
    """Sample many images through known parts, (DRAWS, 6)."""
    vae = any_vae(submission, 2)
    decoder = torch.zeros(2, 6)
    decoder[0, 2:4] = decoder[1, 4:6] = SLOPE
    vae.plug("decoder", Affine([decoder]), squash=True)
    # Whoever encodes an image here finds its code far from the prior.
    nothing = torch.zeros(OBS, 2)
    vae.plug("encoder", Affine([nothing], bias=5.0), Affine([nothing], bias=-5.0))
    # Noise around mu, whatever logsigma says: right at the prior, where `sample` may use it.
    vae.plug("sample_with_reparam", Affine([torch.eye(2), torch.zeros(2, 2)]), noise=True)
    vae.eval()
    x = expect_tensor(vae.sample(DRAWS), (DRAWS, 6), "`sample(num_samples)`")
    expect(
        bool(((x == 0) | (x == 1)).all()),
        "`sample` gives probabilities. The last step is still missing: each pixel is to be 0 or 1.",
        "returns_probabilities",
    )
    return x


def covariance(x: torch.Tensor, i: int, j: int) -> float:
    """The covariance of two pixels over the draws."""
    return float(((x[:, i] - x[:, i].mean()) * (x[:, j] - x[:, j].mean())).mean())


# A mean of n coins has a standard error of at most ½ / √n, a product of two of at most ¼ / √n.
MEAN_BOUND = STANDARD_ERRORS * 0.5 / math.sqrt(DRAWS)
PRODUCT_BOUND = STANDARD_ERRORS * 0.25 / math.sqrt(DRAWS)


@check("sample")
def test_sample_shape(submission: Submission) -> None:
    """There are num_samples rows of pixels, one alone included."""
    for n, latent_dim in ((1, 5), (7, 5), (3, 13)):
        vae = new_vae(submission, latent_dim)
        decoder = torch.randn(latent_dim, OBS)
        vae.plug("decoder", Affine([decoder]), squash=True)
        expect_tensor(vae.sample(n), (n, OBS), "`sample(num_samples)`")


@check("sample")
def test_sample_is_black_and_white(submission: Submission) -> None:
    """Every pixel is 0 or 1, and where white is as likely as black, both come up."""
    coins = drawn(submission)[:, :2]
    mean = float(coins.mean())
    expect(
        0 < mean < 1,
        f"A pixel with the probability ½ is {mean:.0f} in every one of {DRAWS:,} samples: it is "
        "compared with a fixed threshold. Toss a coin for it.",
        "thresholded",
    )
    expect(
        abs(mean - 0.5) <= MEAN_BOUND,
        f"Pixels with the probability ½ are white in {mean:.1%} of the samples.",
    )
    expect(
        abs(covariance(coins, 0, 1)) <= PRODUCT_BOUND,
        "Two pixels come up white together more, or less, often than by chance: every pixel has a "
        "coin of its own.",
        "shared_noise",
    )


@check("sample")
def test_sample_draws_from_the_prior(submission: Submission) -> None:
    """Every image has a code of its own, from N(0, I)."""
    x = drawn(submission)
    z = torch.linspace(-10, 10, 4001, dtype=torch.float64)
    density = torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi) * float(z[1] - z[0])
    right = float((density * (torch.sigmoid(SLOPE * z) - 0.5) ** 2).sum())
    means = x[:, 2:].mean(0)
    own = covariance(x, 2, 3)
    expect(
        float(means.min()) < 0.98,
        "The codes are not centred on 0. Without an image there is no posterior: where does z come "
        "from?",
        "posterior_for_prior",
    )
    expect(
        own > 4 * PRODUCT_BOUND or float((means - 0.83).abs().max()) < 0.03,
        "All samples of a call share one code, or the code does not vary: draw one for each.",
        "shared_code",
    )
    shift = float((means - 0.5).abs().max())
    expect(
        shift <= MEAN_BOUND,
        "The codes are not centred on 0: the prior is N(0, I).",
        "uniform_noise" if float((means - 0.83).abs().max()) < 0.03 else None,
    )
    expect(
        abs(covariance(x, 2, 4)) <= 2 * PRODUCT_BOUND,
        "The latents of one code are not independent: draw a number for each.",
        "shared_noise",
    )
    expect(
        abs(own - right) <= 2 * PRODUCT_BOUND,
        "The codes do not have the prior's spread: it is N(0, I), with variance one.",
        "prior_spread",
    )


@check("sample")
def test_sample_is_new_every_time(submission: Submission) -> None:
    """Two calls give different images."""
    first, second = drawn(submission), drawn(submission)
    expect(
        not torch.equal(first, second),
        "Two calls give the same images. Is a seed set inside?",
        "reseeded",
    )


@check("sample")
def test_sample_carries_no_gradient(submission: Submission) -> None:
    """The samples are plain numbers: no graph hangs on them."""
    vae = any_vae(submission)
    vae.plug("decoder", Affine([torch.randn(LATENTS, OBS)]), squash=True)
    got = vae.sample.trace(4)
    expect(
        isinstance(got, torch.Tensor) and not got.requires_grad,
        "The samples carry a graph for gradients, which only costs memory: compute them under "
        "`torch.no_grad()`.",
        "carries_gradient",
    )
