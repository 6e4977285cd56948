"""Calibration of the bounds for trained models: how far is each one from honest work?

A model is measured before its training. It is then trained until it passes the threshold, as in a
grading, and measured on deformed test images. If later checks need all epochs, the training goes
on, and the numbers of these checks are measured. `docs/new_images.json` has every run; `vaelab
calibrate` adds their table to `calibration.md`. To add runs:
`python -m autograder.quality.new_images 03_fc_vae 0 1 2`. Further arguments of the form
`latent_dim = 15=>latent_dim = 18` change the reference's cells.
"""

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from autograder.checks.registry import load_checks
from autograder.checks.training import (
    UNTRAINED_IMAGES,
    TrainingSpec,
    confirmation_images,
    epoch_loss,
    mean_confirmed,
    steps,
    training_images,
)
from autograder.checks.vocabulary import CheckFailed
from autograder.course.regions import solved
from autograder.course.sources import load_source
from autograder.records.results import write_text

# The saved runs of this course.
SAVED = Path("docs", "new_images.json")
ENOUGH_RUNS = 5
# How often each trained model is measured, on other deformations.
DRAWS = 2


@dataclass(frozen=True)
class Measured:
    """One trained model.

    Attributes:
        assignment: The assignment's name.
        model: The name of its class.
        seed: The seed of the initial weights and of the order of the images.
        variant: The changes of the reference; "" for none.
        epoch: The epoch after which it was measured, counted from 1.
        loss: The training loss of that epoch.
        new: The losses of new images, each with other deformations.
        start: The loss of training images before the training; None if it cannot be measured, for
            example because too few codes are in use.
        numbers: The numbers of `TrainingSpec.measure` after all epochs, by name.
    """

    assignment: str
    model: str
    seed: int
    variant: str
    epoch: int
    loss: float
    new: tuple[float, ...]
    start: float | None
    numbers: dict[str, float]


def specs(assignment: str) -> list[TrainingSpec]:
    """Return the training specs of an assignment."""
    module = load_checks(assignment).module
    return [value for value in vars(module).values() if isinstance(value, TrainingSpec)]


def measure(assignment: str, seed: int, changes: Sequence[str] = ()) -> Iterator[Measured]:
    """Train the reference's models with a seed; yield their losses on new images.

    Args:
        assignment: The assignment's name.
        seed: See `Measured`.
        changes: Replacements in the reference's cells, each "old=>new".
    """
    torch.set_num_threads(1)
    trained: dict[str, Any] = {}
    for spec in specs(assignment):
        names = _run(assignment, seed, changes)
        model, optimizer, step = (names[name] for name in (*spec.names, spec.step))
        x, labels = training_images(spec)
        batch, generator = spec.batch(x, labels), torch.Generator().manual_seed(seed)
        start = _untrained_loss(model, x[:UNTRAINED_IMAGES], labels[:UNTRAINED_IMAGES], spec)
        losses: list[float] = []

        def epoch() -> None:
            taken = steps(step, model, optimizer, batch, names["batch_size"], generator)  # noqa: B023
            losses.append(epoch_loss(taken, spec))  # noqa: B023

        while len(losses) < names["n_epochs"] and min(losses, default=spec.below) >= spec.below:
            epoch()
        passed, last = len(losses), round(losses[-1], 4)
        new = []
        for _ in range(DRAWS):
            images, classes = confirmation_images(spec)
            new.append(round(mean_confirmed(model, images, classes, spec), 4))
        while (spec.measure or spec.to_the_end) and len(losses) < names["n_epochs"]:
            epoch()
        numbers = spec.measure(model, trained) if spec.measure else {}
        trained[spec.model] = model
        yield Measured(
            assignment,
            spec.model,
            seed,
            "; ".join(changes),
            passed,
            last,
            tuple(new),
            start,
            {name: round(value, 4) for name, value in numbers.items()},
        )


def _untrained_loss(
    model: Any, x: torch.Tensor, labels: torch.Tensor, spec: TrainingSpec
) -> float | None:
    """Return the loss of a new model; None if the grader does not accept it as a trained one."""
    try:
        return round(mean_confirmed(model, x, labels, spec), 4)
    except CheckFailed:
        return None


def _run(assignment: str, seed: int, changes: Sequence[str]) -> dict[str, Any]:
    """Run the reference's cells with another seed and with changes."""
    from vae_utils import seed_everything

    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in load_source(assignment).of("setup", "solution"):
        text = solved(cell)
        for change in changes:
            old, _, new = change.partition("=>")
            text = text.replace(old, new)
        exec(compile(text, f"<{cell.id}>", "exec"), names)
        names["seed_everything"] = lambda _: seed_everything(seed)
    return names


