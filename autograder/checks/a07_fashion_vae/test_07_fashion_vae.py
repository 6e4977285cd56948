"""Tasks and checks of `07_fashion_vae`."""

import functools
from collections.abc import Callable
from dataclasses import astuple, replace
from typing import Any

import torch

from autograder.checks.a07_fashion_vae import convolutions, latent_dimensions, relus
from autograder.checks.a07_fashion_vae.convolutions import EVERY, SMALL, shapes
from autograder.checks.a07_fashion_vae.stored_loss import (
    BIASES,
    GRADIENT_MISTAKES,
    LATENTS,
    LOSS_MISTAKES,
    OUTPUT_MISTAKES,
    KnownParts,
    gradients,
    known_parts,
)
from autograder.checks.a07_fashion_vae.totals import KL_MISTAKES, RECON_MISTAKES
from autograder.checks.bounds import course_bounds
from autograder.checks.deformed import deformed
from autograder.checks.shared.answers import expect_gaussians, expect_values
from autograder.checks.shared.calls import expect_called
from autograder.checks.shared.gaussian import negative_elbo, sample
from autograder.checks.shared.kl import Pair, kl_checks
from autograder.checks.shared.likelihood import BERNOULLI, reconstruction_checks
from autograder.checks.shared.loss_terms_fit import expect_no_skip, expect_weights
from autograder.checks.shared.networks import module_checks
from autograder.checks.shared.parameterization import SIGMA, TOTAL, expect_one_number
from autograder.checks.shared.parts import expect_of_arguments_alone, images, model_or_bare
from autograder.checks.shared.repeats import expect_noise_not_centred
from autograder.checks.shared.sampling import (
    expect_new_draws,
    mean_in_eval_accepted,
    method_sampler,
    sampling_checks,
)
from autograder.checks.shared.wiring import expect_images_given
from autograder.checks.training import TrainingSpec, training_checks
from autograder.checks.vocabulary import (
    CheckFailed,
    Task,
    check,
    close,
    expect,
    expect_close,
    expect_tensor,
    kind,
)
from autograder.protocol.remote import Raised, RemoteObject, Submission
from autograder.records.text import sentence

PARTS = ("encoder", "decoder", "r_loss", "kl_loss", "gaussian")
TASKS = (
    Task("encoder", 14, "Encoder", parts=("encoder",), classes=("Encoder",)),
    Task("decoder", 14, "Decoder", parts=("decoder",), classes=("Decoder",)),
    Task("r_loss", 8, "Reconstruction loss", parts=("r_loss",)),
    Task("kl_loss", 10, "KL divergence", parts=("kl_loss",)),
    Task("gaussian", 10, "Reparameterized sample", parts=("gaussian",)),
    Task("forward", 10, "Forward and backward", parts=("forward", "backward"), uses=PARTS),
    Task("training", 8, "Training loss"),
    Task("top_two_dims", 6, "Dimensions that vary most"),
    Task("quantiles", 4, "Quantiles of the prior"),
    Task("perturb", 6, "One latent changed"),
)


def any_vae(submission: Submission, latent_dim: int = LATENTS) -> RemoteObject:
    """Make a model to test its methods only: `__init__` may fail."""
    sizes = replace(SMALL, lat=latent_dim)
    return model_or_bare(submission, "VAE", *astuple(sizes), **vars(sizes))


# The two terms of the loss, and the sample


