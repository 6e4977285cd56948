"""Calibration of the thresholds: how far is each one from the loss that its reference reaches?

Each reference is trained on the full data set with several seeds. Every run is saved in
`calibration.json` when it is done. `calibration.md` shows all saved runs as a table.
"""

import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from autograder.checks.registry import load_checks
from autograder.checks.training import TrainingSpec, epoch_loss, mean_confirmed, steps
from autograder.course.reference import run_reference
from autograder.records.results import write_text
from vae_utils.data.load import FOLDER_VARIABLE


@dataclass(frozen=True)
class Run:
    """One training of a reference.

    Attributes:
        assignment: The assignment's name.
        data: The data set's name in `vae_utils.load_dataset`.
        source: "full" or "embedded".
        images: The number of training images.
        seed: The seed of the initial weights and of the order of the images.
        parameters: The number of trainable parameters.
        below: The threshold for this source.
        unit: The unit of the loss.
        digits: The number of decimals to show.
        losses: The training loss of each epoch, the mean over images.
        test_loss: The loss of the test images after the last epoch. The judge samples the codes.
        seconds: CPU time of training, on one thread.
        more: Further numbers of the trained model, by name.
    """

    assignment: str
    data: str
    source: str
    images: int
    seed: int
    parameters: int
    below: float
    unit: str
    digits: int
    losses: tuple[float, ...]
    test_loss: float
    seconds: float
    more: dict[str, float] = field(default_factory=dict)

    @property
    def reached(self) -> int | None:
        """The first epoch, counted from 1, with a loss below the threshold; or None."""
        return next((n for n, loss in enumerate(self.losses, 1) if loss < self.below), None)


def training_spec(assignment: str) -> TrainingSpec | None:
    """Return an assignment's training spec, or None if nothing is trained."""
    return getattr(load_checks(assignment).module, "SPEC", None)


def train(
    assignment: str, spec: TrainingSpec, seed: int, source: str, log: Callable[[str], None]
) -> Run:
    """Train a reference for all epochs of its training spec.

    Args:
        assignment: The assignment's name.
        spec: Its training spec.
        seed: See `Run`.
        source: See `Run`. The full set is read from the folder `VAELAB_DATA` if that is set.
        log: A function that is called with one line for each epoch.

    Returns:
        The run.
    """
    from vae_utils import load_dataset

    torch.set_num_threads(1)
    names = run_reference(assignment, seed)
    model, optimizer, step = (names[name] for name in (*spec.names, spec.step))
    data = _data(spec, source)
    train_set = load_dataset(data, source=_place(source), quiet=True)
    if spec.images and source == "embedded":
        train_set = train_set.subset(spec.images)
    batch = spec.batch(train_set.images.float() / 255, train_set.labels)
    generator = torch.Generator().manual_seed(seed)
    losses, seconds = [], 0.0
    for _ in range(spec.epochs):
        started = time.process_time()
        taken = steps(step, model, optimizer, batch, names["batch_size"], generator)
        losses.append(epoch_loss(taken, spec))
        seconds += time.process_time() - started
        log(f"{assignment}, seed {seed}: {losses[-1]:.{spec.digits}f} {spec.unit}")
    return Run(
        assignment=assignment,
        data=data,
        source=source,
        images=len(batch[0]),
        seed=seed,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        below=spec.threshold(source),
        unit=spec.unit,
        digits=spec.digits,
        losses=tuple(losses),
        test_loss=_test_loss(model, spec, source),
        seconds=round(seconds, 1),
        more=spec.measure(model, {}) if spec.measure else {},
    )


def _data(spec: TrainingSpec, source: str) -> str:
    return spec.data_full if source == "full" and spec.data_full else spec.data


def _place(source: str) -> str:
    return "auto" if source == "full" and FOLDER_VARIABLE in os.environ else source


def _test_loss(model: Any, spec: TrainingSpec, source: str) -> float:
    from vae_utils import load_dataset

    test_set = load_dataset(_data(spec, source), train=False, source=_place(source), quiet=True)
    # In a random order, so that each chunk has about the same distribution as the whole set.
    test_set = test_set.subset(len(test_set))
    torch.manual_seed(0)
    return mean_confirmed(model, test_set.images.float() / 255, test_set.labels, spec)


def load_runs(path: Path) -> list[Run]:
    """Return the saved runs; [] if the file does not exist."""
    if not path.exists():
        return []
    saved = json.loads(path.read_text(encoding="utf-8"))
    return [Run(**{**run, "losses": tuple(run["losses"])}) for run in saved]


def save_run(run: Run, path: Path) -> list[Run]:
    """Save a run in the file `path`; return all saved runs.

    The run replaces an older one of the same assignment, source and seed.
    """
    others = [r for r in load_runs(path) if _key(r) != _key(run)]
    runs = sorted([*others, run], key=_key)
    write_text(path, json.dumps([asdict(r) for r in runs], indent=1) + "\n")
    return runs


def _key(run: Run) -> tuple[str, str, int]:
    return run.assignment, run.source, run.seed


def as_markdown(runs: list[Run], specs: Mapping[str, TrainingSpec]) -> str:
    """Return the calibration table as Markdown.

    Args:
        runs: All runs.
        specs: The training specs of their assignments, by name, with the expected test loss and a
            remark. Assignments without a training spec are missing.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.assignment, run.source), []).append(run)
    lines = [
        "# Calibration of the thresholds",
        "",
        "`vaelab calibrate` writes this file. It trained each assignment's reference with its own "
        "settings, for all epochs that a student has. Every run is in `calibration.json`. "
        "Several numbers in one cell belong to several seeds. Assignments without a loss threshold "
        "are not listed. Seconds are CPU time on one thread, "
        f"torch {torch.__version__.split('+')[0]}, {platform.machine()}.",
        "",
        "| assignment | data, images | parameters | threshold | first epoch below it "
        "| training loss, last epoch | test loss | expected test loss | other numbers | seconds |",
        "| --- | --- | --: | --: | --: | --: | --: | --: | --- | --: |",
    ]
    for (assignment, source), group in groups.items():
        one = group[0]
        lines.append(
            f"| `{assignment}` | {one.data} {source}, {one.images:,} | {one.parameters:,} "
            f"| {one.below:g} {one.unit} "
            f"| {', '.join(str(r.reached or 'none') for r in group)} of {len(one.losses)} "
            f"| {_several([r.losses[-1] for r in group], one.digits)} "
            f"| {_several([r.test_loss for r in group], one.digits + 1)} "
            f"| {_expected(specs.get(assignment), group)} "
            f"| {_more(group)} "
            f"| {_several([r.seconds for r in group], 0)} |"
        )
    remarks = [
        f"- `{name}`: {spec.remark}"
        for name, spec in specs.items()
        if spec.remark and any(run.assignment == name for run in runs)
    ]
    return "\n".join([*lines, "", *remarks] if remarks else lines) + "\n"


def _expected(spec: TrainingSpec | None, group: list[Run]) -> str:
    if spec is None or group[0].source != "full" or math.isnan(spec.headline):
        return ""
    reached = sum(run.test_loss <= spec.headline for run in group)
    return f"{spec.headline:g}, reached by {reached} of {len(group)}"


def _more(group: list[Run]) -> str:
    names = [name for name in group[0].more if all(name in run.more for run in group)]
    return "; ".join(f"{n} {_several([run.more[n] for run in group], 3)}" for n in names)


def _several(values: list[float], digits: int) -> str:
    return ", ".join(f"{v:.{digits}f}" if math.isfinite(v) else "not finite" for v in values)
