"""Mutation testing: the operators, the data files, and a sample of mutants that is graded."""

from dataclasses import replace

import pytest

from autograder.course.sources import Cell, assignments
from autograder.quality import mutate
from autograder.quality.mutants import Mutant, _of_cell, mutants_of, student_lines
from autograder.records.results import CheckOutcome, Result

SOURCE = """
def loss(x, mu):
    scale = 2
    ### BEGIN SOLUTION
    with torch.no_grad():
        y = F.relu(x.flatten(1))
    return (x - y).sum(dim=1), mu
    ### END SOLUTION
"""
# Assignments whose mutants need little time.
CHEAP = ("00_reparameterization", "03_fc_vae")


@pytest.fixture(scope="module")
def changed() -> dict[tuple[str, str], Mutant]:
    """Return the mutants of a small cell by operator and change."""
    cell = Cell("code", SOURCE.strip(), "solution", "my_loss")
    return {(m.operator, m.change): m for m in _of_cell("03_fc_vae", cell)}


def test_only_the_lines_of_the_student_are_changed(changed):
    cell = Cell("code", SOURCE.strip(), "solution", "my_loss")
    assert student_lines(cell) == {3, 4, 5}
    assert not any(m.line == "scale = 2" for m in changed.values())


@pytest.mark.parametrize(
    ("operator", "change", "text"),
    [
        ("arithmetic", "x - y → (x + y)", "return ((x + y)).sum(dim=1), mu"),
        ("reduction", "(x - y).sum(dim=1) → (x - y).mean(dim=1)", "return (x - y).mean(dim=1), mu"),
        ("dim", "1 → 0", "return (x - y).sum(dim=0), mu"),
        ("dropped keyword", "sum(…) without dim=1", "return (x - y).sum(), mu"),
        ("dropped call", "x.flatten(1) → x", "y = F.relu(x)"),
        ("returns", "(x - y).sum(dim=1), mu → mu, (x - y).sum(dim=1)", "return mu, (x - y).sum"),
        ("detach", "torch.no_grad() → torch.enable_grad()", "with torch.enable_grad():"),
        ("detach", "mu → (mu).detach()", "return (x - y).sum(dim=1), (mu).detach()"),
        ("name", "x → mu", "(mu - y)"),
        ("statement", "return (x - y).sum(dim=1), mu → pass", "    pass"),
    ],
)
def test_an_operator_changes_one_place(changed, operator, change, text):
    mutant = changed[operator, change]
    assert text in mutant.source
    assert mutant.function == "loss"


def test_every_mutant_belongs_to_a_task_and_every_equivalent_to_a_mutant():
    for assignment in assignments():
        lists = mutate.load_lists(assignment)
        mutants = mutants_of(assignment)
        assert len(mutants) > 50
        assert len({m.name for m in mutants}) == len(mutants)
        for mutant in mutants:
            assert mutate.expected_tasks(mutant, lists)
        assert mutate.unused(assignment) == []
        assert all(len(e.reason) > 20 for e in lists.equivalents)


def _result(status: str = "graded", **failed: str) -> Result:
    checks = tuple(
        CheckOutcome("check", task, 10.0, "", outcome, "message", None, 0.0)
        for task, outcome in failed.items()
    )
    from autograder.grading.judge import unjudged

    plain = unjudged("03_fc_vae", "mutant", status, "")
    return type(plain)(**{**vars(plain), "status": status, "checks": checks})


def test_a_verdict_compares_lost_tasks_with_the_tasks_of_the_line():
    lists = mutate.load_lists("03_fc_vae")
    mutant = next(
        m for m in mutants_of("03_fc_vae") if m.target == "kl" and m.operator == "reduction"
    )
    assert mutate.expected_tasks(mutant, lists) == ("kl_divergence",)
    for failed, kind in (
        ({"kl_divergence": "failed"}, mutate.KILLED),
        ({"kl_divergence": "failed", "encoder": "failed"}, mutate.ELSEWHERE),
        ({"encoder": "failed"}, mutate.ELSEWHERE),
        ({"kl_divergence": "passed", "training": "skipped"}, mutate.SURVIVED),
    ):
        assert mutate.judge(mutant, _result(**failed), lists).kind == kind
    assert mutate.judge(mutant, _result("not_graded"), lists).kind == mutate.FAILED
    stopped = _result("memory", kl_divergence="not_run", encoder="not_run")
    assert mutate.judge(mutant, stopped, lists).kind == mutate.STOPPED
    assert mutate.judge(mutant, _result("memory"), lists).kind == mutate.FAILED
    raised = "Your code raised NameError: name 'y' is not defined, on line 4 of its cell (`x = y`)."
    for message, kind in ((raised, mutate.RAISED), ("The KL is wrong.", mutate.ELSEWHERE)):
        result = _result(kl_divergence="failed", reconstruction="failed")
        checks = tuple(replace(c, message=message) for c in result.checks)
        assert mutate.judge(mutant, replace(result, checks=checks), lists).kind == kind
    trained = mutate.judge(mutant, _result(training="failed"), lists, trained=True)
    assert trained.kind == mutate.TRAINED


def test_the_report_counts_each_verdict_and_lists_the_survivors():
    lists = mutate.load_lists("03_fc_vae")
    mutants = [m for m in mutants_of("03_fc_vae") if m.target == "kl"][:2]
    killed = mutate.judge(mutants[0], _result(kl_divergence="failed"), lists)
    alive = mutate.judge(mutants[1], _result(), lists)
    text = mutate.report([killed, alive])
    assert "| 03_fc_vae | 2 | 1 | 0 | 0 | 0 | 0 | 0 | 1 | 0 |" in text
    assert "## Survivors" in text
    assert mutate.counted([killed, alive]) == "2 mutants: 1 killed, 1 survived"


def test_the_report_includes_the_stored_verdicts_of_other_assignments(tmp_path):
    lists = mutate.load_lists("03_fc_vae")
    mutants = mutants_of("03_fc_vae")
    verdicts = [mutate.judge(m, _result(kl_divergence="failed"), lists) for m in mutants]
    mutate.store(tmp_path, "03_fc_vae", verdicts)
    found = mutate.stored(tmp_path, assignments())
    assert found == verdicts
    assert "03_fc_vae" not in mutate.incomplete(found, assignments())
    assert mutate.incomplete(found[1:], ["03_fc_vae"]) == ["03_fc_vae"]
    assert "have been graded" not in mutate.report(found)
    assert "graded: 00_reparameterization." in mutate.report(found, ["00_reparameterization"])


def test_a_task_by_operator_comes_before_the_task_of_the_place():
    lists = mutate.load_lists("09_gaussian_vae")
    for mutant in mutants_of("09_gaussian_vae"):
        if mutant.function == "VAE.calc_elbo" and mutant.target == "kl":
            own = "elbo" if mutant.operator == "detach" else "kl_divergence"
            assert mutate.expected_tasks(mutant, lists) == (own,)


@pytest.mark.slow
def test_a_sample_of_mutants_loses_its_points(judges):
    chosen = mutate.sample(CHEAP, 20)
    for assignment in CHEAP:
        some = [m for m in chosen if m.assignment == assignment]
        for verdict in mutate.run(assignment, judges, chosen=some):
            assert not verdict.is_problem, verdict.sentence()