def term(name: str) -> Callable[[Submission], Pair]:
    """Return the function of a term of the submission's loss, `r_loss` or `kl_loss`."""

    def called(submission: Submission) -> Pair:
        vae_of: Callable[[int], RemoteObject] = lambda width: any_vae(submission, width)  # noqa: E731
        if name == "kl_loss":  # a new model for each r_loss: a sum over calls has its own check
            vae_of = functools.cache(vae_of)

        def measured(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
            # The KL is given rows of latents, and the reconstruction loss images.
            vae = vae_of(first.shape[-1] if first.dim() == 2 else LATENTS)
            got = getattr(vae, name)(first, second)
            return expect_one_number(got, f"`{name}(…)`", "not_summed")

        return measured

    return called


@check("r_loss")
def test_r_loss_keeps_its_inputs(submission: Submission) -> None:
    """`r_loss` depends on its arguments alone, and does not change them."""
    inputs = {"x": 0.05 + 0.9 * images(2), "y": images(2)}
    method = any_vae(submission).r_loss
    expect_of_arguments_alone(submission, method, "r_loss", inputs)


@check("kl_loss")
def test_kl_loss_keeps_its_inputs(submission: Submission) -> None:
    """`kl_loss` depends on its arguments alone, and does not change them."""
    inputs = dict(zip(("mu", "sigma"), SIGMA.posterior(6, LATENTS), strict=True))
    method = any_vae(submission).kl_loss
    expect_of_arguments_alone(submission, method, "kl_loss", inputs)


@check("gaussian")
def test_gaussian_of_one_image(submission: Submission) -> None:
    """The noise is not changed by the other images of a batch."""
    expect_noise_not_centred(any_vae(submission, 5).gaussian, SIGMA, "gaussian")


# Forward and backward. Known linear maps replace the parts, so that only the connections are
# tested.


@check("forward")
def test_vae_holds_its_parts(submission: Submission) -> None:
    """`VAE(c1, c2, lat, k)` has an `Encoder` and a `Decoder` of these sizes."""
    sizes = EVERY[1]
    try:
        alone = {name.lower(): sizes.make(submission, name) for name in ("Encoder", "Decoder")}
    except Raised:
        return  # There is nothing to compare with. The checks of these parts report their errors.
    vae = sizes.make(submission, "VAE")
    if not vae.parameters():
        vae(images(1))  # Reports an unfinished model.
    for part, module in alone.items():
        expect(
            shapes(getattr(vae, part)) == shapes(module),
            f"`self.{part}` of `VAE(c1, c2, lat, k)` does not have the layers "
            f"of `{part.capitalize()}(c1, c2, lat, k)`. Do you pass all four sizes, in this order?",
            "sizes_not_passed",
        )


def stored_loss(vae: RemoteObject) -> torch.Tensor:
    """Return the loss that `forward` has stored."""
    try:
        loss = vae.loss.value()
    except Raised as error:
        raise CheckFailed(
            sentence(f"`forward` stores no loss: reading `self.loss` raised {error}"),
            "loss_not_stored",
        ) from None
    expect(
        not isinstance(loss, float),
        "`self.loss` is a plain number: it has no gradient. Store the tensor.",
        "loss_detached",
    )
    return expect_tensor(loss, (), "`self.loss`")


def explain_output(
    vae: RemoteObject, parts: KnownParts, output: torch.Tensor, x: torch.Tensor
) -> None:
    """Explain an output of `forward` that no known mistake computes."""
    expect_no_skip(output, parts.output(x), x, "The output of `forward`")
    expect_called(vae, ("encoder", "gaussian", "decoder"), "forward")
    expect_images_given(vae.encoder.seen(), x)


def explain_loss(vae: RemoteObject, parts: KnownParts, x: torch.Tensor) -> None:
    """Explain a stored loss that no known mistake computes."""
    expect_called(vae, PARTS, "forward")
    losses = []
    for _ in range(2):
        vae(x)
        losses.append(stored_loss(vae).detach())
    step = losses[1] - losses[0]
    expect(
        float((step - parts.loss(x)).abs()) > 1e-3 * float(parts.loss(x).abs()),
        "Each call adds to `self.loss`, so that it grows from batch to batch. Store the loss of "
        "this batch alone.",
        "loss_accumulates",
    )
    measured = []
    for _ in range(4):
        y = images(len(x))
        vae(y)
        measured.append(torch.stack([stored_loss(vae).detach(), *parts.terms(y)]))
    loss, recon, kl = torch.stack(measured, 1)
    expect_weights(loss, recon, kl, "`self.loss`")


def forwarded(vae: RemoteObject, x: torch.Tensor) -> Any:
    """Call `forward` of a model with known parts; explain an encoder that is called with rows."""
    try:
        return vae(x)
    except Raised:
        shape = tuple(vae.encoder.seen().shape)
        expect(
            len(shape) != 2,
            f"`forward` calls `self.encoder` with rows of shape {shape}. It takes images of shape "
            f"{tuple(x.shape)}.",
            "image_flattened",
        )
        raise


@check("forward")
def test_forward_wiring(submission: Submission) -> None:
    """`forward` returns the output only and stores the sum of both terms, in train and eval mode.

    Two calls must return two samples.
    """
    vae = any_vae(submission)
    parts = known_parts(vae)
    for n, mode in ((5, "train"), (5, "eval"), (1, "eval")):
        getattr(vae, mode)()
        x = images(n)
        got = forwarded(vae, x)
        expect(
            not isinstance(got, tuple),
            f"`forward` should return only the decoder's output, got {kind(got)}.",
            "not_alone",
        )
        what, inputs = "The output of `forward`", (parts, x)
        output = expect_tensor(got, (n, 1, 28, 28), what)
        with mean_in_eval_accepted(submission, "gaussian", mode):
            expect_close(
                output,
                parts.output(x),
                what,
                inputs,
                OUTPUT_MISTAKES,
                otherwise=functools.partial(explain_output, vae, parts, output, x),
            )
            expect_close(
                stored_loss(vae),
                parts.loss(x),
                "`self.loss`",
                inputs,
                LOSS_MISTAKES,
                otherwise=functools.partial(explain_loss, vae, parts, x),
            )
    names = ("mu", "sigma")
    expect_new_draws(vae, "gaussian", names, LATENTS, vae, x)


@check("forward")
def test_backward(submission: Submission) -> None:
    """After `backward`, every part has the gradient of the stored loss."""
    vae = any_vae(submission)
    parts = known_parts(vae)
    parts.biases.requires_grad_()
    x = images(4)
    forwarded(vae, x)
    stored_loss(vae)
    vae.backward()
    found = [
        getattr(getattr(vae, part).biases, str(number)).grad.value() for part, number in BIASES
    ]
    expect(
        any(grad is not None for grad in found),
        "After `backward` no part has a gradient. Call `backward` on the stored loss, and do "
        "not detach it.",
        "no_backward",
    )
    got = torch.stack(
        [
            torch.zeros(()).double() if grad is None else expect_tensor(grad, (), "The gradient")
            for grad in found
        ]
    )
    right = gradients(parts.loss(x), parts)

    def explain() -> None:
        factor = float((got.double() @ right.double()) / right.double().square().sum())
        expect(
            factor <= 0 or not close(got, factor * right),
            f"After `backward` the gradients are {factor:.4g} times those of `self.loss`. Call "
            "`backward` on `self.loss` itself, and do not change the gradients.",
            "loss_scaled",
        )

    what = "The gradient after `backward`"
    expect_close(got, right, what, (parts, x), GRADIENT_MISTAKES, otherwise=explain)


@check("forward", in_notebook=False)
def test_backward_updates_nothing(submission: Submission) -> None:
    """`backward` computes gradients only. The optimizer changes the parameters after it."""
    try:
        model = submission.object("model")
        before = model.state()
        model(images(2))
        model.backward()
        after = model.parameters()
        model.load_state(before)
        model.zero_grad()
    except Raised:
        if "forward" in submission.failed:
            raise
        return  # a model without all of its parts: their own checks report it
    changed = [name for name, p in after.items() if not torch.equal(p, before.get(name, p))]
    expect(
        not changed,
        "`backward` changes the parameters of the model. It should compute the gradients only: "
        "`train_step` calls `optimizer.step()` after it.",
        "steps_in_backward",
    )


# The whole model


def loss_of(
    batch: tuple[torch.Tensor, ...], x_hat: torch.Tensor, mu: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """Return the loss in nats per image."""
    mu, sigma = expect_gaussians(mu, sigma, len(batch[0]), "sigma")
    return negative_elbo(x_hat, batch[0], mu, 2 * sigma.log())


def loss_through_the_code(model: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the loss of a code sampled here: it depends on the image only through the code."""
    mu, sigma = expect_values(model.encoder(x), ("mu", "sigma"))
    mu, sigma = expect_gaussians(mu, sigma, len(x), "sigma")
    return loss_of((x,), model.decoder(sample(mu, 2 * sigma.log())), mu, sigma)


BOUNDS = course_bounds(__name__, epochs=5, below=265.0, below_new=300.0)
SPEC = TrainingSpec(
    model="VAE",
    data="fashion_mnist",
    unit="nats per image",
    batch=lambda x, labels: (x,),
    loss=loss_of,
    confirm=loss_through_the_code,
    new_images=deformed,
    untrained=285.0,
    sizes=("c1", "c2", "lat", "k"),
    confirmed=(
        "With each code sampled from your model's own mu and sigma, and decoded by your decoder"
    ),
    headline=243.0,
    remark="the difference from the published number is within the variation between seeds.",
    **BOUNDS,
)


FAMILIES = (
    reconstruction_checks(
        "r_loss", term("r_loss"), BERNOULLI, TOTAL, name="r_loss", argument="x", more=RECON_MISTAKES
    ),
    kl_checks("kl_loss", term("kl_loss"), SIGMA, TOTAL, more=KL_MISTAKES),
    sampling_checks(
        "gaussian",
        method_sampler(any_vae, "gaussian"),
        SIGMA,
        what="`gaussian(mu, sigma)`",
        name="gaussian",
    ),
    convolutions.CHECKS,
    relus.CHECKS,
    module_checks(latent_dimensions),
    training_checks(TASKS, SPEC),
)
