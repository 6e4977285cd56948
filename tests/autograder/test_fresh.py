"""`vaelab check`: what a student's notebook earns in a fresh process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output

from autograder.build.notebooks import reference, starter, to_text
from autograder.checks.registry import load_checks
from autograder.grading.fresh import FreshResult, check_notebook
from autograder.records.errors import UserError
from autograder.records.results import SKIPPED, CheckOutcome
from autograder.student.display import as_text, verdict
from autograder.worker import fresh

A, KL = "00_reparameterization", "return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1)"
VAELAB = [sys.executable, "-c", "from autograder.cli import main; main()", "check"]


def edited(notebook: NotebookNode, old: str, new: str) -> NotebookNode:
    (cell,) = [cell for cell in notebook.cells if old in cell.source]
    cell.source = cell.source.replace(old, new)
    return notebook


def write(folder: Path, notebook: NotebookNode, name: str = A) -> Path:
    path = folder / f"{name}.ipynb"
    path.write_text(to_text(notebook), encoding="utf-8")
    return path


def show(notebook: NotebookNode, task_id: str, outcome: str) -> NotebookNode:
    """Let a check cell have the output that `check` displays."""
    task = load_checks(A).task(task_id)
    one = CheckOutcome("one", task_id, task.points, "It is right.", outcome, "", None, 0.0)
    text = as_text(task, [one], task.points if outcome == "passed" else 0.0)
    (cell,) = [cell for cell in notebook.cells if cell.id == f"test-{task_id}"]
    cell.outputs = [new_output("display_data", {"text/plain": text})]
    return notebook


def check_command(path: Path, *words: str) -> subprocess.CompletedProcess:
    command = [*VAELAB, str(path), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_the_reference_passes_and_the_command_succeeds(tmp_path):
    done = check_command(write(tmp_path, reference(A)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("All checks passed") == 3
    assert "empty" not in done.stdout


def test_the_starter_has_nothing_started_and_an_empty_answer(tmp_path):
    done = check_command(write(tmp_path, starter(A)))
    assert done.returncode == 1
    assert done.stdout.count("Not started") == 3
    assert "still empty: `way_back`" in done.stdout


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (("passed", SKIPPED), SKIPPED),
        ((SKIPPED,), SKIPPED),
        (("todo", SKIPPED), "todo"),
        (("failed", SKIPPED), "failed"),
        (("failed", "todo"), "failed"),
    ],
)
def test_the_state_of_a_task_with_skipped_checks(outcomes, expected):
    found = [CheckOutcome("one", "x", 1, "It is right.", one, "", None, 0.0) for one in outcomes]
    assert verdict(found) == expected


def test_a_name_of_the_open_kernel_only_is_told(tmp_path):
    """The saved notebook shows the task as passed: its kernel knew `half`."""
    notebook = edited(reference(A), KL, KL.replace("-0.5", "-half"))
    for task in ("kl_divergence", "reparameterize"):
        show(notebook, task, "passed")
    done = check_command(write(tmp_path, notebook))
    assert done.returncode == 1
    assert "NameError: name 'half' is not defined" in done.stdout
    said = " ".join(done.stdout.split())
    assert said.count("names or values that the notebook does not make") == 1
    assert "“KL divergence”: the saved notebook shows it as passed" in said
    assert "Restart Kernel and Run All Cells" in said


def test_an_old_failure_in_the_saved_notebook_is_told(tmp_path):
    found = check_notebook(write(tmp_path, show(reference(A), "kl_divergence", "failed")))
    assert found.passed
    assert found.saved == {"kl_divergence": False}


def test_a_cause_in_two_tasks_is_shown_once(tmp_path):
    notebook = reference(A)
    for old in ("return mu + sigma * eps", KL):
        edited(notebook, old, "return scale * mu")
    said = check_command(write(tmp_path, notebook)).stdout
    assert said.count("NameError") == 1
    assert said.count("The same cause as in “Reparameterization”.") == 1


def test_the_import_rule_of_grading_holds(tmp_path):
    """In an open kernel, no import is forbidden."""
    name = "08_elbo_vae"
    edit = "import scipy\n        return scipy.ones(len(mu))"
    notebook = edited(
        reference(name),
        "return torch.sum(0.5 * (mu**2 + sigma**2 - 1) - logsigma, dim=1)",
        edit,
    )
    found = check_notebook(write(tmp_path, notebook, name))
    assert found.states["kl_divergence"] == "failed"
    assert any(one.mistake == "forbidden_import" for one in found.result.checks)


def training(tmp_path: Path, train: bool) -> FreshResult:
    notebook = edited(reference("03_fc_vae"), "n_epochs = 10", "n_epochs = 1")
    return check_notebook(write(tmp_path, notebook, "03_fc_vae"), train)


def test_training_is_left_out_unless_it_is_wanted(tmp_path):
    found = training(tmp_path, train=False)
    assert found.passed
    assert found.states["training"] == SKIPPED
    assert set(found.states.values()) == {"passed", SKIPPED}


def test_with_train_the_model_is_trained_and_measured(tmp_path):
    found = training(tmp_path, train=True)
    assert found.states["training"] == "failed"
    (message,) = [one.message for one in found.result.checks if one.task == "training"]
    assert "it should be below 120" in message
    assert not found.passed


def test_a_cell_that_ends_the_process_is_named_and_nothing_is_passed(tmp_path):
    notebook = reference(A)
    notebook.cells.append(new_code_cell("import os\nos._exit(0)"))
    found = check_notebook(write(tmp_path, notebook))
    assert not found.passed
    place = len(notebook.cells)
    assert any(f"`your cell {place}` did not end" in note for note in found.result.notes)
    assert any("exit code 0" in note for note in found.result.notes)


def test_what_a_cell_prints_is_not_taken_for_an_answer(tmp_path):
    notebook = reference(A)
    notebook.cells.append(new_code_cell("print('x' * 100_000)\nimport os\nos.write(1, b'x' * 100)"))
    assert check_notebook(write(tmp_path, notebook)).passed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no notebook", "does not say to which assignment it belongs"),
        ('{"metadata": {"vaelab": {"assignment": "03_fc_vae"}}}', "no list of cells"),
    ],
)
def test_a_file_that_is_no_notebook_is_one_line(tmp_path, text, says):
    path = tmp_path / "mine.ipynb"
    path.write_text(text)
    done = check_command(path)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert says in line
    with pytest.raises(UserError):
        check_notebook(path)


def test_a_process_that_does_not_start_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(fresh, "START", "raise SystemExit(3)")
    with pytest.raises(UserError, match=r"exit code 3\. It did not start\."):
        check_notebook(write(tmp_path, reference(A)))


def test_the_course_file_beside_the_notebook_counts(tmp_path):
    """It is the one for students; an open kernel reads it too."""
    (tmp_path / "vaelab.toml").write_text(f"[assignment.{A}.points]\nkl_divergence = 7\n")
    said = check_command(write(tmp_path, reference(A))).stdout
    assert "7 / 7" in said


def test_a_saved_output_of_another_cell_is_ignored(tmp_path):
    notebook = reference(A)
    body = json.loads(to_text(notebook))
    output = {
        "output_type": "display_data",
        "data": {"text/plain": ["✓ x: all checks passed (1 / 1)"]},
    }
    body["cells"].append(
        {"cell_type": "code", "source": "", "metadata": {}, "outputs": [output, 3, {"data": 3}]}
    )
    path = tmp_path / f"{A}.ipynb"
    path.write_text(json.dumps(body))
    assert check_notebook(path).saved == {}
