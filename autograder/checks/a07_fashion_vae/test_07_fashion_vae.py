"""What `07_fashion_vae` is graded on."""

from dataclasses import astuple
from typing import Any

import torch

from autograder.checks.a07_fashion_vae import convolutions, latent_dimensions
from autograder.checks.a07_fashion_vae.convolutions import EVERY, SMALL, shapes
from autograder.checks.a07_fashion_vae.stored_loss import (
    BIASES,
    GRADIENT_MISTAKES,
    LATENTS,
    LOSS_MISTAKES,
    OUTPUT_MISTAKES,
    gradients,
    known_parts,
)
from autograder.checks.a07_fashion_vae.totals import KL_MISTAKES, RECON_MISTAKES, bce, kl
from autograder.checks.shared.device import expect_follows_input
from autograder.checks.shared.expectation import expect_kl_is_expectation
from autograder.checks.shared.gaussian import negative_elbo, sample
from autograder.checks.shared.networks import module_checks
from autograder.checks.shared.parts import images, model_or_bare
from autograder.checks.shared.sampling import (
    SIGMA,
    Draw,
    draw_gradients,
    expect_centre,
    expect_fresh_noise,
    expect_gaussian,
    expect_new_draws,
    expect_spread,
)
from autograder.checks.training import Plan, training_checks
from autograder.checks.vocabulary import (
    CheckFailed,
    Task,
    check,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
    kind,
)
from autograder.protocol.remote import Raised, RemoteObject, Submission

PARTS = ("encoder", "decoder", "r_loss", "kl_loss", "gaussian")
TASKS = (
    Task("encoder", 14, "Encoder", parts=("encoder",)),
    Task("decoder", 14, "Decoder", parts=("decoder",)),
    Task("r_loss", 8, "Reconstruction loss", parts=("r_loss",)),
    Task("kl_loss", 10, "KL divergence", parts=("kl_loss",)),
    Task("gaussian", 10, "Reparameterized draw", parts=("gaussian",)),
    Task("forward", 10, "Forward and backward", parts=("forward", "backward"), uses=PARTS),
    Task("training", 8, "Training loss"),
    Task("top_two_dims", 6, "Dimensions that vary most"),
    Task("quantiles", 4, "Quantiles of the prior"),
    Task("perturb", 6, "One latent changed"),
)


def any_vae(submission: Submission) -> RemoteObject:
    """Make a model for its methods alone: one whose `__init__` fails will do."""
    return model_or_bare(submission, "VAE", *astuple(SMALL))


