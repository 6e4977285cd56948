"""The tasks and checks of `05_structured_cvae`."""

from dataclasses import replace
from typing import Any

import torch

from autograder.checks.a05_structured_cvae.completion import (
    Completed,
    expect_new_codes,
    expect_prior_only,
    expect_samples,
)
from autograder.checks.a05_structured_cvae.quarters import QUARTER_MISTAKES, quarter
from autograder.checks.bounds import course_bounds
from autograder.checks.deformed import deformed_digits
from autograder.checks.shared import vae_parts
from autograder.checks.shared.answers import expect_like
from autograder.checks.shared.gaussian import MNIST_BOUNDS, bce, latent_size, vae_plan
from autograder.checks.shared.networks import (
    Part,
    logits_of,
    nonlinearity_checks,
    part_checks,
    range_checks,
)
from autograder.checks.shared.parts import (
    expect_call_keeps,
    expect_inputs_kept,
    images,
    new_model,
)
from autograder.checks.shared.repeats import expect_new_noise
from autograder.checks.shared.vae_methods import vae_method_checks
from autograder.checks.shared.widths import sizes_followed, width_checks
from autograder.checks.training import (
    TrainingSpec,
    expect_trained,
    fitting_parts,
    live_sentence,
    train_reference,
    training_checks,
)
from autograder.checks.vocabulary import (
    CheckFailed,
    Skipped,
    Task,
    check,
    expect,
    expect_close,
    expect_tensor,
)
from autograder.course.reference import load_reference
from autograder.protocol.remote import Raised, RemoteObject, Submission

EVIDENCE = Task("lower_left", 10, "The quarter", names=("lower_left",))
BASELINE = Task("baseline", 15, "Baseline")
TASKS = (
    EVIDENCE,
    Task("encoder", 5, "Encoder", parts=("encoder", "mu_layer", "logvar_layer")),
    Task("decoder", 5, "Decoder", parts=("decoder",)),
    Task("reparameterize", 5, "Reparameterization", parts=("reparameterize",)),
    Task("reconstruction", 5, "Reconstruction loss", parts=("loss_function",)),
    Task("kl_divergence", 5, "KL divergence", parts=("loss_function",), no_seed=False),
    Task(
        "forward",
        10,
        "Forward pass",
        parts=("forward",),
        uses=("encoder", "mu_layer", "logvar_layer", "reparameterize", "decoder"),
    ),
    BASELINE,
    Task("complete", 15, "Completion"),
    Task("same_capacity", 5, "Equal chances"),
    Task("training", 10, "Training, and the nearest of ten"),
)
QUARTER = 14 * 14
# The hidden features of a small baseline.
BASELINE_WIDTH = 40
SINGLE = (
    "`lower_left` works for several images, but not for a single one. Do you remove an axis of "
    "length 1, as `squeeze` does? A batch of one image has two of them."
)


# The quarter


