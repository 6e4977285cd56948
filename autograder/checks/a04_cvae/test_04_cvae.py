"""The tasks and checks of `04_cvae`."""

from typing import Any

import torch

from autograder.checks.a04_cvae import digits
from autograder.checks.bounds import course_bounds
from autograder.checks.shared import vae_parts
from autograder.checks.shared.gaussian import MNIST_BOUNDS, latent_size, vae_plan
from autograder.checks.shared.networks import budget_checks
from autograder.checks.shared.parts import images
from autograder.checks.shared.vae_methods import vae_method_checks
from autograder.checks.training import fitting_parts, training_checks
from autograder.checks.vocabulary import (
    CheckFailed,
    Skipped,
    Task,
    check,
    expect,
    expect_tensor,
    fail,
)
from autograder.protocol.remote import Raised, Submission

TASKS = (
    Task("one_hot", 10, "One-hot vectors", names=("one_hot",)),
    Task("encoder", 10, "Encoder", parts=("encoder", "mu_layer", "logvar_layer")),
    Task("decoder", 10, "Decoder", parts=("decoder",)),
    Task("reparameterize", 5, "Reparameterization", parts=("reparameterize",)),
    Task("reconstruction", 5, "Reconstruction loss", parts=("loss_function",)),
    Task("kl_divergence", 5, "KL divergence", parts=("loss_function",), no_seed=False),
    Task(
        "forward",
        20,
        "Forward pass",
        parts=("forward",),
        uses=("encoder", "mu_layer", "logvar_layer", "reparameterize", "decoder"),
    ),
    Task("unconditional", 5, "Without a condition"),
    Task("parameter_budget", 5, "Parameter budget"),
    Task("training", 15, "Training, and digits on demand"),
)
CLASSES = 10
BOUNDS = course_bounds(__name__, **MNIST_BOUNDS, budget=1_500_000)


# One-hot vectors


