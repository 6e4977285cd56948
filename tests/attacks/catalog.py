"""The attacks: one directory for each, with its code and what is expected of it.

A directory holds `attack.toml` and either `cell.py`, text for one cell of an otherwise ordinary
submission, or `make.py`, whose `place(path, honest, targets)` puts the submission where it belongs.
In the code `@TARGETS@` stands for a folder outside that nobody may reach, `@PORT@` for a port and
`@PID@` for a process beside the judge, `@VARIANT@` for the variant.
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
DEFENCES = ("process", "notebook", "cells", "sandbox", "limit", "hole", "none")


@dataclass(frozen=True)
class Without:
    """How an attack goes when its defence is switched off.

    Attributes:
        defence: "process": checks run in the submission's own process, as most graders do it;
            "notebook": checks run in the submission's own IPython, and the first value that is
            displayed counts; "cells": the submission's own test cells are run, and one that does
            not raise has earned its points; "sandbox": nothing is walled off; "limit": no limit is
            set; "hole": one function of the judge is replaced; "none": there is nothing to
            switch off.
        then: What must be seen then; "" with "none".
        hole: Which function, for "hole"; see `holes`.
        why: Why there is nothing to switch off, for "none".
    """

    defence: str
    then: str = ""
    hole: str = ""
    why: str = ""


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        name: Its directory, and where it has variants, the variant.
        rows: Its rows in the catalogue of attacks.
        about: What it does.
        status: The status that it must end with.
        points: What it must earn.
        says: Text that its result must hold somewhere.
        base: What it is written into: "reference" or "starter".
        cell: The cell that it is written into.
        how: "before" or "after" that cell's text, or "instead" of it.
        pick: The variant.
        student: Whose name it comes under.
        limits: Limits that differ from the suite's.
        tiers: Where it must hold.
        runs: How many times in a row it is handed in.
        in_tier: What is expected otherwise in a tier, by the tier's name.
        without: How it goes without its defence.
        code: The directory.
    """

    name: str
    rows: tuple[int, ...]
    about: str
    status: str
    points: float
    without: Without
    code: Path
    says: str = ""
    base: str = "reference"
    cell: str = FIRST_CELL
    how: str = "before"
    pick: str = ""
    student: str = "mallory"
    limits: dict[str, Any] = field(default_factory=dict)
    tiers: tuple[str, ...] = ("A", "B")
    runs: int = 1
    in_tier: dict[str, dict[str, Any]] = field(default_factory=dict)

    def within(self, tier: str) -> "Attack":
        """Give it with what is expected of it in a tier."""
        return replace(self, **self.in_tier.get(tier, {}))


def load() -> list[Attack]:
    """Read every attack, variants one by one."""
    found = []
    for path in sorted(HERE.glob("*/attack.toml")):
        said = tomllib.loads(path.read_text(encoding="utf-8"))
        without = said.pop("without")
        for variant in said.pop("variant", [{}]):
            every = said | variant
            name = path.parent.name + (f"-{every['pick']}" if "pick" in every else "")
            for key in ("rows", "tiers"):
                if key in every:
                    every[key] = tuple(every[key])
            off = Without(**every.pop("without", without))
            assert off.defence in DEFENCES, path
            assert bool(off.why) == (off.defence == "none"), path
            assert bool(off.then) == (off.defence != "none"), path
            found.append(Attack(name=name, code=path.parent, without=off, **every))
    return found


def place(attack: Attack, folder: Path, marks: dict[str, str]) -> Path:
    """Write an attack's submission where it would have been collected; returns the notebook."""
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
        module.VARIANT = attack.pick  # type: ignore[attr-defined]
        spec.loader.exec_module(module)
        module.place(path, honest, Path(marks["@TARGETS@"]))
        return path
    source = (attack.code / "cell.py").read_text(encoding="utf-8")
    for mark, value in {**marks, "@VARIANT@": attack.pick}.items():
        source = source.replace(mark, value)
    notebook = build.reference(A) if attack.base == "reference" else build.starter(A)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == attack.cell:
            texts = {"before": [source, cell.source], "after": [cell.source, source]}
            cell.source = "\n".join(texts.get(attack.how, [source]))
    path.write_text(to_text(notebook), encoding="utf-8")
    return path
