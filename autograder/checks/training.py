"""Training tasks: train a submission's model within a budget and recompute every loss.

The judge never uses a loss that the submission reports. The worker trains with the notebook's own
`train_step` and streams the outputs of each step. The judge computes the loss from them, on its own
copy of the data. If the task of a part has failed, the reference's part replaces it: that part runs
in the judge, the submission's parts stay in the worker, and gradients pass between them as arrays.

The streamed outputs only decide when training ends. The trained model is then confirmed in fresh
workers; see `checks.confirmation`.
"""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autograder.checks.confirmation import State, apart, trained_state
from autograder.checks.evaluate import is_out_of_memory
from autograder.checks.shared.networks import Checks, named_check
from autograder.checks.stand_ins import define_missing
from autograder.checks.vocabulary import (
    CheckFailed,
    Skipped,
    Task,
    expect,
    expect_whole_number,
)
from autograder.course.locate import CourseError
from autograder.course.reference import load_reference, run_reference
from autograder.course.settings import EMBEDDED, FULL, course_file
from autograder.protocol.fused import fuse
from autograder.protocol.remote import RemoteObject, Submission
from autograder.records.text import printable

CHUNK = 1000
# A live notebook needs an answer within a second, so it uses an estimate on these images.
NOTEBOOK_IMAGES = 3000
# Training images on which a trained model is confirmed, a random subset.
CONFIRMED_IMAGES = 2000
TEST_IMAGES = 1000
# The factor by which their loss may be larger after an epoch that has passed.
SLACK = 1.05
# Batches that are measured in each epoch but the last.
MEASURED = 16
# Images on which an untrained model is measured.
UNTRAINED_IMAGES = 500


@dataclass(frozen=True)
class TrainingSpec:
    """The training spec of a task with a loss threshold.

    Attributes:
        model: The name of the graded class.
        data: The name of the data set in `vae_utils.load_dataset`.
        epochs: The largest allowed number of epochs.
        below: The loss threshold.
        unit: The loss's unit, for messages.
        batch: Computes the inputs of `train_step`, from images (N, C, H, W) in [0, 1] and labels
            (N,).
        loss: Computes the mean loss per image of a batch, from these inputs and from what
            `train_step` returned after its first value.
        confirm: Computes the loss again from a trained model and images, through the bottleneck
            only.
        new_images: Makes images that no submission can know, from test images.
        below_new: The bound for the loss of these images; see `docs/calibration.md`.
        untrained: A loss that no untrained model reaches: that of the best constant image.
        sizes: The notebook's variables that are the arguments of the class.
        task: The task's id.
        confirmed: How `confirm` computes it, for messages.
        digits: Decimals of a loss in messages.
        images: The number of training images to use, a random subset; 0 for all.
        calls: How the reference calls a part of the submission that may take its input in more
            than one form: a function of the part and the arguments, by the part's name.
        below_full: The loss threshold for the full set, if it differs from the embedded set's.
        to_the_end: True if training uses all epochs of the submission, because later checks use the
            trained model. Otherwise training ends with the first epoch that passes.
        labelled: True if `confirm` takes the labels of the images too.
        step: The name of the notebook's function for one training step.
        names: The notebook's variables for the model and for the optimizer.
        losses: The notebook's variable for the loss of each epoch.
        measure: Computes more numbers, by name, for the calibration table: from a trained model,
            and from the trained models of the assignment's earlier specs, by class.
        least: The smallest value of each of these numbers that passes its check, by name.
        data_full: The data set of the full profile, if it is another one.
        headline: The loss that the reference should reach on the test images of the full set.
        remark: Why the reference does not reach it; printed below the calibration table.
        decoding: The parts of the model that decode; the worker that has them sees no image.
        budget: The largest allowed number of trainable parameters; 0 for no limit.
        code: The largest number of values of a code, for a model whose codes are not sampled; None
            for no limit. `confirm` then takes it as `most`.
        source: The data set to train with: "embedded" or "full".
    """

    model: str
    data: str
    epochs: int
    below: float
    unit: str
    batch: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]
    loss: Callable[..., torch.Tensor]
    confirm: Callable[..., torch.Tensor]
    new_images: Callable[[torch.Tensor], torch.Tensor]
    below_new: float
    untrained: float
    sizes: tuple[str, ...] = ("hidden_dim", "latent_dim")
    task: str = "training"
    confirmed: str = (
        "With codes sampled from your model's own mu and logvar, and decoded by your decoder"
    )
    digits: int = 1
    images: int = 0
    calls: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    below_full: float | None = None
    to_the_end: bool = False
    labelled: bool = False
    step: str = "train_step"
    names: tuple[str, str] = ("model", "optimizer")
    losses: str = "train_losses"
    measure: Callable[[Any, Mapping[str, Any]], dict[str, float]] | None = None
    least: Mapping[str, float] = field(default_factory=dict)
    data_full: str = ""
    headline: float = math.nan
    remark: str = ""
    decoding: tuple[str, ...] = ("decoder",)
    budget: int = 0
    code: Callable[[Submission], int | None] | None = None
    source: str = EMBEDDED

    def threshold(self, source: str) -> float:
        """Return the loss threshold for the "full" or the "embedded" set."""
        return self.below_full if source == "full" and self.below_full else self.below