@check("lower_left")
def test_quarter(submission: Submission) -> None:
    """Rows from H/2 and columns up to W/2, row by row, for any even H and W."""
    lower_left = submission.object("lower_left")
    for n, height, width in ((3, 28, 28), (1, 28, 28), (2, 8, 12), (4, 6, 2)):
        # All pixels differ, so no other part of the image equals the quarter.
        x = torch.randperm(n * height * width).float().view(n, 1, height, width)
        what = f"`lower_left` of {height} × {width} images"
        size = height * width // 4
        try:
            got = lower_left(x)
        except Raised as error:
            expect(n > 1, f"{SINGLE} Your code raised {error}", "single_image")
            raise
        expect(
            n > 1 or not isinstance(got, torch.Tensor) or tuple(got.shape) == (1, size),
            f"{SINGLE} Its shape should be {(1, size)}"
            + (f", got {tuple(got.shape)}." if isinstance(got, torch.Tensor) else "."),
            "single_image",
        )
        if isinstance(got, torch.Tensor) and tuple(got.shape) != (n, size):
            shape = tuple(got.shape)
            expect(
                shape != (n, 3 * size),
                f"{what} returns {3 * size} values each: everything except a quarter.",
                "complement",
            )
            expect(
                shape != (n, 2 * size),
                f"{what} returns {2 * size} values each: a half.",
                "half",
            )
            expect(
                got.numel() != n * size,
                f"{what} has shape {shape}. Flatten each quarter to a row: {(n, size)}.",
                "not_flattened",
            )
            exchanged = x[:, :, width // 2 :, : height // 2].flatten(1)
            expect(
                height == width or shape != tuple(exchanged.shape),
                f"{what} has shape {shape}, not {(n, size)}. Are height and width exchanged?",
                "height_and_width_exchanged",
            )
            expect(
                (height, width) == (28, 28),
                f"{what} has shape {shape}, not {(n, size)}. Read H and W from `x.shape`.",
                "hard_coded_size",
            )
        got = expect_tensor(got, (n, size), what)
        expect_close(got, quarter(x), what, (x,), QUARTER_MISTAKES)


@check("lower_left")
def test_quarter_leaves_images(submission: Submission) -> None:
    """The images that `lower_left` gets do not change."""
    expect_inputs_kept(submission, "lower_left", {"x": images(3)})


# The baseline


def new_baseline(submission: Submission, condition: int) -> RemoteObject:
    """Make a small baseline, in eval mode."""
    baseline = submission.new("BaselineNN", BASELINE_WIDTH, condition)
    baseline.eval()
    return baseline


def guessed(baseline: RemoteObject, c: torch.Tensor) -> torch.Tensor:
    """Call a baseline and expect images (N, 1, 28, 28)."""
    try:
        return _guessed(baseline, c)
    except Raised as error:
        submission = baseline.submission

        def works(hidden_dim: int, conditional_vec_dim: int) -> None:
            made = new_model(submission, "BaselineNN", hidden_dim, conditional_vec_dim)
            _guessed(made, torch.rand(2, conditional_vec_dim))

        sizes = {"hidden_dim": BASELINE_WIDTH, "conditional_vec_dim": c.shape[1]}
        if error.kind != "NotImplementedError":
            sizes_followed("baseline", submission, sizes, works)
        raise


def _guessed(baseline: RemoteObject, c: torch.Tensor) -> torch.Tensor:
    return expect_tensor(baseline(c), (len(c), 1, 28, 28), "`BaselineNN(…)(c)`")


BASELINE_PART = Part(
    "baseline",
    new_baseline,
    lambda baseline, c, _: guessed(baseline, c),
    lambda _, n, condition: torch.rand(n, condition),
    small=(QUARTER,),
    shapes=((1, QUARTER), (7, QUARTER), (4, 25)),
    row="quarter",
    gives=("image",),
    argument="c",
)


@check("baseline")
def test_baseline_gives_one_answer(submission: Submission) -> None:
    """The same quarter returns the same image every time: the baseline samples nothing."""
    baseline, c = new_baseline(submission, QUARTER), torch.rand(5, QUARTER)
    expect(
        torch.equal(guessed(baseline, c), guessed(baseline, c)),
        "`BaselineNN` returns another image for the same quarter. It should have no code and no "
        "noise: one image for each quarter.",
        "baseline_samples",
    )


def decoder_parameters(submission: Submission, model: RemoteObject) -> dict[str, torch.Tensor]:
    """Return the parameters of a model's decoder; of a method, those that it uses."""
    found = model.decoder.own_parameters()
    if found is not None:
        return found
    latent_dim = submission.value("latent_dim")
    expect(type(latent_dim) is int and 0 < latent_dim <= 10_000, "`latent_dim` is not filled in.")
    return model.decoder.used_parameters(torch.zeros(2, latent_dim + QUARTER))


@check("same_capacity")
def test_same_capacity(submission: Submission) -> None:
    """Your `baseline` has as many parameters as your model's decoder, within 10 %."""
    model, baseline_model = submission.object("model"), submission.object("baseline")
    model.give_sizes(images(2), torch.rand(2, QUARTER))
    baseline_model.give_sizes(torch.rand(2, QUARTER))
    own = model.parameters()
    decoder = sum(p.numel() for p in decoder_parameters(submission, model).values()) if own else 0
    baseline = sum(p.numel() for p in baseline_model.parameters().values())
    if not own or not baseline:
        raise CheckFailed("`model` or `baseline` has no trainable parameters yet.", todo=True)
    counts = [decoder]
    if "decoder" in submission.failed:
        # A wrong decoder may also have a wrong size; its points are lost already.
        sizes = [submission.value(name) for name in SPEC.sizes]
        reference = load_reference(submission.assignment)[SPEC.model](*sizes)
        counts.append(sum(p.numel() for p in reference.decoder.parameters()))
    expect(
        any(0.9 * count <= baseline <= 1.1 * count for count in counts),
        f"Your baseline has {baseline:,} trainable parameters and your decoder {decoder:,}. The "
        "difference should be at most 10 %, for a fair comparison.",
        "another_capacity",
    )


# Completion


RIGHT_QUARTER = """
def lower_left(x):
    return x[:, 0, x.shape[2] // 2 :, : x.shape[3] // 2].flatten(1)
"""


def complete(submission: Submission) -> RemoteObject:
    """Return the submission's `complete`, with a right `lower_left` if its own has failed."""
    if EVIDENCE.id in submission.failed:
        submission.run(RIGHT_QUARTER, "lower_left")
    return submission.object("complete")


def completed(submission: Submission, images_: int, n: int) -> Completed:
    """Call `complete` with a model made of known parts."""
    x = images(images_)
    return Completed.by(submission, complete(submission), x, quarter(x), n)


@check("complete")
def test_completion_shape(submission: Submission) -> None:
    """N images and n samples each return (N, n, 1, 28, 28), all with their image's quarter."""
    for images_, n in ((3, 4), (1, 5), (4, 1)):
        expect_samples(completed(submission, images_, n))


@check("complete")
def test_completion_draws_from_the_prior(submission: Submission) -> None:
    """Each sample has a new code from N(0, I) that does not depend on the covered part.

    Right codes fail with a probability below 6e-10; see `expect_prior_codes`.
    """
    expect_prior_only(completed(submission, 20, 200))
    expect_new_codes(*(completed(submission, 2, 3) for _ in range(2)))
    vae, _ = vae_parts.with_stubs(submission, QUARTER)
    expect_new_noise(complete(submission), vae, images(3), 2, name="complete")


@check("complete")
def test_completion_leaves_images(submission: Submission) -> None:
    """The images that `complete` gets do not change."""
    vae, _ = vae_parts.with_stubs(submission, QUARTER)
    inputs = {"model": vae, "x": images(3), "n": 2}
    expect_call_keeps(submission, complete(submission), "complete", inputs)


# Training, and the comparison of model and baseline


BOUNDS = course_bounds(__name__, **MNIST_BOUNDS, baseline_below=125.0, baseline_below_new=170.0)
SPEC = vae_plan(
    lambda x: (quarter(x),),
    sizes=("hidden_dim", "latent_dim", "conditional_vec_dim"),
    to_the_end=True,
    **{name: BOUNDS[name] for name in MNIST_BOUNDS},
)
DRAWS = 10
# The next two bounds are at least four standard deviations below the mean of right models; see
# `docs/calibration.md`. They are of the baseline's error / that of the nearest of ten samples, and
# of the mean squared distance of an image's samples from their mean.
LEAST_GAIN = 0.8
LEAST_SPREAD = 1.0
BASELINE_PLAN = TrainingSpec(
    model="BaselineNN",
    data="mnist",
    epochs=BOUNDS["epochs"],
    below=BOUNDS["baseline_below"],
    unit="nats per image",
    batch=lambda x, labels: (x,),
    loss=lambda batch, x_hat: bce(x_hat, batch[0]),
    confirm=lambda baseline, x: bce(baseline(quarter(x)), x),
    new_images=deformed_digits,
    below_new=BOUNDS["baseline_below_new"],
    untrained=175.0,
    confirmed="With quarters that the grader computes",
    sizes=("hidden_dim", "conditional_vec_dim"),
    to_the_end=True,
    step="baseline_step",
    names=("baseline", "baseline_optimizer"),
    losses="baseline_losses",
    measure=lambda baseline, trained: _compared(trained["myVAE"], baseline),
    least={"gain": LEAST_GAIN, "spread": LEAST_SPREAD},
)


@check(
    "training",
    live=live_sentence(BASELINE_PLAN, "the baseline's loss"),
    says="Trained from scratch with your settings, the baseline's loss falls below "
    f"{BASELINE_PLAN.below:g}.",
)
def test_baseline_loss(submission: Submission) -> None:
    """Train the baseline; its loss must fall below the bound."""
    if BASELINE.id in submission.failed:
        submission.kept["baseline"] = train_reference(submission, BASELINE_PLAN)
        return
    tasks = (EVIDENCE, replace(BASELINE, parts=("forward",)))
    submission.kept["baseline"] = expect_trained(submission, tasks, BASELINE_PLAN)


@check("training")
def test_nearest_of_ten(submission: Submission) -> None:
    """On test images, the nearest of ten samples is about as near as the baseline, or nearer."""
    if not submission.train:
        raise Skipped
    if not {"model", "baseline"} <= set(submission.kept):
        raise CheckFailed("This check runs after both losses are reached.", todo=True)
    found = _compared(submission.kept["model"], submission.kept["baseline"])
    submission.facts.update({name: round(value, 2) for name, value in found.items()})
    expect(
        found["spread"] > LEAST_SPREAD,
        f"The {DRAWS} samples of one image are almost the same: their squared distance from their "
        f"mean is {found['spread']:.2f}. The decoder has not learned to use its code.",
        "samples_alike",
    )
    expect(
        found["gain"] >= LEAST_GAIN,
        f"The nearest of {DRAWS} samples has a squared error of {found['nearest']:.1f} (mean over "
        f"the test images), and the baseline {found['baseline']:.1f}. It should be at most "
        f"{1 / LEAST_GAIN:g} × that of the baseline.",
        "baseline_wins",
    )


def _compared(model: Any, baseline: Any) -> dict[str, float]:
    """Compare the samples of a trained model with a trained baseline, on test images.

    Returns:
        The mean squared errors "nearest" and "baseline", "gain", the second one / the first one,
        and "spread", the samples' mean squared distance from their mean.
    """
    from vae_utils import load_dataset

    held_out = load_dataset("mnist", train=False, source="embedded", quiet=True)
    x = held_out.images.float() / 255
    parts = zip(*(_compete(model, baseline, part) for part in x.split(200)), strict=True)
    nearest, spread, guess = (torch.cat(part).mean().item() for part in parts)
    return {"nearest": nearest, "baseline": guess, "gain": guess / nearest, "spread": spread}


def _compete(
    model: Any, baseline: Any, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the squared error of the nearest sample, the samples' variation and the baseline's."""
    c = quarter(x)
    with torch.no_grad(), fitting_parts(model), fitting_parts(baseline):
        for one in (model, baseline):
            one.eval()
        latent_dim = latent_size(model, x[:2], c[:2])
        rows = c.repeat_interleave(DRAWS, 0)
        decoded = model.decoder(torch.cat([torch.randn(len(rows), latent_dim), rows], 1))
        like = x.repeat_interleave(DRAWS, 0)
        samples = expect_like(decoded, like, "the sample").reshape(len(x), DRAWS, -1)
        guess = expect_like(baseline(c), x, "the baseline's image").flatten(1)
        for one in (model, baseline):
            one.train()
    truth = x.flatten(1)
    errors = (samples - truth[:, None]).square().sum(2)
    variation = (samples - samples.mean(1, keepdim=True)).square().sum(2).mean(1)
    return errors.min(1).values, variation, (guess - truth).square().sum(1)


FAMILIES = (
    vae_parts.vae_checks((QUARTER, 3)),
    *vae_method_checks(),
    vae_parts.forward_checks(
        "[x, c] goes to the encoder and [z, c] to the decoder, in training and in eval mode.",
        lambda n: (torch.rand(n, QUARTER),),
    ),
    part_checks(
        BASELINE_PART,
        "Quarters (N, C) become images (N, 1, 28, 28), for any C, also for a single quarter.",
        detached="detached",
        own_layers="",
    ),
    range_checks(BASELINE_PART),
    width_checks(
        "baseline",
        lambda submission, hidden: new_model(submission, "BaselineNN", hidden, QUARTER),
        "",
        lambda: torch.rand(2, QUARTER),
    ),
    nonlinearity_checks(BASELINE_PART, 3, logits_of, 1e-3),
    training_checks(TASKS, SPEC, loss="the CVAE's loss"),
)
