"""`check("…")` in a notebook shows check results and returns a float for nbgrader."""

import functools
import io
from contextlib import redirect_stderr, redirect_stdout

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.testing.globalipapp import start_ipython
from nbclient import NotebookClient

from autograder.build.notebooks import starter
from autograder.checks.registry import load_checks
from autograder.checks.vocabulary import Task, info
from autograder.course.regions import solved
from autograder.course.sources import load_source
from autograder.records.results import CheckOutcome
from autograder.student import check, display
from autograder.worker.updates import count_updates

A = "03_fc_vae"
TASK = Task("kl_divergence", 15, "KL divergence")


def names_of(edit=lambda text: text) -> dict:
    names = {"__name__": "__main__"}
    for cell in load_source(A).of("setup", "solution"):
        exec(edit(solved(cell)), names)
    return names


def outcomes(task: str, names: dict):
    checks = load_checks(A)
    return check.run_in_notebook(checks, checks.task(task), names)


@pytest.mark.parametrize("task", [t.id for t in load_checks(A).tasks if t.id != "training"])
def test_the_reference_passes_in_the_notebook(task):
    found = outcomes(task, names_of())
    assert {o.outcome for o in found} == {"passed"}, [o.message for o in found]


def test_a_known_mistake_is_recognised_in_the_notebook():
    found = outcomes("kl_divergence", names_of(lambda t: t.replace("kl = -0.5 *", "kl = -1.0 *")))
    assert "kl_without_half" in {o.mistake for o in found}


def test_a_missing_class_is_named():
    (found, *_) = outcomes("forward", {"__name__": "__main__"})
    assert found.outcome == "failed"
    assert (
        "`myVAE` does not exist. Is its cell still in the notebook, and did it run?"
        in found.message
    )


def test_training_is_measured_on_the_notebooks_model():
    names = names_of()
    names["train_losses"] = [1.0]
    (found,) = outcomes("training", names)
    assert found.outcome == "failed"
    assert "should be below 120" in found.message
    names["train_losses"] = []
    assert "run the training cell" in outcomes("training", names)[0].message
    names["train_losses"] = [100.0] * 11
    assert "budget is 10" in outcomes("training", names)[0].message


def test_checks_do_not_change_the_students_objects():
    names = names_of()
    before = {k: v.clone() for k, v in names["model"].state_dict().items()}
    for task in ("encoder", "forward", "parameter_budget"):
        outcomes(task, names)
    assert all((before[k] == v).all() for k, v in names["model"].state_dict().items())
    assert names["model"].training


def outcome(kind: str, message: str = "", mistake: str | None = None) -> CheckOutcome:
    return CheckOutcome("one", "kl_divergence", 15, "The KL is `right`.", kind, message, mistake, 0)


def test_check_results_show_every_check_with_its_message():
    text = display.as_text(TASK, [outcome("passed"), outcome("failed", "Not so.")], 0.0)
    assert text.splitlines() == [
        "✗ KL divergence: not passed yet (0 / 15)",
        "  ✓ The KL is `right`.",
        "  ✗ The KL is `right`.",
        "      Not so.",
    ]


def test_check_results_escape_text_from_the_submission():
    page = display.as_html(TASK, [outcome("failed", "<script>alert(1)</script> `<b>`")], 0.0)
    assert "<script>" not in page
    assert "<code>&lt;b&gt;</code>" in page


def test_check_returns_a_float_and_writes_nothing_to_stderr():
    shell = start_ipython() or InteractiveShell.instance()
    for cell in load_source(A).of("setup", "solution"):
        shell.run_cell(solved(cell), silent=True).raise_error()
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        got = shell.run_cell('check("encoder")')
    assert got.result == 15.0
    # nbgrader reads the number, and the notebook does not show it.
    shown, _ = shell.display_formatter.format(got.result)
    assert shown == {"text/plain": "15.0", "text/html": "<span></span>"}
    assert err.getvalue() == ""


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda text: text, ("not started (0 / 15)", "Not started yet")),
        (
            lambda text: text.replace(
                'raise NotImplementedError("TODO: reparameterize")', "return mu + logvar[5, 5]"
            ),
            ("raised IndexError", "on line 41 of its cell (`return mu + logvar[5, 5]`)"),
        ),
    ],
)
def test_a_kernel_tells_the_students_line_and_what_is_not_started(edit, expected):
    notebook = starter(A)
    for cell in notebook.cells:
        cell.source = edit(cell.source)
    wanted = ("setup-", "solution-my_vae", "test-reparameterize")
    notebook.cells = [cell for cell in notebook.cells if cell.get("id", "").startswith(wanted)]
    NotebookClient(notebook, allow_errors=True, timeout=120).execute()
    (test,) = [cell for cell in notebook.cells if cell.id == "test-reparameterize"]
    text = " ".join(test.outputs[0].data["text/plain"].split())
    assert all(part in text for part in expected), text


def test_every_check_has_a_sentence():
    for function in load_checks(A).functions:
        assert info(function).sentence.endswith(".")


def trained_live(updates: int, optimizer=None) -> CheckOutcome:
    """Update a new model some times; `n_epochs` epochs have two updates. Return its check."""
    count_updates()
    names = names_of(lambda text: text.replace("n_epochs = 10", "n_epochs = 1"))
    names |= {"train_set": range(100), "train_losses": [100.0]}
    model = names["model"]
    step = (optimizer or type(names["optimizer"]))(model.parameters(), lr=1e-3)
    for _ in range(updates):
        model.decoder[0].weight.sum().backward()
        step.step()
    (found,) = outcomes("training", names)
    return found


class Inherited(torch.optim.Adam):
    def step(self):
        super().step()


@pytest.mark.parametrize(
    "optimizer", [None, Inherited, functools.partial(torch.optim.Adam, fused=True), torch.optim.SGD]
)
def test_a_model_that_was_trained_twice_is_told_in_the_notebook(optimizer):
    """The reference has a batch size of 64: 100 images are two updates. The grader trains once."""
    assert "has been updated 3 times" in trained_live(3, optimizer).message
    assert "has been updated" not in trained_live(2, optimizer).message


def test_the_training_check_in_a_notebook_says_that_it_measures_the_existing_model():
    found = trained_live(2)
    assert found.sentence.startswith("The `model` in this notebook")
    assert "the loss is 5" in found.message
    for function in load_checks(A).of("training"):
        assert info(function).sentence.startswith("Trained from scratch")
