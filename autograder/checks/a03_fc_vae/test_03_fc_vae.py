"""The tasks and checks of `03_fc_vae`."""

from autograder.checks.bounds import course_bounds
from autograder.checks.shared import vae_parts
from autograder.checks.shared.gaussian import MNIST_BOUNDS, vae_plan
from autograder.checks.shared.networks import budget_checks
from autograder.checks.shared.vae_methods import vae_method_checks
from autograder.checks.training import training_checks
from autograder.checks.vocabulary import Task

TASKS = (
    Task("encoder", 15, "Encoder", parts=("encoder", "mu_layer", "logvar_layer")),
    Task("decoder", 10, "Decoder", parts=("decoder",)),
    Task("reparameterize", 15, "Reparameterization", parts=("reparameterize",)),
    Task("reconstruction", 10, "Reconstruction loss", parts=("loss_function",)),
    Task("kl_divergence", 15, "KL divergence", parts=("loss_function",), no_seed=False),
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


BOUNDS = course_bounds(__name__, **MNIST_BOUNDS, budget=1_500_000)
SPEC = vae_plan(headline=106.0, **BOUNDS)


FAMILIES = (
    vae_parts.vae_checks(),
    *vae_method_checks(),
    vae_parts.forward_checks(
        "The image goes through encoder, mu_layer and logvar_layer, reparameterize and decoder, in "
        "training and in eval mode."
    ),
    budget_checks(BOUNDS["budget"], vae_parts.PARTS),
    training_checks(TASKS, SPEC),
)