def expect_useful_thresholds(specs: Iterable[TrainingSpec], file: Path) -> None:
    """Expect thresholds that no untrained model passes, or none at all (infinity).

    Args:
        specs: The training specs of an assignment.
        file: The course file, which can set the thresholds.

    Raises:
        CourseError: If a threshold is larger.
    """
    for spec in specs:
        if spec.untrained <= spec.below < math.inf:
            raise CourseError(
                f"{file}: the bound `below` of the model {spec.model} is {spec.below:g}; expected "
                f"less than {spec.untrained:g}, because untrained models can have this loss."
            )


def expect_trained(submission: Submission, tasks: Sequence[Task], spec: TrainingSpec) -> Any:
    """Expect that training reaches the threshold.

    In a live notebook, the existing model is measured. When graded, a new model is trained.

    Returns:
        The trained model: the submission's own, or the reference's with the submission's parts.

    Raises:
        CheckFailed: If it does not, or the settings are not filled in.
        Skipped: If the submission is graded without training.
    """
    settings = _settings(submission, spec)
    if not submission.train:
        raise Skipped
    spec = _with_course_data(submission, spec)
    define_missing(submission, tasks, submission.failed, spec.names[0])
    if spec.code:
        spec = replace(spec, confirm=partial(spec.confirm, most=spec.code(submission)))
    x, labels = training_images(spec)
    if submission.in_notebook:
        model: Any = submission.object(spec.names[0])
        _expect_epochs(submission, spec, settings)
        _confirm(model, x[:NOTEBOOK_IMAGES], labels[:NOTEBOOK_IMAGES], spec, spec.below)
        return model
    _make_anew(submission, tasks, spec, x, labels)
    model = _train(submission, tasks, spec, settings, spec.batch(x, labels))
    model = _in_fresh_workers(submission, tasks, model, spec)
    rows = torch.randperm(len(x))[:CONFIRMED_IMAGES]
    # After an epoch that has passed, one noisy last step must not fail; a leak is far above this.
    _confirm(model, x[rows], labels[rows], spec, spec.below * SLACK)
    _confirm_on_new_images(submission, model, spec)
    return model


def training_checks(
    tasks: Sequence[Task],
    spec: TrainingSpec,
    *,
    loss: str = "the loss",
    limit: str = "",
    within: str = "",
) -> Checks:
    """Make the check that training reaches the threshold; keep the trained model under its name.

    Args:
        tasks: All tasks of the assignment.
        spec: The training spec.
        loss: The name of the loss in the check's sentence.
        limit: Text after the threshold in the sentence, such as " bits".
        within: Text for the time limit; by default " within … epochs".
    """
    falls = f"{loss} falls below {spec.below:g}{limit}{within or f' within {spec.epochs} epochs'}"

    sentence = f"Trained from scratch with your settings, {falls}."

    @named_check(spec.task, "training_loss", sentence, live_sentence(spec, loss, limit))
    def reached(submission: Submission) -> None:
        submission.kept[spec.names[0]] = expect_trained(submission, tasks, spec)

    return (reached,)


def live_sentence(spec: TrainingSpec, loss: str, limit: str = "") -> str:
    """Return the sentence of a training check in a live notebook, which does not train."""
    return (
        f"The `{spec.names[0]}` in this notebook, trained for at most `n_epochs` epochs: {loss} is "
        f"below {spec.below:g}{limit}."
    )