def load(path: Path) -> list[Measured]:
    """Return the saved runs; [] if the file does not exist."""
    if not path.exists():
        return []
    saved = json.loads(path.read_text(encoding="utf-8"))
    return [Measured(**{**run, "new": tuple(run["new"])}) for run in saved]


def section(path: Path) -> str:
    """Return the sections of `calibration.md` about the runs saved in a file; "" if there is none.

    A distance is that from the mean of all runs of a model to the bound, in standard deviations.
    """
    groups: dict[tuple[str, str], list[Measured]] = {}
    for run in load(path):
        groups.setdefault((run.assignment, run.model), []).append(run)
    if not groups:
        return ""
    lines = [
        "",
        "## Trained and untrained models",
        "",
        "When a submission is graded, its model is also measured before its training, and its "
        "trained model is measured on new images: test images that are shifted, turned and bent a "
        "little (`autograder/checks/deformed.py`). Each model below was trained on the embedded "
        "images up to the first epoch that passes the threshold, the earliest moment at which "
        "training can end. The variants have other sizes, learning rates or batch sizes. Every run "
        "is in `new_images.json`. A distance is that from the mean to the bound, in standard "
        f"deviations; it must be at least 4. It is not stated for fewer than {ENOUGH_RUNS} runs: "
        "their standard deviation says little about other seeds and settings.",
        "",
        "| assignment, model | threshold | runs (variants) | training loss | loss of new images: "
        "mean, standard deviation, largest | bound | distance | untrained: mean, standard "
        "deviation, smallest | bound | distance |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for (assignment, model), runs in groups.items():
        spec = _spec(assignment, model)
        new = [value for run in runs for value in run.new]
        start = [run.start for run in runs if run.start is not None]
        losses, digits = [run.loss for run in runs], spec.digits
        untrained = (
            f"{_spread(start, digits + 1)}, {min(start):.{digits + 1}f} | {spec.untrained:g} "
            f"| {_distance(start, spec.untrained, len(start))}"
            if start
            else f"no usable model | {spec.untrained:g} | never reached"
        )
        lines.append(
            f"| `{assignment}`, `{model}` | {spec.below:g} {spec.unit} "
            f"| {len(runs)} ({len({run.variant for run in runs})}) "
            f"| {min(losses):.{digits}f} to {max(losses):.{digits}f} "
            f"| {_spread(new, digits + 1)}, {max(new):.{digits + 1}f} | {spec.below_new:g} "
            f"| {_distance(new, spec.below_new, len(runs))} "
            f"| {untrained} |"
        )
    lines += [
        "",
        "Some checks need the model of the last epoch. These are their numbers.",
        "",
        "| assignment, model | number | runs (variants) | mean, standard deviation, smallest "
        "| smallest that passes | distance |",
        "| --- | --- | --: | --: | --: | --: |",
    ]
    for (assignment, model), runs in groups.items():
        for name, least in _spec(assignment, model).least.items():
            known = [run for run in runs if name in run.numbers]
            found = [run.numbers[name] for run in known]
            lines.append(
                f"| `{assignment}`, `{model}` | {name} "
                f"| {len(known)} ({len({run.variant for run in known})}) "
                f"| {_spread(found, 3)}, {min(found):.3f} | {least:.3g} "
                f"| {_distance(found, least, len(known))} |"
            )
    return "\n".join(lines) + "\n"


def _spec(assignment: str, model: str) -> TrainingSpec:
    return next(spec for spec in specs(assignment) if spec.model == model)


def _spread(values: Sequence[float], digits: int) -> str:
    """Return the mean and the standard deviation as text."""
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.{digits}f}, {deviation:.{digits}f}"


def _distance(values: Sequence[float], bound: float, runs: int) -> str:
    if runs < ENOUGH_RUNS:
        return "too few runs"
    return f"{abs(bound - statistics.mean(values)) / statistics.stdev(values):.1f}"


def main(path: Path, assignment: str, *arguments: str) -> None:
    """Measure an assignment with seeds and changes, and add the runs to a file."""
    changes = [text for text in arguments if "=>" in text]
    for seed in (int(text) for text in arguments if "=>" not in text):
        for run in measure(assignment, seed, changes):
            print(run, flush=True)
            same = (run.assignment, run.model, run.seed, run.variant)
            others = [r for r in load(path) if (r.assignment, r.model, r.seed, r.variant) != same]
            runs = sorted([*others, run], key=lambda r: (r.assignment, r.model, r.variant, r.seed))
            write_text(path, json.dumps([asdict(r) for r in runs], indent=1) + "\n")


if __name__ == "__main__":
    main(SAVED, *sys.argv[1:])
