"""The course file: every wrong key is one line, and every setting reaches what it sets."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from autograder.build import notebooks
from autograder.build.copy import copy_course
from autograder.build.notebooks import student_course_file
from autograder.checks import training
from autograder.checks.bounds import course_bounds, in_words
from autograder.checks.registry import load_checks
from autograder.course.locate import VARIABLE, CourseError, current_course, use_course
from autograder.course.settings import LateRule, course_file, read_course_file
from autograder.course.sources import assignments, load_source
from autograder.grading.batch import BatchError
from autograder.reports.output_folder import OutputFolder, grader_digest
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox

A, MODULE = "03_fc_vae", "autograder.checks.a03_fc_vae.test_03_fc_vae"
ZONE = '[course]\ntimezone = "Europe/Berlin"\n'


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Return a function that makes a course of nothing but settings, for this process."""
    for name in assignments():  # checks take their bounds when they are imported: from this course
        load_checks(name)
    monkeypatch.setenv(VARIABLE, os.environ.get(VARIABLE, ""))

    def make(text: str) -> Path:
        (tmp_path / "vaelab.toml").write_text(text, encoding="utf-8")
        read_course_file.cache_clear()
        use_course(tmp_path)
        return tmp_path

    yield make
    monkeypatch.undo()
    current_course.cache_clear()
    read_course_file.cache_clear()