def train_reference(submission: Submission, spec: TrainingSpec) -> nn.Module:
    """Train the reference's model with the number of epochs of the submission's settings.

    It replaces a model that cannot be trained, where another model is compared with it.
    """
    settings = _settings(submission, spec)
    if not submission.train:
        raise Skipped
    spec = _with_course_data(submission, spec)
    names = run_reference(submission.assignment)
    model, optimizer, step = (names[name] for name in (*spec.names, spec.step))
    batch = spec.batch(*training_images(spec))
    generator = torch.Generator().manual_seed(0)
    for _ in range(settings["n_epochs"]):
        for _step in steps(step, model, optimizer, batch, names["batch_size"], generator):
            pass
    return model


def _with_course_data(submission: Submission, spec: TrainingSpec) -> TrainingSpec:
    """Return the spec with the data set of the course file; a notebook's check needs few images."""
    data = EMBEDDED if submission.in_notebook else course_file().of(submission.assignment).data
    return replace(spec, source=data)


def _train(
    submission: Submission,
    tasks: Sequence[Task],
    spec: TrainingSpec,
    settings: dict[str, int],
    batch: tuple[torch.Tensor, ...],
) -> Any:
    """Train from scratch and expect an epoch below the threshold; return the model.

    The loss of an epoch is the mean over some of its batches, since this saves time and the trained
    model is measured again. The loss of the last epoch is exact: no right model misses the
    threshold by the choice of the batches.
    """
    own, model, epochs = _prepare(submission, tasks, spec, settings)
    before = submission.object(spec.names[0]).parameters()
    losses: list[float] = []
    submission.facts.update(
        training_losses=losses, below=spec.below, unit=spec.unit, curve_of=spec.task
    )
    last = min(spec.epochs, settings["n_epochs"]) - 1
    for epoch in range(last + 1):
        losses.append(epoch_loss(epochs(batch, MEASURED if epoch < last else 0), spec))
        if not math.isfinite(losses[-1]):
            raise CheckFailed(f"In epoch {len(losses)} the loss is no longer a finite number.")
        if losses[-1] < spec.below and not spec.to_the_end:
            break
    shown = [shown_loss(loss, spec.digits) for loss in losses]
    unchanged = "" if min(losses) < spec.below else _unchanged(submission, tasks, spec, before)
    expect(
        min(losses) < spec.below,
        f"{unchanged}After {len(losses)} epochs the training loss is {shown[-1]} "
        f"{spec.unit}; it should be below {spec.below:g}. Losses of all epochs: "
        f"{', '.join(shown)}.",
        "parameters_not_trained" if unchanged else None,
    )
    return own if own is not None else model


def _unchanged(
    submission: Submission, tasks: Sequence[Task], spec: TrainingSpec, before: State
) -> str:
    """Return a sentence about the parts of a model that training has not changed; "" for none.

    Args:
        submission: The submission.
        tasks: All tasks of the assignment.
        spec: The training spec.
        before: The model's trainable parameters before the training, by name.
    """
    after = submission.object(spec.names[0]).parameters()
    replaced = _failed(submission, tasks)
    changed: dict[str, bool] = {}
    for name, value in before.items():
        part = name.partition(".")[0]
        same = name in after and torch.equal(after[name], value)
        changed[part] = changed.get(part, False) or not same
    own = {part: moved for part, moved in changed.items() if part not in replaced}
    still = [part for part, moved in own.items() if not moved]
    if not still:
        return ""
    model, optimizer = (f"`{printable(name, 60)}`" for name in spec.names)
    everything = len(still) == len(own)
    what = model if everything else ", ".join(f"`{printable(part, 60)}`" for part in still[:8])
    return (
        f"Training has changed no parameter of {what}"
        + ("" if everything else f" in {model}")
        + f". Does {optimizer} contain these parameters, and is its learning rate larger than 0? "
    )


def _settings(submission: Submission, spec: TrainingSpec) -> dict[str, int]:
    settings = {}
    for name in ("batch_size", "n_epochs"):
        value = expect_whole_number(submission.value(name), name)
        expect(1 <= value <= 100_000, f"`{name}` is {value}; it should be at least 1.")
        settings[name] = value
    expect(
        settings["n_epochs"] <= spec.epochs,
        f"`n_epochs` is {settings['n_epochs']}; the budget is {spec.epochs} epochs.",
        "too_many_epochs",
    )
    return settings


