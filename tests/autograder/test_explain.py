"""`vaelab explain` shows what a check asked and got; its script gets the same values by itself."""

import hashlib
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from autograder.grading.explain import ExplainError, explain, read_result
from autograder.grading.judge import grade, unjudged
from autograder.quality.corpus import load_corpus, make, write
from autograder.records.results import to_json

# Submissions with a comparison of values: a plain function, a loss as a difference of two calls, a
# model with stubs, the loss of a quantizer, and a loss for each image.
COMPARED = {
    ("00_reparameterization", "sigma_squared"): "reparameterize.draw_value",
    ("03_fc_vae", "kl_without_half"): "kl_divergence.kl_closed_form",
    ("03_fc_vae", "outputs_swapped"): "forward.forward_wiring",
    ("06_vq_vae", "loss_sign"): "vq_loss.vq_loss_value",
    ("08_elbo_vae", "kl_reads_logvar"): "kl_divergence.kl_closed_form",
}
# A script of a correct copy of this submission, to see that the script computes.
WRONG, RIGHT = "kl_without_half", "kl_divergence"
RUN = """
import runpy, sys
for path in sys.argv[1:]:
    print("SCRIPT", path)
    runpy.run_path(path)
"""


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    """Explain a check of each submission; return (result, explanation, notebook) by its name.

    Only one submission is really graded. The other results have its digest, and no outcomes.
    """
    folder = tmp_path_factory.mktemp("explained")
    found = {}
    for (assignment, name), check in COMPARED.items():
        path = write(make(assignment, load_corpus(assignment)[name]), folder, name, assignment)
        if name == WRONG:
            result = grade(path, assignment, name, train=False)
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            result = replace(unjudged(assignment, name, "graded", ""), digest=digest)
        found[name] = (result, explain(result, check, path), path)
    return found


@pytest.fixture(scope="module")
def printed(explained, tmp_path_factory):
    """Run all scripts with PyTorch alone, in one process; return what each printed."""
    folder = tmp_path_factory.mktemp("scripts")
    scripts = {name: one.script for name, (_, one, _) in explained.items()}
    # In this copy the student's mistake is corrected.
    edit = load_corpus("03_fc_vae")[WRONG].edits[0]
    assert edit.replace in scripts[WRONG]
    scripts[RIGHT] = scripts[WRONG].replace(edit.replace, edit.find)
    for name, script in scripts.items():
        (folder / f"{name}.py").write_text(script, encoding="utf-8")
    paths = [str(folder / f"{name}.py") for name in scripts]
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUN, *paths], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    parts = done.stdout.split("SCRIPT ")[1:]
    return dict(zip(scripts, parts, strict=True))


def _number(line: str, text: str) -> float:
    found = re.search(rf"{line}: ([-+.e\d]+)", text)
    assert found, text
    return float(found[1])


@pytest.mark.parametrize("name", [name for _, name in COMPARED])
def test_the_script_computes_the_values_that_were_graded(printed, name):
    text = printed[name]
    assert _number("difference from the values when it was graded", text) == 0
    allowed = float(re.search(r"allowed: ([-+.e\d]+)", text)[1])
    assert _number("largest difference", text) > allowed


def test_the_values_come_from_the_students_code_and_not_from_the_script(printed):
    text = printed[RIGHT]
    allowed = float(re.search(r"allowed: ([-+.e\d]+)", text)[1])
    assert _number("largest difference", text) <= allowed
    assert _number("difference from the values when it was graded", text) > allowed


@pytest.mark.parametrize("name", [name for _, name in COMPARED])
def test_the_script_imports_nothing_of_the_grader_and_warns(explained, name):
    script = explained[name][1].script
    assert "WITHOUT A SANDBOX" in script.split("import", 1)[0]
    code = script.split("]\n\n# The functions", 1)[1]  # behind the student's cells
    assert not re.search(r"^\s*(from|import) (autograder|vae_utils)", code, re.MULTILINE)


def test_the_explanation_says_what_was_asked_what_came_back_and_what_was_expected(explained):
    _, one, _ = explained[WRONG]
    text = "\n".join(one.lines)
    assert one.same
    assert "asked: The KL equals its closed form" in text
    assert ".loss_function(" in text
    got, expected = (_number(rf"  {key}: tensor \(\)", text) for key in ("got", "expected"))
    assert got == pytest.approx(2 * expected, rel=1e-4)


def test_another_message_than_in_the_result_is_reported(explained):
    result, _, path = explained[WRONG]
    changed = [replace(c, message="?") if c.check == "kl_closed_form" else c for c in result.checks]
    one = explain(replace(result, checks=tuple(changed)), "kl_closed_form", path)
    assert not one.same
    assert "This run has another result:" in one.lines


def test_a_training_check_is_not_repeated(explained):
    result, _, path = explained[WRONG]
    check = next(c for c in result.checks if c.task == "training")
    one = explain(result, f"training.{check.check}", path)
    assert one.script == ""
    assert any("trains a model" in line for line in one.lines)


def test_errors_say_what_is_wrong(explained, tmp_path):
    result, _, path = explained[WRONG]
    with pytest.raises(ExplainError, match=r"No check has the name 'kl'\. Write one of: .*kl_"):
        explain(result, "kl", path)
    with pytest.raises(ExplainError, match="not the file that was graded"):
        explain(replace(result, digest="0" * 64), "kl_closed_form", path)
    with pytest.raises(ExplainError, match="not a result"):
        read_result(path)
    saved = tmp_path / "result.json"
    saved.write_text(to_json(result), encoding="utf-8")
    assert read_result(saved) == result
