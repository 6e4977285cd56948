"""Feedback: one cause once, no inner terms, and an archive that the platforms take back."""

import io
import json
import zipfile
from dataclasses import replace

import pytest
from finished import KL, A, graded, late, overridden
from typer.testing import CliRunner

from autograder.cli import app
from autograder.collecting.collect import as_csv, table_of
from autograder.collecting.collected import HandedIn, read_collected
from autograder.exporting.feedback import feedback_notebook, pack_feedback
from autograder.grading.judge import unjudged
from autograder.records.causes import grouped
from autograder.records.results import STATUSES, to_json, write_text
from autograder.reports.pages import feedback_page

FILES = {
    "ada": f"down.zip/Ada Love_lace_7_assignsubmission_file_/{A}.ipynb",
    "bea": f"bea_101_9001_{A}-1.ipynb",
    "cyd": "cyd_LATE_102_9002_work.zip/work.ipynb",
    "dan": "",
}
COLLECTED = {
    name: HandedIn("2026-11-30 09:00:00", name == "cyd", 2 if name == "bea" else 1, file)
    for name, file in FILES.items()
}


def test_a_cause_is_shown_once_with_the_checks_that_hang_on_it():
    page = feedback_page(graded("ada", "kl_divergence", "forward"))
    assert page.count("a factor of ½ is missing") == 1
    groups = grouped(graded("ada", "kl_divergence", "forward"))
    first, later = groups["kl_divergence"], groups["forward"]
    failing = [c for c in graded("ada", "kl_divergence").checks if c.outcome == "failed"]
    assert [(g.message, len(g.checks)) for g in first] == [(KL, len(failing))]
    assert {(g.message, g.known_from) for g in later} == {("", "KL divergence")}
    assert "The same cause as in “KL divergence”." in page


def test_passed_checks_stay_apart():
    result = graded("ada")
    shown = [g for groups in grouped(result).values() for g in groups]
    assert [len(g.checks) for g in shown] == [1] * len(result.checks)


def test_a_missing_file_is_one_sentence():
    page = feedback_page(unjudged(A, "ada", "missing", "There is no file x.ipynb."))
    assert "You handed in no notebook for this assignment." in page
    assert page.count("<section") == 1


@pytest.mark.parametrize("status", sorted(STATUSES.keys() - {"graded", "missing"}))
def test_a_reason_that_ends_grading_is_said_once(status):
    page = feedback_page(unjudged(A, "ada", status, "It took 300 seconds."))
    assert page.count("It took 300 seconds.") == 1


def test_the_page_says_which_file_was_graded_and_no_inner_term():
    page = feedback_page(graded("ada"), COLLECTED["cyd"].sentence)
    assert (
        "cyd_LATE_102_9002_work.zip/work.ipynb, handed in on 2026-11-30 09:00:00 UTC, late" in page
    )
    assert "the last of your 2 attempts" in COLLECTED["bea"].sentence
    for term in ("tier", "sandbox", "digest", "worker", "kl_half", "not_run"):
        assert term not in page.partition("</style>")[2]


def test_each_platform_finds_its_students_by_the_names_in_the_archive():
    results = [graded(name, "kl_divergence") for name in FILES] + [graded("eve")]
    packed = pack_feedback(results, COLLECTED)
    archive = zipfile.ZipFile(io.BytesIO(packed.content))
    assert sorted(archive.namelist()) == [
        "Ada Love lace_7_assignsubmission_file_/feedback.html",
        f"bea_101_9001_{A}-1.ipynb",
        "cyd_LATE_102_9002_work.zip",
    ]
    assert packed.left_out == ("dan", "eve")
    # Moodle splits the folder's name at underscores; the second part is the participant's number.
    assert packed.files[0].split("_", 4)[1:4] == ["7", "assignsubmission", "file"]
    notebook = json.loads(archive.read(packed.files[1]))
    assert "a factor of ½ is missing" in "".join(notebook["cells"][0]["source"])
    inner = zipfile.ZipFile(io.BytesIO(archive.read(packed.files[2])))
    assert b"cyd_LATE_102_9002_work.zip" in inner.read("feedback.html")
    assert pack_feedback(results, COLLECTED) == packed


def test_without_a_download_each_student_has_a_folder():
    packed = pack_feedback([graded("ada"), graded("Zoë")], {})
    assert packed.files[0] == "ada/feedback.html"
    assert packed.files[1].startswith("zo~")


def test_the_feedback_notebook_is_text_and_not_code():
    evil = replace(
        graded("ada", "encoder").checks[0], outcome="failed", message="<script>x</script>\n\n# a"
    )
    result = replace(graded("ada", "encoder"), checks=(evil,))
    source = "".join(json.loads(feedback_notebook(result))["cells"][0]["source"])
    assert "<script>" not in source
    assert "\n\n" not in source


def test_the_feedback_notebook_says_what_a_late_submission_loses():
    source = feedback_notebook(late(graded("ada")))
    assert "Final: 81 of 90 points" in source


def test_the_feedback_notebook_has_the_comment_on_a_written_answer():
    source = feedback_notebook(overridden(graded("ada"), "larger_variance", 7.0))
    assert "Larger variance: 7 of 10" in source
    assert "It was agreed." in source


def test_the_table_of_collect_is_read(tmp_path):
    assert read_collected(tmp_path, A) == {}
    write_text(table_of(tmp_path, A), as_csv([], [("x", "y")]))
    assert read_collected(tmp_path, A) == {}


def test_the_command_writes_the_archive(tmp_path):
    write_text(tmp_path / "OUT/results/ada.json", to_json(graded("ada")))
    words = ["export", "feedback", str(tmp_path / "OUT"), "--to", str(tmp_path / "f.zip")]
    done = CliRunner().invoke(app, words)
    assert done.output.replace("\n", "") == f"Wrote 1 files to {tmp_path / 'f.zip'}"
    assert zipfile.ZipFile(tmp_path / "f.zip").namelist() == ["ada/feedback.html"]