def training_images(spec: TrainingSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the training images (N, C, H, W) in [0, 1] and their labels (N,)."""
    return _images(spec, 0 if spec.source == FULL else spec.images, train=True)


def confirmation_images(spec: TrainingSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Return new images (N, C, H, W) in [0, 1], made from test images, and their labels (N,)."""
    x, labels = _images(spec, TEST_IMAGES, train=False)
    return spec.new_images(x), labels


def _images(spec: TrainingSpec, most: int, *, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return at most this many images, a random subset, and their labels; 0 for all images."""
    from vae_utils import load_dataset

    data = spec.data_full if spec.source == FULL and spec.data_full else spec.data
    found = load_dataset(data, train=train, source=spec.source, quiet=True)
    found = found.subset(most) if 0 < most < len(found) else found
    return found.images.float() / 255, found.labels


def _expect_epochs(submission: Submission, spec: TrainingSpec, settings: dict[str, int]) -> None:
    """Expect that the live model had at most the epochs of the settings, all of its runs together.

    The grader trains a new model for these epochs.
    """
    done = submission.value(spec.losses)
    count = len(done) if isinstance(done, tuple) else 0
    expect(count > 0, f"`{spec.losses}` is empty: run the training cell first.")
    expect(count <= spec.epochs, f"Training took {count} epochs; the budget is {spec.epochs}.")
    updates, images = submission.updates(spec.names[0]), submission.length("train_set")
    most = settings["n_epochs"] * math.ceil((images or 0) / settings["batch_size"])
    expect(
        not images or updates <= most,
        f"`{spec.names[0]}` has been updated {updates:,} times, but `n_epochs` epochs have only "
        f"{most:,} updates. Was it trained more than once? The grader trains a new model once. Run "
        "the cell with your settings again, which makes a new model, and then train it once.",
        "trained_twice",
    )


# One epoch, in the worker or in the judge


def _failed(submission: Submission, tasks: Sequence[Task]) -> set[str]:
    """Return the parts and names of the tasks that have failed."""
    lost = [task for task in tasks if task.id in submission.failed]
    return {part for task in lost for part in (*task.parts, *task.names)}


# One epoch, on some columns of data; with the number of batches to measure, or 0 for all.
Epochs = Callable[[tuple[torch.Tensor, ...], int], Iterator[tuple[tuple[torch.Tensor, ...], Any]]]


def _prepare(
    submission: Submission, tasks: Sequence[Task], spec: TrainingSpec, settings: dict[str, int]
) -> tuple[RemoteObject | None, nn.Module | None, Epochs]:
    """Choose where to train: in the worker, or in both processes with the reference's parts."""
    failed = _failed(submission, tasks)
    generator = torch.Generator().manual_seed(0)
    size = settings["batch_size"]
    submission.fuse(spec.names[1])

    if not failed:

        def own_epoch(batch: tuple[torch.Tensor, ...], measured: int) -> Iterator[Any]:
            order = torch.randperm(len(batch[0]), generator=generator)
            batches = order.split(size)
            every = max(1, len(batches) // measured) if measured else 1
            names, data = list(spec.names), list(batch)
            answers = submission.epoch(spec.step, names, data, order, size, every)
            for rows, returned in zip(batches[::every], answers, strict=True):
                yield tuple(column[rows] for column in batch), returned

        return submission.object(spec.names[0]), None, own_epoch

    reference = load_reference(submission.assignment)
    model = _hybrid(submission, tasks, spec, failed, submission.object(spec.names[0]))
    optimizer = _Pair(submission.object(spec.names[1]), list(model.parameters()))
    step = reference[spec.step]

    def mixed_epoch(batch: tuple[torch.Tensor, ...], _: int) -> Iterator[Any]:
        with fitting_parts(model):
            yield from steps(step, model, optimizer, batch, size, generator)

    return None, model, mixed_epoch


def steps(
    step: Callable[..., Any],
    model: Any,
    optimizer: Any,
    batch: tuple[torch.Tensor, ...],
    size: int,
    generator: torch.Generator,
) -> Iterator[tuple[tuple[torch.Tensor, ...], Any]]:
    """Run the steps of one epoch here, in a random order; yield each batch and its outputs."""
    for rows in torch.randperm(len(batch[0]), generator=generator).split(size):
        part = tuple(column[rows] for column in batch)
        yield part, step(model, optimizer, *part)


def shown_loss(loss: float, digits: int) -> str:
    """Format a loss; a huge one, of a training that diverges, without its meaningless digits."""
    return f"{loss:.{digits}f}" if abs(loss) < 1e6 else f"{loss:.3g}"


def epoch_loss(taken: Iterator[Any], spec: TrainingSpec) -> float:
    """Return the mean loss per image over the given batches of an epoch, computed by the judge."""
    total, images = 0.0, 0
    for batch, returned in taken:
        outputs = tuple(returned[1:]) if isinstance(returned, tuple) else ()
        total += float(_loss(spec, batch, outputs)) * len(batch[0])
        images += len(batch[0])
    return total / images


def _loss(
    spec: TrainingSpec, batch: tuple[torch.Tensor, ...], outputs: tuple[Any, ...]
) -> torch.Tensor:
    if not all(isinstance(t, torch.Tensor) and len(t) == len(batch[0]) for t in outputs):
        raise CheckFailed("During training, `forward` does not return one row for each image.")
    if not all(bool(torch.isfinite(t).all()) for t in outputs):
        return torch.tensor(math.nan)
    # `detach` ends the graph: the step has already used it.
    detached = [t.detach().float() for t in outputs]
    try:
        inspect.signature(spec.loss).bind(batch, *detached)
    except TypeError:
        raise CheckFailed(
            f"During training, `{spec.step}` returns {len(detached)} tensors after the loss, "
            "which is not their number."
        ) from None
    return spec.loss(batch, *detached)


def mean_confirmed(model: Any, x: torch.Tensor, labels: torch.Tensor, spec: TrainingSpec) -> float:
    """Return the mean loss per image of a trained model, computed by the judge alone."""
    columns = (x, labels) if spec.labelled else (x,)
    with torch.no_grad(), fitting_parts(model):
        model.eval()
        parts = zip(*(column.split(CHUNK) for column in columns), strict=True)
        total = sum(float(spec.confirm(model, *part)) * len(part[0]) for part in parts)
        model.train()
    return total / len(x)


def _confirm(
    model: Any, x: torch.Tensor, labels: torch.Tensor, spec: TrainingSpec, below: float
) -> None:
    loss = mean_confirmed(model, x, labels, spec)
    shown = shown_loss(loss, spec.digits)
    expect(
        math.isfinite(loss) and loss < below,
        f"{spec.confirmed}, the loss is {shown} {spec.unit}; it should be below {spec.below:g}.",
    )


def _confirm_on_new_images(submission: Submission, model: Any, spec: TrainingSpec) -> None:
    """Expect a small loss on images that the model's code cannot contain."""
    loss = mean_confirmed(model, *confirmation_images(spec), spec)
    submission.facts["new_images"] = round(loss, spec.digits + 1)
    shown = shown_loss(loss, spec.digits)
    expect(
        math.isfinite(loss) and loss < spec.below_new,
        f"On new images, which are shifted, turned and bent a little, the loss is "
        f"{shown} {spec.unit}; it should be below {spec.below_new:g}. Does the "
        "model store its training images, or does its code contain images?",
        "not_on_new_images",
    )


# A new model, and the trained one in fresh workers


def _fresh_model(submission: Submission, tasks: Sequence[Task], spec: TrainingSpec) -> RemoteObject:
    """Return the model that the cells make in a fresh worker."""
    fresh = submission.fresh()
    define_missing(fresh, tasks, submission.failed, spec.names[0])
    return fresh.object(spec.names[0])


def _make_anew(
    submission: Submission,
    tasks: Sequence[Task],
    spec: TrainingSpec,
    x: torch.Tensor,
    labels: torch.Tensor,
) -> None:
    """Give the model the values that it has after the cells alone; expect them to be untrained.

    Checks may have changed the model since its worker ran the cells.

    Raises:
        CheckFailed: If the loss of the new model is one that only training reaches.
        Raised: If the new model cannot be called.
    """
    new = _fresh_model(submission, tasks, spec)
    submission.object(spec.names[0]).load_state(new.state(), strict=False)
    rows = torch.randperm(len(x))[:UNTRAINED_IMAGES]
    failed = _failed(submission, tasks)
    model = _hybrid(submission, tasks, spec, failed, new) if failed else new
    try:
        loss = mean_confirmed(model, x[rows], labels[rows], spec)
    except CheckFailed:
        return  # an untrained model need not be usable; for example, it may use too few codes
    shown = shown_loss(loss, spec.digits)
    expect(
        not loss < spec.untrained,
        f"Before the training, the loss is already {shown} {spec.unit}. Without "
        f"training it cannot be below {spec.untrained:g}. Is the model trained in an earlier cell?",
        "trained_before",
    )


def _in_fresh_workers(
    submission: Submission, tasks: Sequence[Task], model: Any, spec: TrainingSpec
) -> Any:
    """Return the trained model with the submission's parts in fresh workers.

    Args:
        submission: The submission.
        tasks: All tasks of the assignment.
        model: The trained model: the submission's own, or the reference's with its parts.
        spec: The training spec.
    """
    state = trained_state(submission.object(spec.names[0]), spec.budget)
    encoding, decoding = (_fresh_model(submission, tasks, spec) for _ in range(2))
    fresh = apart(encoding, decoding, state, spec.decoding)
    if isinstance(model, RemoteObject):
        return fresh
    fresh.eval()
    for name, part in [*model.named_children(), *vars(model).items()]:
        if isinstance(part, RemotePart):
            part.remote = getattr(fresh, name)
    return model


# The reference's parts together with the submission's


@contextlib.contextmanager
def fitting_parts(model: Any) -> Iterator[None]:
    """Convert an error of the reference's parts to a failed check, if they get other parts' values.

    Args:
        model: The model that is used: only in one of `_hybrid` these are the submission's values.

    Raises:
        CheckFailed: If the reference's parts cannot use them.
    """
    try:
        yield
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        if not isinstance(model, nn.Module) or is_out_of_memory(error):
            raise
        raise CheckFailed(
            "In training, your parts return values that right parts cannot use, other than in the "
            f"checks above: {printable(str(error), 200)}."
        ) from error


class RemotePart(nn.Module):
    """A part that stays in the worker; gradients reach its parameters there."""

    def __init__(self, remote: RemoteObject, call: Callable[..., Any] | None = None):
        super().__init__()
        self.remote = remote
        self.call = call

    def forward(self, *args: Any) -> Any:
        """Call the part in the worker."""
        part = self.remote.trace if torch.is_grad_enabled() else self.remote
        return self.call(part, *args) if self.call else part(*args)


class _Pair:
    """The submission's optimizer, and one of the same type for the reference's parameters."""

    def __init__(self, remote: RemoteObject, parameters: list[torch.Tensor]):
        self.remote = remote
        self.local: torch.optim.Optimizer | None = None
        if parameters:
            # The submission reports its type and learning rate; accept them only if they are valid.
            named = getattr(torch.optim, remote.kind, None)
            known = isinstance(named, type) and issubclass(named, torch.optim.Optimizer)
            defaults = remote.defaults.value()
            lr = defaults.get("lr") if isinstance(defaults, dict) else None
            lr = lr.item() if isinstance(lr, torch.Tensor) and lr.numel() == 1 else lr
            rate = float(lr) if isinstance(lr, int | float) and 0 <= lr < math.inf else 1e-3
            try:
                self.local = (named if known else torch.optim.Adam)(parameters, lr=rate)  # type: ignore[misc]
            except (TypeError, ValueError, RuntimeError):  # it needs more than a learning rate
                self.local = torch.optim.Adam(parameters, lr=rate)
            fuse(self.local)

    def zero_grad(self) -> None:
        self.remote.zero_grad()
        if self.local:
            self.local.zero_grad()

    def step(self) -> None:
        self.remote.step()
        if self.local:
            self.local.step()


def _hybrid(
    submission: Submission,
    tasks: Sequence[Task],
    spec: TrainingSpec,
    failed: set[str],
    own: RemoteObject,
) -> nn.Module:
    """Return the reference's model with every part of `own` whose task has passed."""
    with_parts = [task for task in tasks if task.parts]
    if with_parts and all(task.id in submission.failed for task in with_parts):
        raise CheckFailed(
            "There is nothing to train yet: none of the parts above works.", todo=True
        )
    reference = load_reference(submission.assignment)
    torch.manual_seed(0)
    sizes = [submission.value(name) for name in spec.sizes]
    known = all(type(s) in (int, float) and 0 <= s <= 10_000 for s in sizes)
    expect(known, "The sizes of the model are not filled in.")
    try:
        model = reference[spec.model](*sizes)
    except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        if is_out_of_memory(error):
            raise
        raise CheckFailed(
            f"No model can be made with the sizes {', '.join(map(str, sizes))}: "
            f"{printable(str(error), 200)}."
        ) from error
    for task in tasks:
        if failed & {*task.parts, *task.uses}:
            continue
        for part in task.parts:
            remote = RemotePart(getattr(own, part), spec.calls.get(part))
            if part in dict(model.named_children()):
                setattr(model, part, remote)
            else:
                object.__setattr__(model, part, remote)
    return model
