"""What `03_fc_vae` is graded on."""

import torch

from autograder.checks.shared import vae_parts
from autograder.checks.shared.gaussian import negative_elbo, sample
from autograder.checks.shared.parts import expect_within_budget
from autograder.checks.shared.vae_methods import vae_method_checks
from autograder.checks.training import Plan, expect_trained
from autograder.checks.vocabulary import Task, check
from autograder.protocol.remote import RemoteObject, Submission

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

BUDGET = 1_500_000
FAMILIES = vae_method_checks()


# Encoder


@check("encoder")
def test_encoder_shapes(submission: Submission) -> None:
    """Image rows (N, 784) go to features, and both heads to (N, Z), one image alone included."""
    vae_parts.expect_encoder_shapes(submission)


@check("encoder")
def test_heads_differ(submission: Submission) -> None:
    """The mean and the log-variance come from two separate layers."""
    vae_parts.expect_heads_differ(submission)


@check("encoder")
def test_heads_reach_both_signs(submission: Submission) -> None:
    """Means and log-variances can be negative as well as positive."""
    vae_parts.expect_heads_reach_both_signs(submission)


@check("encoder")
def test_encoder_sees_the_image(submission: Submission) -> None:
    """Different images get different means, and each row depends on its own image alone."""
    vae_parts.expect_encoder_sees_its_input(submission)


@check("encoder")
def test_encoder_layers_differ(submission: Submission) -> None:
    """Each layer of the encoder has weights of its own."""
    vae_parts.expect_layers_differ(submission, "encoder")


# Decoder


@check("decoder")
def test_decoder_shape(submission: Submission) -> None:
    """Codes (N, Z) become images (N, 1, 28, 28), one code alone included."""
    vae_parts.expect_decoder_shape(submission)


@check("decoder")
def test_decoder_range(submission: Submission) -> None:
    """Decoded pixels lie in [0, 1] and can be dark as well as bright."""
    vae_parts.expect_decoder_range(submission)


@check("decoder")
def test_decoder_uses_the_code(submission: Submission) -> None:
    """Another code gives another image, and each row depends on its own code alone."""
    vae_parts.expect_decoder_uses_its_input(submission)


@check("decoder")
def test_decoder_layers_differ(submission: Submission) -> None:
    """Each layer of the decoder has weights of its own."""
    vae_parts.expect_layers_differ(submission, "decoder")


@check("forward")
def test_forward_wiring(submission: Submission) -> None:
    """The image goes through encoder, heads, reparameterize and decoder, in training and after."""
    vae_parts.expect_forward(submission)


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
    headline=106.0,
)


@check("training")
def test_training_loss(submission: Submission) -> None:
    """Trained from scratch with your settings, the loss falls below 120 within 10 epochs."""
    expect_trained(submission, TASKS, PLAN)