def read_all() -> None:
    """Read the course file as far as grading `A` does; make its checks anew."""
    with mock.patch.dict(sys.modules):
        del sys.modules[MODULE]
        load_checks(A)
    load_checks("00_reparameterization")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("titel = 'x'", "there is no key `titel`; expected one of name, course, late,"),
        ("[course]\ntitel = 'x'", "no key `course.titel`; expected one of title, version"),
        ("[course]\nversion = 3", '`course.version` is 3; expected a text in quotes, such as "20'),
        ("[course]\ntimezone = 'Berlin'", "`course.timezone` is 'Berlin'; expected the name of a"),
        ("[course]\npackages = 'einops'", "`course.packages` is 'einops'; expected a list of pa"),
        ("[course]\npackages = ['a.b']", "`course.packages` is ['a.b']; expected a list of pack"),
        ("[course]\nfiles = ['../x.py']", "`course.files` is ['../x.py']; expected a list of fi"),
        ("course = 3", "`course` is 3; expected a table"),
        ("late = 0.1", "`late` is 0.1; expected a table"),
        ("[late]\nper_day = 10", "`late.per_day` is 10; expected a number from 0 to 1"),
        ("[late]\nper_day = nan", "`late.per_day` is nan; expected a number from 0 to 1"),
        ("[late]\nmost = 0.5", "`late` is {'most': 0.5}; expected the key `per_day` too"),
        ("[limits]\nseconds = true", "`limits.seconds` is True; expected seconds, at least 1"),
        ("[limits]\nmemory_mib = 100", "`limits.memory_mib` is 100; expected MiB"),
        ("[assignment.99_x]", "no key `assignment.99_x`; expected an assignment: 00_rep"),
        ("assignment.03_fc_vae = 3", "`assignment.03_fc_vae` is 3; expected a table"),
        ("[assignment.03_fc_vae]\ndue = '1 May'", "due` is '1 May'; expected a date with a time"),
        ("[assignment.03_fc_vae]\ndue = 2026-12-01", "due` is 2026-12-01; expected a date with"),
        ("[assignment.03_fc_vae]\ndue = 2026-12-01T23:59:00", "23:59:00; expected a time zone"),
        ("[assignment.03_fc_vae]\ndata = 'all'", "data` is 'all'; expected \"embedded\" or"),
        ("[assignment.03_fc_vae.points]\nencoder = -1", "encoder` is -1; expected a number above"),
        ("[assignment.03_fc_vae.points]\nencodr = 1", "points.encodr`; expected one of encoder,"),
        ("[assignment.03_fc_vae.bounds]\nbelow = '1'", "below` is '1'; expected a number above 0"),
        ("[assignment.03_fc_vae.bounds]\nbelwo = 110", "bounds.belwo`; expected one of epochs, b"),
        ("[assignment.03_fc_vae.bounds]\nepochs = 2.5", "epochs` is 2.5; expected a whole number"),
        ("[assignment.03_fc_vae.bounds]\nbelow = 180", "180; expected less than 175, because unt"),
        ("[assignment.00_reparameterization.bounds]\nbelow = 1", "bounds`; expected no bounds"),
        (
            "[assignment.03_fc_vae.extensions]\nada = 2026-12-01T23:59:00Z",
            "ada` is 2026-12-01 23:59:00+00:00; expected a date after assignment.03_fc_vae.due",
        ),
        (
            "[assignment.03_fc_vae]\ndue = 2026-12-02T00:00:00Z\n"
            "extensions = {ada = 2026-12-01T23:59:00Z}",
            "expected a date after assignment.03_fc_vae.due, which is 2026-12-02",
        ),
        ("[course\n", "cannot be read: Expected ']'"),
        ("x = '\udc80'", "cannot be read: 'utf-8' codec can't decode"),
    ],
)
def test_a_wrong_key_or_value_is_one_line_with_file_key_found_and_expected(text, says, course):
    made = course("")
    (made / "vaelab.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    read_course_file.cache_clear()
    with pytest.raises(CourseError) as error:
        read_all()
    assert says in str(error.value)
    assert str(error.value).startswith(str(made / "vaelab.toml"))
    assert "\n" not in str(error.value)


def test_a_right_file_is_read_and_an_old_one_too(course):
    course(
        ZONE + "[late]\nper_day = 0.1\nmost = 0.5\n[limits]\nseconds = 60\n[assignment.03_fc_vae]\n"
        "due = 2026-12-01T23:59:00\n"
        "late = {grace_minutes = 15}\nextensions = {ada = 2026-12-05T12:00:00Z}\n"
        "limits = {memory_mib = 4096}"
    )
    read_all()
    settings = course_file().of(A)
    assert settings.due_for("bob") == datetime(2026, 12, 1, 22, 59, tzinfo=UTC)
    assert settings.due_for("ada") == datetime(2026, 12, 5, 12, tzinfo=UTC)
    assert settings.late == LateRule(0.1, 15, 0.5)
    assert settings.limits == {"seconds": 60, "memory_mib": 4096}
    other = course_file().of("04_cvae")
    assert (other.late, other.limits, other.due) == (LateRule(0.1, 0, 0.5), {"seconds": 60}, None)
    course('name = "VAE Lab"')
    assert course_file().title == "VAE Lab"


def test_settings_that_change_a_grade_change_the_digest_and_others_do_not(course):
    def digest(text: str, secret: bytes = b"s" * 32) -> str:
        course(text)
        return grader_digest(A, Limits(), Sandbox("C"), secret)

    usual = digest("")
    assert digest(ZONE + "[assignment.03_fc_vae]\ndue = 2026-12-01T23:59:00") == usual
    assert digest("[assignment.04_cvae.points]\nencoder = 7") == usual
    changed = [
        digest("[assignment.03_fc_vae.points]\nencoder = 7"),
        digest("[assignment.03_fc_vae.bounds]\nbelow = 115.0"),
        digest('[assignment.03_fc_vae]\ndata = "full"'),
        digest("", b"t" * 32),
        digest('[course]\npackages = ["numpy"]'),
        digest('[course]\nfiles = ["vaelab.toml"]'),
    ]
    assert len({usual, *changed}) == 7


def test_points_reach_tasks_and_written_answers(course):
    before = load_checks(A).task("encoder").points
    course("[assignment.03_fc_vae.points]\nencoder = 7.5\nlarger_variance = 20")
    assert load_checks(A).task("encoder").points == 7.5 != before
    assert load_checks(A).task("decoder").points == 10
    assert [cell.points for cell in load_source(A).of("answer")] == [20.0]


IN_A_NEW_PROCESS = """
import json, sys
from autograder.build.notebooks import starter
from autograder.checks.registry import load_checks
from autograder.checks.vocabulary import info
from autograder.student.check import notebook_checks
checks = load_checks("03_fc_vae")
cells = starter("03_fc_vae").cells
check = notebook_checks("03_fc_vae")
check("encoder")
print(json.dumps({
    "sentences": [info(f).sentence for f in checks.functions],
    "live": [info(f).live for f in checks.functions],
    "text": "\\n".join(cell.source for cell in cells),
    "points": {c.metadata.nbgrader.grade_id: c.metadata.nbgrader.get("points")
               for c in cells if "nbgrader" in c.metadata},
    "spec": [checks.module.SPEC.below, checks.module.SPEC.epochs, checks.module.SPEC.budget],
}))
"""


def test_points_and_bounds_reach_checks_notebook_and_starter(course):
    """In a process of its own: the checks take their bounds when they are imported."""
    course(
        "[assignment.03_fc_vae]\npoints = {encoder = 25, larger_variance = 20}\n"
        "bounds = {below = 111.5, epochs = 12, budget = 2_000_000}"
    )
    done = subprocess.run(
        [sys.executable, "-c", IN_A_NEW_PROCESS], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    *shown, last = done.stdout.strip().splitlines()
    found = json.loads(last)
    assert "Encoder" in shown[0]
    assert "/ 25)" in shown[0]
    assert found["spec"] == [111.5, 12, 2_000_000]
    assert "your settings, the loss falls below 111.5 within 12 epochs." in str(found["sentences"])
    assert "Your `model` has at most 2 million trainable parameters." in found["sentences"]
    assert "the loss is below 111.5." in str(found["live"])
    assert found["points"]["encoder"] == 25
    assert found["points"]["larger_variance"] == 20
    assert "· 120 points*" in found["text"]
    assert "(20 points, graded by a person)" in found["text"]
    assert "| at most 2 million |" in found["text"]
    assert "| below 111.5 within 12 epochs |" in found["text"]
    assert "    threshold=111.5,\n" in found["text"]
    assert "{{" not in found["text"]


def test_with_the_full_set_its_threshold_and_images_are_used(course, monkeypatch):
    usual = {"below": 125.0, "below_full": 112.0}
    assert course_bounds("test_08_elbo_vae", **usual)["below"] == 125
    course('[assignment.08_elbo_vae]\ndata = "full"')
    assert course_bounds("test_08_elbo_vae", **usual)["below"] == 112
    course('[assignment.08_elbo_vae]\ndata = "full"\nbounds = {below = 115}')
    assert course_bounds("test_08_elbo_vae", **usual)["below"] == 115

    asked = []

    class Images:
        images, labels = torch.zeros(5000, 1, 2, 2, dtype=torch.uint8), torch.zeros(5000)

        def __len__(self) -> int:
            return 5000

        def subset(self, most: int) -> SimpleNamespace:
            return SimpleNamespace(images=self.images[:most], labels=self.labels[:most])

    def load_dataset(name: str, **how: object) -> Images:
        asked.append((name, how["source"]))
        return Images()

    monkeypatch.setattr("vae_utils.load_dataset", load_dataset)
    spec = load_checks("06_vq_vae").module.SPEC
    for in_notebook, images in ((False, 5000), (True, 2000)):
        submission = SimpleNamespace(in_notebook=in_notebook, assignment="08_elbo_vae")
        x, _ = training.training_images(training._with_course_data(submission, spec))
        assert len(x) == images
    assert asked == [("cifar10", "full"), ("photo_patches", "embedded")]


def test_a_course_of_settings_takes_the_rest_from_the_course_around_it(course, tmp_path):
    around = current_course()
    made = course("")
    assert current_course().root == made
    assert (current_course().solutions, current_course().checks) == (
        around.solutions,
        around.checks,
    )
    assert current_course().notebooks == made / "notebooks"
    copied = copy_course(tmp_path / "copy")
    (copied / "autumn").mkdir()
    (copied / "autumn" / "vaelab.toml").write_text("")
    use_course(copied / "autumn")
    assert current_course().solutions == copied / "solutions"
    assert current_course().checks == copied / "checks"


def test_students_get_points_and_bounds_beside_the_notebooks_and_nothing_private(course):
    assert student_course_file() == ""
    made = course(
        ZONE + 'secret = "term.secret"\n[assignment.03_fc_vae]\ndue = 2026-12-01T23:59:00\n'
        'data = "full"\npoints = {encoder = 7.5}\nbounds = {below = 110.0, epochs = 12}\n'
        "extensions = {ada = 2026-12-05T12:00:00Z}"
    )
    wanted = course_file().of(A)
    text = student_course_file()
    assert "ada" not in text
    assert "secret" not in text
    out_of_date = f"{made / 'notebooks' / 'vaelab.toml'} is out of date"
    assert any(line.startswith(out_of_date) for line in notebooks.out_of_date([A]))
    (made / "notebooks").mkdir()
    (made / "notebooks" / "vaelab.toml").write_text(text)
    assert not any(line.startswith(out_of_date) for line in notebooks.out_of_date([A]))
    use_course(made / "notebooks")
    found = course_file().of(A)
    assert found.graded_with == wanted.graded_with
    assert found.due is None


def test_the_documentation_lists_every_bound():
    text = (current_course().root / "docs" / "course_file.md").read_text(encoding="utf-8")
    named = {name for line in text.splitlines() if line.startswith("| `") for name in code(line)}
    bounds = {name for a in assignments() for name in load_checks(a).bounds}
    assert bounds
    assert bounds <= named


def code(line: str) -> list[str]:
    """Return the names in the first cell of a table's row."""
    return re.findall(r"`(\w+)`", line.split(" | ")[0])


def test_the_examples_in_the_course_file_are_right(course):
    text = (current_course().root / "vaelab.toml").read_text()
    examples = re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.M)
    assert "\nper_day" in examples
    course(examples)
    read_all()
    assert course_file().of(A).extensions
    assert course_file().of(A).bounds == {"below": 115.0, "epochs": 12}


def test_the_secret_of_the_term_is_used_by_each_output_folder(tmp_path):
    file = tmp_path / "term.secret"
    with pytest.raises(BatchError, match=r"term.secret cannot be read: No such file.*head -c 32"):
        OutputFolder(tmp_path).secret(file)
    file.write_bytes(b"a" * 31)
    with pytest.raises(BatchError, match="should have 32 bytes"):
        OutputFolder(tmp_path).secret(file)
    own = OutputFolder(tmp_path).secret()
    file.write_bytes(b"a" * 32)
    assert OutputFolder(tmp_path).secret(file) == b"a" * 32 != own
    assert OutputFolder(tmp_path).secret() == b"a" * 32  # for `vaelab explain`


def test_a_bound_is_shown_as_a_person_writes_it():
    assert [in_words(v) for v in (1_500_000, 15_000, 12, 0.04, 120.0)] == [
        "1.5 million",
        "15,000",
        "12",
        "0.04",
        "120",
    ]
