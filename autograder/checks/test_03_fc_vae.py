"""What `03_fc_vae` is graded on."""

import torch

from autograder.checking import (
    Task,
    check,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
    kind,
)
from autograder.checks.gaussian import (
    KL_MISTAKES,
    RECON_MISTAKES,
    bce,
    kl_divergence,
    negative_elbo,
    sample,
)
from autograder.checks.parts import (
    expect_own_rows,
    expect_pixel_range,
    expect_within_budget,
    model_or_bare,
)
from autograder.checks.sampling import (
    Draw,
    expect_centre,
    expect_fresh_noise,
    expect_gaussian,
    expect_pathwise_gradients,
    expect_spread,
)
from autograder.checks.wiring import FORWARD_MISTAKES, HEADS_SWAPPED, known_parts
from autograder.submission import RemoteObject, Submission
from autograder.training import Plan, expect_trained

TASKS = (
    Task("encoder", 15, "Encoder", parts=("encoder", "mu_layer", "logvar_layer")),
    Task("decoder", 10, "Decoder", parts=("decoder",)),
    Task("reparameterize", 15, "Reparameterization", parts=("reparameterize",)),
    Task("reconstruction", 10, "Reconstruction loss", parts=("loss_function",)),
    Task("kl_divergence", 15, "KL divergence", parts=("loss_function",)),
    Task(
        "forward",
        10,
        "Forward pass",
        parts=("forward",),
        uses=("encoder", "mu_layer", "logvar_layer", "reparameterize", "decoder"),
    ),
    Task("parameter_budget", 5, "Parameter budget"),
    Task("training", 10, "Training loss"),
)

PIXELS = 28 * 28
BUDGET = 1_500_000


def new_vae(submission: Submission, hidden_dim: int = 48, latent_dim: int = 5) -> RemoteObject:
    """Make a small model."""
    return submission.new("myVAE", hidden_dim, latent_dim)


def any_vae(submission: Submission, latent_dim: int = 5) -> RemoteObject:
    """Make a model for its methods alone: one whose `__init__` fails will do."""
    return model_or_bare(submission, "myVAE", 48, latent_dim, latent_dim=latent_dim)


def images(n: int) -> torch.Tensor:
    """Make n grey images, (n, 1, 28, 28)."""
    return torch.rand(n, 1, 28, 28)