def posterior(n: int, latent_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make means of both signs and standard deviations on both sides of 1, (n, latent_dim) each."""
    return 1.5 * torch.randn(n, latent_dim), (0.7 * torch.randn(n, latent_dim)).exp()


# The two terms of the loss


def total(got: Any, what: str) -> torch.Tensor:
    """Expect one number for the whole batch."""
    if isinstance(got, torch.Tensor) and got.numel() > 1:
        raise CheckFailed(
            f"{what} should be one number for the whole batch, got {kind(got)}: it is a total sum.",
            "not_summed",
        )
    return expect_tensor(torch.tensor(got) if isinstance(got, float) else got, (), what)


def r_loss(submission: Submission, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Call `r_loss` on outputs x and images y."""
    return total(any_vae(submission).r_loss(x, y), "`r_loss(x, y)`")


@check("r_loss")
def test_r_loss_value(submission: Submission) -> None:
    """The cross-entropy is summed over pixels and images."""
    # Greys and a batch of 3: swapped arguments and averages then all give other numbers.
    x, y = 0.05 + 0.9 * images(3), 0.05 + 0.9 * images(3)
    got = r_loss(submission, x, y)
    expect_close(got, bce(x, y), "The reconstruction loss", (x, y), RECON_MISTAKES)


@check("r_loss")
def test_r_loss_of_black_and_white(submission: Submission) -> None:
    """The same holds for black and white images, and for one alone."""
    x, y = 0.05 + 0.9 * images(1), images(1).round()
    expect_close(r_loss(submission, x, y), bce(x, y), "The reconstruction loss")


@check("r_loss")
def test_r_loss_gradient(submission: Submission) -> None:
    """The loss pulls the output towards the image."""
    x, y = 0.05 + 0.9 * images(3), images(3)
    x.requires_grad_()
    (grad,) = expect_grad(r_loss(submission, x, y), {"x": x}, "the loss", "recon_detached")
    (right,) = torch.autograd.grad(bce(x, y), x)
    expect_close(grad, right, "The gradient by the output")


def kl_loss(submission: Submission, mu: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Call `kl_loss`."""
    return total(any_vae(submission).kl_loss(mu, sigma), "`kl_loss(mu, sigma)`")


@check("kl_loss")
def test_kl_closed_form(submission: Submission) -> None:
    """The KL equals its closed form at random mu and sigma, summed over latents and images."""
    for n in (3, 1):
        mu, sigma = posterior(n, 4)
        got = kl_loss(submission, mu, sigma)
        expect_close(got, kl(mu, sigma), "The KL", (mu, sigma), KL_MISTAKES)


@check("kl_loss")
def test_kl_known_numbers(submission: Submission) -> None:
    """The KL is 0 at the prior, and 2 at mu = 2 and σ = 1."""
    one = torch.ones(1, 1)
    for mu, right in ((0 * one, 0.0), (2 * one, 2.0)):
        got = kl_loss(submission, mu, one)
        what = f"The KL at mu = {float(mu):g}, σ = 1"
        expect_close(got, torch.tensor(right), what, (mu, one), KL_MISTAKES)


@check("kl_loss")
def test_kl_is_an_expectation(submission: Submission) -> None:
    """The KL is the mean of log q(z) − log p(z) over draws from q, within six standard errors."""
    mu, sigma = posterior(1, 3)
    expect_kl_is_expectation(float(kl_loss(submission, mu, sigma)), mu, sigma)


@check("kl_loss")
def test_kl_gradient(submission: Submission) -> None:
    """The KL trains the encoder: its gradients are mu, and σ − 1/σ."""
    mu, sigma = (t.requires_grad_() for t in posterior(3, 5))
    inputs = {"mu": mu, "sigma": sigma}
    value = kl_loss(submission, mu, sigma)
    by_mu, by_sigma = expect_grad(value, inputs, "the KL", "kl_detached")
    expect_close(by_mu, mu.detach(), "The gradient of the KL by mu")
    expect_close(by_sigma, (sigma - 1 / sigma).detach(), "The gradient of the KL by sigma")


# The draw


def draw(vae: RemoteObject) -> Draw:
    """The submission's `gaussian`, as a function of mu and log σ."""
    return lambda mu, log_sigma: vae.gaussian(mu, log_sigma.exp())


@check("gaussian")
def test_spread(submission: Submission) -> None:
    """The standard deviation of z is sigma, in training and in eval mode."""
    vae = any_vae(submission)
    for mode in (vae.train, vae.eval):
        mode()
        expect_spread(draw(vae), SIGMA)


@check("gaussian")
def test_centre(submission: Submission) -> None:
    """The draw z is centred on mu."""
    expect_centre(draw(any_vae(submission)), SIGMA)


@check("gaussian")
def test_noise_is_gaussian(submission: Submission) -> None:
    """The noise is Gaussian: its fourth moment is 3 σ⁴."""
    expect_gaussian(draw(any_vae(submission)), SIGMA)


@check("gaussian")
def test_one_draw_for_each_number(submission: Submission) -> None:
    """Every entry of z has noise of its own, new at every call."""
    expect_fresh_noise(draw(any_vae(submission)), SIGMA)


@check("gaussian")
def test_gradients_pass(submission: Submission) -> None:
    """Gradients reach mu and sigma: ∂z/∂mu is 1 and ∂z/∂sigma is (z − mu) / σ."""
    mu, sigma = (t.requires_grad_() for t in posterior(6, 5))
    z = expect_tensor(any_vae(submission).gaussian(mu, sigma), (6, 5), "`gaussian(mu, sigma)`")
    by_mu, by_sigma = draw_gradients(z, {"mu": mu, "sigma": sigma})
    expect_close(by_mu, torch.ones_like(by_mu), "The gradient of z by mu")
    expect_close(by_sigma, ((z - mu) / sigma).detach(), "The gradient of z by sigma")


@check("gaussian")
def test_device(submission: Submission) -> None:
    """New tensors are made on the device of those that come in (self-reported)."""
    gaussian, given = any_vae(submission).gaussian, posterior(3, 5)
    expect_follows_input(gaussian, *given, name="gaussian")


# Forward and backward. Known linear maps stand in for the parts, so that only the wiring is judged.


@check("forward")
def test_vae_holds_its_parts(submission: Submission) -> None:
    """`VAE(c1, c2, lat, k)` holds an `Encoder` and a `Decoder` of these sizes."""
    sizes = EVERY[1]
    try:
        alone = {name.lower(): sizes.make(submission, name) for name in ("Encoder", "Decoder")}
    except Raised:
        return  # Nothing to compare with: what is wrong with them is for their own checks to say.
    vae = sizes.make(submission, "VAE")
    if not vae.parameters():
        vae(images(1))  # Says so itself where nothing has been started.
    for part, module in alone.items():
        expect(
            shapes(vae, f"{part}.") == shapes(module),
            f"`self.{part}` of `VAE(c1, c2, lat, k)` has not the layers of a "
            f"`{part.capitalize()}(c1, c2, lat, k)`: are all four sizes passed on, in this order?",
            "sizes_not_passed",
        )


def stored_loss(vae: RemoteObject) -> torch.Tensor:
    """Read the loss that `forward` has stored."""
    try:
        loss = vae.loss.value()
    except Raised as error:
        raise CheckFailed(
            f"`forward` stores no loss: reading `self.loss` raised {error}.", "loss_not_stored"
        ) from None
    expect(
        not isinstance(loss, float),
        "`self.loss` is a plain number: nothing can be backpropagated from it. Store the tensor.",
        "loss_detached",
    )
    return expect_tensor(loss, (), "`self.loss`")


@check("forward")
def test_forward_wiring(submission: Submission) -> None:
    """`forward` returns the output alone and stores the sum of both terms, in train and eval.

    Two calls must draw twice, too.
    """
    vae = any_vae(submission)
    parts = known_parts(vae)
    for n, mode in ((5, vae.train), (5, vae.eval), (1, vae.eval)):
        mode()
        x = images(n)
        got = vae(x)
        expect(
            not isinstance(got, tuple),
            f"`forward` should return the decoder's output alone, got {kind(got)}.",
            "not_alone",
        )
        what, inputs = "What `forward` returns", (parts, x)
        output = expect_tensor(got, (n, 1, 28, 28), what)
        expect_close(output, parts.output(x), what, inputs, OUTPUT_MISTAKES)
        expect_close(stored_loss(vae), parts.loss(x), "`self.loss`", inputs, LOSS_MISTAKES)
    names = ("mu", "sigma")
    expect_new_draws(vae, "gaussian", names, LATENTS, lambda: torch.as_tensor(vae(x)))


@check("forward")
def test_backward(submission: Submission) -> None:
    """After `backward`, every part has the gradient of the stored loss."""
    vae = any_vae(submission)
    parts = known_parts(vae)
    parts.biases.requires_grad_()
    x = images(4)
    vae(x)
    stored_loss(vae)
    vae.backward()
    found = [
        getattr(getattr(vae, part).biases, str(number)).grad.value() for part, number in BIASES
    ]
    expect(
        any(grad is not None for grad in found),
        "After `backward` no part has a gradient. It should start backpropagation from the stored "
        "loss, which must still hang on what it was computed from.",
        "no_backward",
    )
    got = torch.stack([torch.zeros(()) if grad is None else grad for grad in found])
    right = gradients(parts.loss(x), parts)
    expect_close(got, right, "The gradient after `backward`", (parts, x), GRADIENT_MISTAKES)


# The whole model


def loss_of(
    batch: tuple[torch.Tensor, ...], x_hat: torch.Tensor, mu: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """The loss in nats per image."""
    return negative_elbo(x_hat, batch[0], mu, 2 * sigma.log())


def loss_through_the_code(model: Any, x: torch.Tensor) -> torch.Tensor:
    """The loss where the code is drawn here: nothing of the image can pass beside it."""
    mu, sigma = model.encoder(x)
    return loss_of((x,), model.decoder(sample(mu, 2 * sigma.log())), mu, sigma)


PLAN = Plan(
    model="VAE",
    data="fashion_mnist",
    epochs=5,
    below=265.0,
    unit="nats per image",
    batch=lambda x, labels: (x,),
    loss=loss_of,
    confirm=loss_through_the_code,
    sizes=("c1", "c2", "lat", "k"),
    confirmed=(
        "With each code drawn from your model's own mu and sigma, and decoded by your decoder"
    ),
    headline=243.0,
    remark="the published number lies within what one seed and another differ by.",
)


FAMILIES = (
    convolutions.CHECKS,
    module_checks(latent_dimensions),
    training_checks(TASKS, PLAN),
)
