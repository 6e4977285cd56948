"""How far each threshold is from what its reference reaches, on the full sets, several seeds each.

Every run is kept as it is done in `calibration.json`; `calibration.md` is drawn from all of them.
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
from autograder.checks.training import Plan, epoch_loss, mean_confirmed, steps
from autograder.course.reference import run_reference
from autograder.records.results import write_text
from vae_utils.data.load import FOLDER_VARIABLE


@dataclass(frozen=True)
class Run:
    """One training of a reference.

    Attributes:
        assignment: Its name.
        data: The data set, as `vae_utils.load_dataset` knows it.
        source: "full" or "embedded".
        images: How many it was trained on.
        seed: Of the initial weights and the order of the images.
        parameters: Trainable numbers.
        below: The threshold for this source.
        unit: The loss's unit.
        digits: Decimals that are worth showing.
        losses: The training loss of each epoch, the mean over images.
        test_loss: Of the test images after the last epoch, codes drawn by the judge.
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
        """The first epoch whose loss is below the threshold, None if none is."""
        return next((n for n, loss in enumerate(self.losses, 1) if loss < self.below), None)


def plan_of(assignment: str) -> Plan | None:
    """The plan of an assignment's threshold, None where nothing is trained."""
    return getattr(load_checks(assignment).module, "PLAN", None)


def train(assignment: str, plan: Plan, seed: int, source: str, say: Callable[[str], None]) -> Run:
    """Train a reference for the whole of its budget.

    Args:
        assignment: Its name.
        plan: Its plan.
        seed: See `Run`.
        source: See `Run`; the full set is taken from the folder VAELAB_DATA if that is set.
        say: Called with a line for each epoch.
    """
    from vae_utils import load_dataset

    torch.set_num_threads(1)
    names = run_reference(assignment, seed)
    model, optimizer, step = (names[name] for name in (*plan.names, plan.step))
    data = _data(plan, source)
    train_set = load_dataset(data, source=_place(source), quiet=True)
    if plan.images and source == "embedded":
        train_set = train_set.subset(plan.images)
    batch = plan.batch(train_set.images.float() / 255, train_set.labels)
    generator = torch.Generator().manual_seed(seed)
    losses, seconds = [], 0.0
    for _ in range(plan.epochs):
        started = time.process_time()
        taken = steps(step, model, optimizer, batch, names["batch_size"], generator)
        losses.append(epoch_loss(taken, plan, len(batch[0])))
        seconds += time.process_time() - started
        say(f"{assignment}, seed {seed}: {losses[-1]:.{plan.digits}f} {plan.unit}")
    return Run(
        assignment=assignment,
        data=data,
        source=source,
        images=len(batch[0]),
        seed=seed,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        below=plan.threshold(source),
        unit=plan.unit,
        digits=plan.digits,
        losses=tuple(losses),
        test_loss=_test_loss(model, plan, source),
        seconds=round(seconds, 1),
        more=plan.measure(model) if plan.measure else {},
    )


def _data(plan: Plan, source: str) -> str:
    return plan.data_full if source == "full" and plan.data_full else plan.data


def _place(source: str) -> str:
    return "auto" if source == "full" and FOLDER_VARIABLE in os.environ else source


def _test_loss(model: Any, plan: Plan, source: str) -> float:
    from vae_utils import load_dataset

    test_set = load_dataset(_data(plan, source), train=False, source=_place(source), quiet=True)
    # In a random order, so that each chunk looks like the whole.
    test_set = test_set.subset(len(test_set))
    torch.manual_seed(0)
    return mean_confirmed(model, test_set.images.float() / 255, test_set.labels, plan)


def load_runs(path: Path) -> list[Run]:
    """Read what was kept; [] if there is nothing yet."""
    if not path.exists():
        return []
    kept = json.loads(path.read_text(encoding="utf-8"))
    return [Run(**{**run, "losses": tuple(run["losses"])}) for run in kept]


def keep(run: Run, path: Path) -> list[Run]:
    """Keep a run in the place of an older one of the same assignment, source and seed."""
    others = [r for r in load_runs(path) if _key(r) != _key(run)]
    runs = sorted([*others, run], key=_key)
    write_text(path, json.dumps([asdict(r) for r in runs], indent=1) + "\n")
    return runs


def _key(run: Run) -> tuple[str, str, int]:
    return run.assignment, run.source, run.seed


def as_markdown(runs: list[Run], plans: Mapping[str, Plan]) -> str:
    """Draw the table.

    Args:
        runs: Every run.
        plans: The plans of their assignments, as far as there are any, with what is to be reached.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.assignment, run.source), []).append(run)
    lines = [
        "# How far the thresholds are",
        "",
        "Each assignment's reference, trained with its own settings for the whole of the epochs "
        "that a student has. Made by `vaelab calibrate`; every run stands in `calibration.json`. "
        "Several numbers in one place are several seeds. An assignment that is not here trains to "
        "no threshold. Seconds are CPU time on one thread, "
        f"torch {torch.__version__.split('+')[0]}, {platform.machine()}.",
        "",
        "| assignment | data, images | parameters | threshold | passed in epoch | training loss, "
        "last epoch | test loss | to reach, test | also | seconds |",
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
            f"| {_headline(plans.get(assignment), group)} "
            f"| {_more(group)} "
            f"| {_several([r.seconds for r in group], 0)} |"
        )
    remarks = [
        f"- `{name}`: {plan.remark}"
        for name, plan in plans.items()
        if plan.remark and any(run.assignment == name for run in runs)
    ]
    return "\n".join([*lines, "", *remarks] if remarks else lines) + "\n"


def _headline(plan: Plan | None, group: list[Run]) -> str:
    if plan is None or group[0].source != "full" or math.isnan(plan.headline):
        return ""
    reached = sum(run.test_loss <= plan.headline for run in group)
    return f"{plan.headline:g}, by {reached} of {len(group)}"


def _more(group: list[Run]) -> str:
    names = [name for name in group[0].more if all(name in run.more for run in group)]
    return "; ".join(f"{n} {_several([run.more[n] for run in group], 3)}" for n in names)


def _several(values: list[float], digits: int) -> str:
    return ", ".join(f"{v:.{digits}f}" if math.isfinite(v) else "not finite" for v in values)
