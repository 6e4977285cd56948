"""The attacks: one folder for each, with its code and its expected result.

A folder contains `attack.toml` and one of two files. `cell.py` is the text of one cell in a correct
submission or in the starter. `make.py` has a function `place(path, honest, targets)` that writes
the submission. In `cell.py`, `@TARGETS@` is replaced by a folder outside the sandbox, `@PORT@` by a
port and `@PID@` by a process of the judge's host, `@VARIANT@` by the name of the variant.
"""

import importlib.util
import shutil
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autograder.build import notebooks as build
from autograder.build.notebooks import to_text

HERE = Path(__file__).parent
A = "00_reparameterization"
FIRST_CELL = "my_draw"
DEFENCES = ("process", "notebook", "cells", "sandbox", "limit", "judge", "none")


@dataclass(frozen=True)
class WithoutDefence:
    """The result of an attack when its defence is switched off.

    Attributes:
        defence: The defence that is switched off. "process": the checks run in the submission's
            own process, as in most graders. "notebook": the checks run in the submission's own
            IPython, and the first displayed value counts. "cells": the submission's own test cells
            are run, and each one that does not raise earns its points. "sandbox": there is no
            sandbox. "limit": there is no limit. "judge": one function of the judge is replaced.
            "none": there is nothing to switch off.
        then: The effect that must be observed; "" for "none".
        disabled: For "judge", the replacement; a key of `disabled_defences.DISABLED_DEFENCES`.
        why: For "none", the reason.
    """

    defence: str
    then: str = ""
    disabled: str = ""
    why: str = ""


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        name: The name of its folder, followed by the variant if there are variants.
        rows: Its rows in the list of attacks, 1 to 52.
        description: What the submission does, as a phrase that starts with a verb.
        status: The expected status.
        points: The expected points.
        expected_text: Text that the result must contain.
        base: The notebook into which it is written: "reference" or "starter".
        cell: The id of the cell into which it is written.
        placement: "before" or "after" that cell's text, or "instead" of it.
        variant: The name of the variant; "" if there is one only.
        student: The name of the student.
        limits: Limits that differ from `conftest.LIMITS`.
        tiers: The tiers in which it is tested.
        runs: How many times in a row it is graded.
        in_tier: Attributes that differ in a tier, by the tier's name.
        without: The result when its defence is switched off.
        code: Its folder.
    """

    name: str
    rows: tuple[int, ...]
    description: str
    status: str
    points: float
    without: WithoutDefence
    code: Path
    expected_text: str = ""
    base: str = "reference"
    cell: str = FIRST_CELL
    placement: str = "before"
    variant: str = ""
    student: str = "mallory"
    limits: dict[str, Any] = field(default_factory=dict)
    tiers: tuple[str, ...] = ("A", "B")
    runs: int = 1
    in_tier: dict[str, dict[str, Any]] = field(default_factory=dict)

    def within(self, tier: str) -> "Attack":
        """Return this attack with the results that are expected in a tier."""
        return replace(self, **self.in_tier.get(tier, {}))


def load() -> list[Attack]:
    """Read all attacks; each variant is one attack."""
    found = []
    for path in sorted(HERE.glob("*/attack.toml")):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        without = content.pop("without")
        for variant in content.pop("variants", [{}]):
            fields = content | variant
            name = path.parent.name + (f"-{fields['variant']}" if "variant" in fields else "")
            for key in ("rows", "tiers"):
                if key in fields:
                    fields[key] = tuple(fields[key])
            off = WithoutDefence(**fields.pop("without", without))
            assert off.defence in DEFENCES, path
            assert bool(off.why) == (off.defence == "none"), path
            assert bool(off.then) == (off.defence != "none"), path
            found.append(Attack(name=name, code=path.parent, without=off, **fields))
    return found


def place(attack: Attack, folder: Path, marks: dict[str, str]) -> Path:
    """Write an attack's submission below `folder`; return the path of the notebook.

    Args:
        attack: The attack.
        folder: The folder of all submissions.
        marks: The replacement of each mark in `cell.py`, without `@VARIANT@`.
    """
    path = folder / attack.student / A / f"{A}.ipynb"
    shutil.rmtree(folder / attack.student, ignore_errors=True)
    path.parent.mkdir(parents=True)
    maker = attack.code / "make.py"
    if maker.is_file():
        honest = to_text(build.reference(A)).encode()
        spec = importlib.util.spec_from_file_location("make", maker)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        module.VARIANT = attack.variant  # type: ignore[attr-defined]
        spec.loader.exec_module(module)
        module.place(path, honest, Path(marks["@TARGETS@"]))
        return path
    source = (attack.code / "cell.py").read_text(encoding="utf-8")
    for mark, value in {**marks, "@VARIANT@": attack.variant}.items():
        source = source.replace(mark, value)
    notebook = build.reference(A) if attack.base == "reference" else build.starter(A)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == attack.cell:
            texts = {"before": [source, cell.source], "after": [cell.source, source]}
            cell.source = "\n".join(texts.get(attack.placement, [source]))
    path.write_text(to_text(notebook), encoding="utf-8")
    return path
