"""Attacks on the training check: each fails, and succeeds if its defences are switched off.

`trained/` has a folder for each attack. `attack.toml` has the attack's edits of the reference, the
defences to switch off, the expected message, and values of the training spec that are changed so
that one epoch is enough.
"""

import contextlib
import functools
import tomllib
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import pytest
import torch

from attacks.disabled_defences import InProcessWorker
from autograder.checks import confirmation, training
from autograder.checks.registry import load_checks
from autograder.checks.shared import autoencoder, gaussian
from autograder.checks.training import expect_trained
from autograder.checks.vocabulary import CheckFailed
from autograder.grading import judge, notebook
from autograder.protocol.remote import Raised
from autograder.quality.corpus import CorpusSubmission, Edit, make, write
from vae_utils import load_dataset

HERE = Path(__file__).parent / "trained"
NAMES = sorted(path.parent.name for path in HERE.glob("*/attack.toml"))


@dataclass(frozen=True)
class Attack:
    """One attack on the training check.

    Attributes:
        description: What the submission does, as a phrase that starts with a verb.
        assignment: The assignment.
        disabled: The defences that must be off for it to succeed; keys of `DISABLED`.
        expected_text: Text of the message with all defences.
        edit: The edits of the reference.
        expected_with_images: Text of the message if the images can be read; "" if this is no part
            of the attack.
        spec: Values of the training spec that are changed.
    """

    description: str
    assignment: str
    disabled: list[str]
    expected_text: str
    edit: list[dict[str, str]]
    expected_with_images: str = ""
    spec: dict[str, float] | None = None


def load(name: str) -> Attack:
    text = (HERE / name / "attack.toml").read_text(encoding="utf-8")
    attack = Attack(**tomllib.loads(text))
    if "@IMAGES@" not in text:
        return attack
    edits = [e | {"replace": e["replace"].replace("@IMAGES@", images())} for e in attack.edit]
    return replace(attack, edit=edits)


@functools.cache
def images() -> str:
    """Return 3,000 training images with four grey levels as text, 14 bits in each character."""
    found = load_dataset("mnist", source="embedded", quiet=True).images[:3000] >> 6
    packed = (found.reshape(-1, 4) << torch.tensor([6, 4, 2, 0])).sum(1).to(torch.uint8)
    raw = zlib.compress(packed.numpy().tobytes(), 9)
    bits = "".join(f"{byte:08b}" for byte in b"\1" + raw)
    bits = bits.zfill(-(-len(bits) // 14) * 14)
    return "".join(chr(0x4E00 + int(bits[i : i + 14], 2)) for i in range(0, len(bits), 14))


def unmeasured():
    """Train a new model that cannot be measured, without a test of what it has learned."""
    make = training._make_anew

    def make_anew(*arguments) -> None:
        with contextlib.suppress(Raised):
            make(*arguments)

    return mock.patch.object(training, "_make_anew", make_anew)


DISABLED = {
    # The submission runs in this process, which can read every file.
    "hidden_images": lambda: mock.patch.object(judge, "WorkerProcess", InProcessWorker),
    "fresh_workers": lambda: mock.patch.object(
        training, "_in_fresh_workers", side_effect=lambda submission, tasks, model, spec: model
    ),
    "new_images": lambda: mock.patch.object(training, "_confirm_on_new_images"),
    "new_model": lambda: mock.patch.object(training, "_make_anew"),
    "counted_state": lambda: mock.patch.object(
        training, "trained_state", side_effect=lambda model, _: model.state()
    ),
    "same_layout": lambda: mock.patch.object(
        confirmation, "fitting", side_effect=lambda state, new: state
    ),
    "code_shapes": lambda: mock.patch.object(
        gaussian, "expect_gaussians", side_effect=lambda mu, spread, *_: (mu, spread)
    ),
    "code_size": lambda: mock.patch.object(
        autoencoder, "expect_codes", side_effect=lambda codes, *_: codes
    ),
    "measured_before": unmeasured,
    "little_text": lambda: mock.patch.object(notebook, "MAX_CONTENT", 1 << 30),
}


def verdict(attack: Attack, folder: Path, *disabled: str) -> str:
    """Train the attack's model; return the message of the training check, "" if it passes."""
    edits = tuple(Edit(**edit) for edit in attack.edit)
    notebook = make(attack.assignment, CorpusSubmission("attack", "", edits=edits))
    path = write(notebook, folder, "mallory", attack.assignment)
    module = load_checks(attack.assignment).module
    spec = replace(module.SPEC, **(attack.spec or {}))
    torch.manual_seed(0)
    with contextlib.ExitStack() as stack:
        for name in disabled:
            stack.enter_context(DISABLED[name]())
        current = stack.enter_context(judge.judging(path, attack.assignment))
        assert not (disabled and current.submission.cell_errors), current.submission.cell_errors
        try:
            expect_trained(current.submission, module.TASKS, spec)
        except CheckFailed as failed:
            return failed.message
        except Raised as error:
            return str(error)
    return ""


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_on_the_training_check_fails(name: str, tmp_path: Path):
    attack = load(name)
    assert attack.expected_text in verdict(attack, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_it_succeeds_without_its_defences(name: str, tmp_path: Path):
    attack = load(name)
    assert verdict(attack, tmp_path, *attack.disabled) == ""


@pytest.mark.parametrize("name", [name for name in NAMES if load(name).expected_with_images])
def test_it_fails_also_where_images_cannot_be_hidden(name: str, tmp_path: Path):
    """In tier C there is no sandbox: the second defence refuses the attack."""
    attack = load(name)
    assert attack.expected_with_images in verdict(attack, tmp_path, "hidden_images")