def eye_rows(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Return one-hot rows, (N, C)."""
    return torch.eye(num_classes)[labels]


@check("one_hot")
def test_one_hot_shape(submission: Submission) -> None:
    """Labels (N,) become rows (N, C), also if a batch does not contain every class."""
    one_hot = submission.object("one_hot")
    for labels, num_classes in (([3, 0, 3], 10), ([9], 10), ([1, 0, 1, 2, 0], 7), ([0, 1], 2)):
        n = len(labels)
        got = one_hot(torch.tensor(labels), num_classes)
        shape = tuple(got.shape) if isinstance(got, torch.Tensor) else None
        if shape is not None and shape != (n, num_classes):
            expect(
                shape not in ((n,), (n, 1)),
                "`one_hot` returns one number for each label. Classes have no order: use one "
                "column for each class.",
                "condition_as_number",
            )
            expect(
                shape != (num_classes, n),
                f"`one_hot` returns {shape}: one column for each label. It should be one row.",
                "one_hot_transposed",
            )
            expect(
                shape not in ((n, max(labels) + 1), (n, len(set(labels)))),
                f"For the labels {labels} and {num_classes} classes `one_hot` returns shape "
                f"{shape}: not every batch contains every class.",
                "classes_from_batch",
            )
        expect_tensor(got, (n, num_classes), f"`one_hot(labels, {num_classes})`")


@check("one_hot")
def test_one_hot_values(submission: Submission) -> None:
    """Each row contains a single one, in the column of its own label."""
    labels = torch.tensor([4, 7, 0, 9, 4, 2])
    got = expect_tensor(submission.object("one_hot")(labels, 10), (6, 10), "`one_hot(labels, 10)`")
    right = eye_rows(labels, 10).double()
    if torch.equal(got, right):
        return
    known = (
        (1 - right, "one_hot_inverted", "Ones and zeros are swapped."),
        (right.roll(-1, 1), "one_hot_shifted", "The ones are off by one: labels start at 0."),
        (right.roll(1, 1), "one_hot_shifted", "The ones are off by one: labels start at 0."),
        (right[labels.argsort()], "conditions_out_of_order", "The rows are sorted by label."),
        (right.flip(0), "conditions_out_of_order", "The rows are in another order."),
        (right * labels[:, None], "one_hot_label_value", "Your rows contain the label, not a 1."),
    )
    for wrong, mistake, says in known:
        expect(not torch.equal(got, wrong), f"{says} Row i belongs to label i.", mistake)
    row = int((got != right).any(1).nonzero()[0])
    fail(f"For the label {int(labels[row])} the row is {got[row].tolist()}.")


@check("one_hot")
def test_one_hot_fits_the_model(submission: Submission) -> None:
    """Your model's `forward` accepts the output of `one_hot`."""
    x, labels = images(3), torch.tensor([1, 5, 5])
    c = submission.object("one_hot")(labels, CLASSES)
    try:
        vae = vae_parts.new_vae(submission, condition=CLASSES)
        vae(x, eye_rows(labels, CLASSES))
    except Raised:
        return  # `forward` fails for every condition; the checks of its own task report this.
    expect_tensor(c, (3, CLASSES), f"`one_hot(labels, {CLASSES})`")
    try:
        vae(x, c)
    except Raised as error:
        fail(f"`forward` cannot use the output of `one_hot`, {c.dtype}: {error}", "one_hot_dtype")


# Forward


def distinct_labels(n: int) -> tuple[torch.Tensor]:
    """Make one-hot conditions of n different classes, (n, 10)."""
    return (eye_rows(torch.randperm(CLASSES)[:n], CLASSES),)


@check("unconditional")
def test_forward_without_condition(submission: Submission) -> None:
    """With C = 0, `forward(x)` works as in assignment 03: encoder and decoder get x and z alone."""
    vae, _ = vae_parts.with_stubs(submission)
    x = images(4)
    try:
        vae(x)
    except Raised:
        conditional, _ = vae_parts.with_stubs(submission, CLASSES)
        conditional(x, *distinct_labels(4))
        fail(
            "With `conditional_vec_dim = 0` there is nothing to join: `forward(x)` is called with "
            "c = None. It should work as in assignment 03.",
            "condition_required",
        )
    # The values of the images are tested in the task `forward`, which also loses if it never calls
    # the decoder.
    seen, codes = vae.encoder.seen(), vae.decoder.seen()
    expect(
        len(seen) == 4 and seen[0].numel() == 784,  # images, if the encoder flattens them
        "Without a condition the encoder should get 784 pixels a row and no other values.",
    )
    expect(
        codes.shape == (4, vae_parts.LATENTS)
        or (not len(codes) and "forward" in submission.failed),
        "Without a condition the decoder should get Z numbers a row and no other values.",
    )


# The whole model


# More than four standard deviations below the mean of right models, trained on the embedded digits;
# see `docs/calibration.md`.
AGREEMENT = 0.55
SPEC = vae_plan(
    lambda x, labels: (eye_rows(labels, CLASSES),),
    batch=lambda x, labels: (x, labels),
    sizes=("hidden_dim", "latent_dim", "conditional_vec_dim"),
    to_the_end=True,
    labelled=True,
    **BOUNDS,
    measure=lambda model, _: {"agreement": agreement(model).mean().item()},
    least={"agreement": AGREEMENT},
)
SAMPLES = 2000


@check("training")
def test_digits_on_demand(submission: Submission) -> None:
    """Of the trained model's digits, 55 % are recognised as the class that the decoder got.

    The judge's classifier recognises them; see `digits.classifier`. `docs/calibration.md` has the
    shares of right models. A model whose true share is 0.625 falls below 0.55 in 2,000 samples with
    a probability below 1e-10.
    """
    if not submission.train:
        raise Skipped
    if "model" not in submission.kept:
        raise CheckFailed("This check runs after the training loss is reached.", todo=True)
    by_digit = agreement(submission.kept["model"])
    overall, worst = by_digit.mean().item(), int(by_digit.argmin())
    submission.facts["agreement"] = round(overall, 4)
    ignored = overall < 0.2
    expect(
        overall >= AGREEMENT,
        f"{overall:.0%} of the samples are recognised as the class that the decoder got; it should "
        f"be {AGREEMENT:.0%}. The worst digit is {worst}, with {by_digit[worst]:.0%}. "
        + (
            "The decoder almost ignores its condition."
            if ignored
            else "The code still contains the class, so the decoder needs c only a little."
        ),
        "condition_ignored" if ignored else "class_in_code",
    )


def agreement(model: Any) -> torch.Tensor:
    """Return the share of samples that the classifier recognises as their class, (10,)."""
    labels = torch.arange(SAMPLES) % CLASSES
    right = (digits.read(draw(model, labels)) == labels).double()
    return right.reshape(-1, CLASSES).mean(0)


def draw(model: Any, labels: torch.Tensor) -> torch.Tensor:
    """Decode samples of the prior with labels, (N, 1, 28, 28)."""
    c = eye_rows(labels, CLASSES)
    with torch.no_grad(), fitting_parts(model):
        model.eval()
        latent_dim = latent_size(model, images(2), c[:2])
        x = model.decoder(torch.cat([torch.randn(len(c), latent_dim), c], 1))
        model.train()
    return expect_tensor(x, (len(c), 1, 28, 28), "`decoder([z, c])`")


FAMILIES = (
    vae_parts.vae_checks((CLASSES, 3, 0)),
    *vae_method_checks(),
    vae_parts.forward_checks(
        "[x, c] goes to the encoder and [z, c] to the decoder, in training and in eval mode.",
        distinct_labels,
    ),
    budget_checks(BOUNDS["budget"], vae_parts.PARTS, lambda: (images(2), torch.eye(10)[:2])),
    training_checks(TASKS, SPEC),
)