def posterior(n: int, latent_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make means and log-variances of both signs, (n, latent_dim) each."""
    return 1.5 * torch.randn(n, latent_dim), torch.randn(n, latent_dim)


# Encoder


@check("encoder")
def test_encoder_shapes(submission: Submission) -> None:
    """Image rows (N, 784) go to features, and both heads to (N, Z), one image alone included."""
    for n, latent_dim in ((1, 5), (7, 5), (4, 13)):
        vae = new_vae(submission, latent_dim=latent_dim)
        # Batch normalisation cannot train on one image, and need not.
        vae.eval()
        hidden = vae.encoder(images(n).flatten(1))
        expect(
            isinstance(hidden, torch.Tensor) and hidden.dim() == 2 and len(hidden) == n,
            f"`encoder` should turn {n} image rows into {n} rows of features, got {kind(hidden)}.",
        )
        expect_tensor(vae.mu_layer(hidden), (n, latent_dim), "`mu_layer(hidden)`")
        expect_tensor(vae.logvar_layer(hidden), (n, latent_dim), "`logvar_layer(hidden)`")


@check("encoder")
def test_heads_differ(submission: Submission) -> None:
    """The mean and the log-variance come from two separate layers."""
    vae = new_vae(submission, latent_dim=13)
    hidden = vae.encoder(images(6).flatten(1))
    mu, logvar = vae.mu_layer(hidden), vae.logvar_layer(hidden)
    expect(
        isinstance(mu, torch.Tensor) and not torch.equal(mu, logvar),
        "`mu_layer` and `logvar_layer` give the same values: they must be two layers of their own.",
    )


@check("encoder")
def test_heads_reach_both_signs(submission: Submission) -> None:
    """Means and log-variances can be negative as well as positive."""
    vae = new_vae(submission, latent_dim=32)
    # Features far apart: a linear layer's outputs then take both signs, whatever its bias.
    hidden = vae.encoder(20 * torch.randn(256, PIXELS))
    hidden = torch.as_tensor(hidden)
    for name in ("mu", "logvar"):
        out = expect_tensor(getattr(vae, f"{name}_layer")(hidden), (256, 32), f"`{name}_layer`")
        expect(
            bool((out < 0).any() and (out > 0).any()),
            f"`{name}_layer` only ever gives values of one sign: a mean and a log-variance may "
            "have any. Is there an activation after it?",
            "activation_on_head",
        )


@check("encoder")
def test_encoder_sees_the_image(submission: Submission) -> None:
    """Different images get different means, and each row depends on its own image alone."""
    vae = new_vae(submission)
    vae.eval()
    expect_own_rows(
        lambda rows: torch.as_tensor(vae.mu_layer(vae.encoder(rows))),
        images(6).flatten(1),
        "Every image gets the same `mu`: is `x` used?",
        "`mu` of an image encoded",
    )


# Decoder


@check("decoder")
def test_decoder_shape(submission: Submission) -> None:
    """Codes (N, Z) become images (N, 1, 28, 28), one code alone included."""
    for n, latent_dim in ((1, 5), (7, 5), (4, 13)):
        vae = new_vae(submission, latent_dim=latent_dim)
        vae.eval()
        expect_tensor(vae.decoder(torch.randn(n, latent_dim)), (n, 1, 28, 28), "`decoder(z)`")


@check("decoder")
def test_decoder_range(submission: Submission) -> None:
    """Decoded pixels lie in [0, 1] and can be dark as well as bright."""
    vae = new_vae(submission)
    far = vae.decoder(1e3 * torch.randn(64, 5))
    expect_pixel_range(expect_tensor(far, (64, 1, 28, 28), "`decoder(z)`"))


@check("decoder")
def test_decoder_uses_the_code(submission: Submission) -> None:
    """Another code gives another image, and each row depends on its own code alone."""
    vae = new_vae(submission)
    vae.eval()
    expect_own_rows(
        lambda z: expect_tensor(vae.decoder(z), (len(z), 1, 28, 28), "`decoder(z)`"),
        torch.randn(6, 5),
        "Every code gives the same image: is `z` used?",
        "A code decoded",
    )


# Reparameterization


def draw(submission: Submission) -> Draw:
    """The submission's `reparameterize`, as a function of mu and logvar."""
    return any_vae(submission).reparameterize


@check("reparameterize")
def test_spread(submission: Submission) -> None:
    """The standard deviation of z is σ = exp(½ logvar), in training and in eval mode."""
    vae = any_vae(submission)
    for mode in (vae.train, vae.eval):
        mode()
        expect_spread(vae.reparameterize)


@check("reparameterize")
def test_centre(submission: Submission) -> None:
    """The draw z is centred on mu."""
    expect_centre(draw(submission))


@check("reparameterize")
def test_noise_is_gaussian(submission: Submission) -> None:
    """The noise is Gaussian: its fourth moment is 3 σ⁴."""
    expect_gaussian(draw(submission))


@check("reparameterize")
def test_one_draw_for_each_number(submission: Submission) -> None:
    """Every entry of z has noise of its own, new at every call."""
    expect_fresh_noise(draw(submission))


@check("reparameterize")
def test_gradients_pass(submission: Submission) -> None:
    """Gradients reach mu and logvar: ∂z/∂mu is 1 and ∂z/∂logvar is (z − mu) / 2."""
    expect_pathwise_gradients(draw(submission))


# Loss. The reconstruction is measured where the KL is 0, and the KL as a difference of two losses
# with the same images, so that a slip in one term leaves the other's points alone.


def loss(
    vae: RemoteObject,
    x_hat: torch.Tensor,
    x: torch.Tensor,
    mu: torch.Tensor,
    logvar: torch.Tensor,
) -> torch.Tensor:
    """Call `loss_function` and expect a scalar."""
    value = vae.loss_function(x_hat, x, mu, logvar)
    if isinstance(value, float):
        value = torch.tensor(value)
    return expect_tensor(value, (), "`loss_function(…)`")


def recon_term(submission: Submission, x_hat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The loss where the posterior is the prior, and so the KL is 0."""
    at_prior = torch.zeros(len(x), 5)
    return loss(any_vae(submission), x_hat, x, at_prior, at_prior)


@check("reconstruction")
def test_reconstruction_value(submission: Submission) -> None:
    """With the KL at 0, the loss is the cross-entropy: pixels summed, images averaged."""
    # Greys and a batch of 3: swapped arguments and wrong averages then all give other numbers.
    x_hat, x = 0.05 + 0.9 * images(3), 0.05 + 0.9 * images(3)
    expect_close(
        recon_term(submission, x_hat, x),
        bce(x_hat, x),
        "The reconstruction term",
        (x_hat, x),
        RECON_MISTAKES,
    )


@check("reconstruction")
def test_reconstruction_of_black_and_white(submission: Submission) -> None:
    """The same holds for black and white pixels, and for one image alone."""
    x, x_hat = images(1).round(), 0.05 + 0.9 * images(1)
    expect_close(recon_term(submission, x_hat, x), bce(x_hat, x), "The reconstruction term")


@check("reconstruction")
def test_reconstruction_gradient(submission: Submission) -> None:
    """The reconstruction term pulls the output towards the image."""
    x, x_hat = images(3), 0.05 + 0.9 * images(3)
    x_hat.requires_grad_()
    at_prior = torch.zeros(3, 5)
    value = loss(any_vae(submission), x_hat, x, at_prior, at_prior)
    (grad,) = expect_grad(value, {"x_hat": x_hat}, "the loss", "recon_detached")
    (right,) = torch.autograd.grad(bce(x_hat, x), x_hat)
    expect_close(grad, right, "The gradient by the reconstruction")


def kl_term(submission: Submission, mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """The loss at (mu, logvar) less the loss at the prior, on the same images."""
    vae = any_vae(submission)
    x_hat, x = torch.full((len(mu), 1, 28, 28), 0.5), images(len(mu)).round()
    at_prior = torch.zeros_like(mu)
    return loss(vae, x_hat, x, mu, logvar) - loss(vae, x_hat, x, at_prior, at_prior)


@check("kl_divergence")
def test_kl_closed_form(submission: Submission) -> None:
    """The KL term equals its closed form at random mu and logvar."""
    mu, logvar = posterior(3, 5)
    expect_close(
        kl_term(submission, mu, logvar),
        kl_divergence(mu, logvar),
        "The KL term",
        (mu, logvar),
        KL_MISTAKES,
    )


@check("kl_divergence")
def test_kl_known_number(submission: Submission) -> None:
    """One code with mu = 2 and σ = 1 has a KL of exactly 2."""
    mu, logvar = torch.tensor([[2.0]]), torch.zeros(1, 1)
    expect_close(kl_term(submission, mu, logvar), torch.tensor(2.0), "The KL at mu = 2, σ = 1")


@check("kl_divergence")
def test_kl_adds_over_latents(submission: Submission) -> None:
    """Twice the latents, twice the KL; twice the images, the same."""
    mu, logvar = posterior(3, 4)
    once = kl_term(submission, mu, logvar)
    wide = kl_term(submission, torch.cat([mu, mu], 1), torch.cat([logvar, logvar], 1))
    expect_close(wide, 2 * once, "The KL of every latent repeated")
    tall = kl_term(submission, torch.cat([mu, mu]), torch.cat([logvar, logvar]))
    expect_close(tall, once, "The KL of every image repeated")


@check("kl_divergence")
def test_kl_gradient(submission: Submission) -> None:
    """The KL trains the encoder: its gradient by mu is mu / N."""
    mu, logvar = (t.requires_grad_() for t in posterior(3, 5))
    x_hat, x = torch.full((3, 1, 28, 28), 0.5), images(3).round()
    value = loss(any_vae(submission), x_hat, x, mu, logvar)
    by_mu, by_logvar = expect_grad(value, {"mu": mu, "logvar": logvar}, "the loss", "kl_detached")
    expect_close(by_mu, mu.detach() / 3, "The gradient of the KL by mu")
    right = (logvar.exp() - 1).detach() / 6
    expect_close(by_logvar, right, "The gradient of the KL by logvar")


# Forward. Known linear maps stand in for the parts, so that only the wiring is judged.


@check("forward")
def test_forward_wiring(submission: Submission) -> None:
    """The image goes through encoder, heads, reparameterize and decoder, in training and after."""
    vae = any_vae(submission, latent_dim=3)
    parts = known_parts(vae)
    for n, mode in ((5, vae.train), (5, vae.eval), (1, vae.eval)):
        mode()
        x = images(n)
        mu, logvar = parts.heads(x)
        got = vae(x)
        expect(
            isinstance(got, tuple) and len(got) == 3,
            f"`forward` should return the three values (x_hat, mu, logvar), got {kind(got)}.",
        )
        x_hat = expect_tensor(got[0], (n, 1, 28, 28), "`x_hat`")
        inputs = (parts, mu, logvar)
        expect_close(expect_tensor(got[1], (n, 3), "`mu`"), mu, "`mu`", inputs, (HEADS_SWAPPED,))
        expect_close(expect_tensor(got[2], (n, 3), "`logvar`"), logvar, "`logvar`")
        expect_close(x_hat, parts.decode_draw(mu, logvar), "`x_hat`", inputs, FORWARD_MISTAKES)


# The whole model


@check("parameter_budget")
def test_parameter_budget(submission: Submission) -> None:
    """Your `model` has at most 1.5 million trainable parameters."""
    parts = ("encoder", "mu_layer", "logvar_layer", "decoder")
    expect_within_budget(submission, BUDGET, parts)


def loss_through_the_code(model: RemoteObject, x: torch.Tensor) -> torch.Tensor:
    """The loss where the code is drawn here: nothing of the image can pass beside it."""
    _, mu, logvar = model(x)
    return negative_elbo(model.decoder(sample(mu, logvar)), x, mu, logvar)


PLAN = Plan(
    model="myVAE",
    data="mnist",
    epochs=10,
    below=120.0,
    unit="nats per image",
    batch=lambda x, labels: (x,),
    loss=lambda batch, x_hat, mu, logvar: negative_elbo(x_hat, batch[0], mu, logvar),
    confirm=loss_through_the_code,
)


@check("training")
def test_training_loss(submission: Submission) -> None:
    """Trained from scratch with your settings, the loss falls below 120 within 10 epochs."""
    expect_trained(submission, TASKS, PLAN)
