"""What is decided after grading: overrides of a person, and the penalty for late submissions."""

import csv
import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autograder.cli import main
from autograder.collecting.collect import collect
from autograder.collecting.collected import submission_times
from autograder.course.settings import LateRule
from autograder.grading.batch import BatchError, Entry
from autograder.grading.judge import unjudged
from autograder.grading.late import SubmissionTime, lateness
from autograder.records.overrides import (
    LOG,
    OverrideError,
    active,
    read_log,
    with_overrides,
    without_overrides,
)
from autograder.records.results import Result, from_json
from autograder.reports import output_folder
from autograder.reports.output_folder import OutputFolder
from autograder.reports.overriding import decide, expect_allowed

A = "00_reparameterization"
REASON = "The <b>message</b> was wrong; the formula is right."


def judged(student: str, points: float = 0.0) -> Result:
    result = unjudged(A, student, "graded", "")
    return replace(result, tasks=(replace(result.tasks[0], points=points), *result.tasks[1:]))


@pytest.fixture
def out(tmp_path):
    output = OutputFolder(tmp_path / "out")
    for student in ("ada", "bob"):
        output.add(judged(student, 30.0))
    output.finish()
    return tmp_path / "out"


def rows(out: Path) -> dict[str, dict[str, str]]:
    found = csv.DictReader((out / "scores.csv").read_text().splitlines())
    return {row["student"]: row for row in found}


def give(out: Path, points: float | None, student="ada", task="kl_divergence", tell=False) -> None:
    decide(out, student, task, points, reason=REASON, author="Prof. Noether", tell=tell)


def test_an_override_is_in_the_json_the_csv_and_both_pages(out):
    give(out, 20)
    body = json.loads((out / "results" / "ada.json").read_text())
    assert (body["score"], body["max_score"]) == (50, 90)
    assert body["overrides"][0]["before"]["points"] == 0
    assert from_json(json.dumps(body)).overrides[0].reason == REASON
    row = rows(out)["ada"]
    assert (row["kl_divergence"], row["score"], row["final"]) == ("20", "50", "50")
    assert row["overrides"].startswith("kl_divergence: 20 instead of 0 (Prof. Noether, 20")
    assert row["overrides"].endswith(f" UTC: {REASON})")
    assert rows(out)["bob"]["overrides"] == ""
    page = (out / "index.html").read_text()
    assert "Points that a person gave" in page
    assert "Prof. Noether" in page
    assert "The &lt;b&gt;message&lt;/b&gt; was wrong" in page
    page = (out / "feedback" / "ada.html").read_text()
    assert "A person gave 20 points here; the checks gave 0." in page
    assert "message" not in page
    assert "Noether" not in page
    give(out, 21, tell=True)
    page = (out / "feedback" / "ada.html").read_text()
    assert "A person gave 21 points here; the checks gave 0. The &lt;b&gt;message" in page


def test_an_override_that_is_taken_back_stays_in_the_log(out):
    before = {path: path.read_text() for path in out.rglob("*.*") if path.is_file()}
    give(out, 20)
    give(out, 35)
    give(out, None)
    assert [(one.points, one.author) for one in read_log(out)] == [
        (20, "Prof. Noether"),
        (35, "Prof. Noether"),
        (None, "Prof. Noether"),
    ]
    after = {path: path.read_text() for path in before}
    assert after == before
    with pytest.raises(OverrideError, match="'kl_divergence' of ada has no override"):
        give(out, None)
    assert len(read_log(out)) == 3


@pytest.mark.parametrize(
    ("student", "task", "points", "says"),
    [
        ("adda", "kl_divergence", 3, "no result of 'adda'. Some that exist: ada"),
        ("ada", "kl", 3, "no task 'kl' in 00_reparameterization, for ada. The tasks are: repar"),
        ("ada", "kl_divergence", 36, "36 points for 'kl_divergence' of ada are not possible; ex"),
        ("ada", "kl_divergence", -1, "expected 0 to 35"),
        ("ada", "kl_divergence", float("nan"), "expected 0 to 35"),
    ],
)
def test_what_is_not_possible_is_one_line_and_changes_nothing(out, student, task, points, says):
    with pytest.raises(OverrideError) as error:
        give(out, points, student, task)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert not (out / LOG).exists()


def test_an_override_survives_grading_again(out):
    """Also a change of the submission: what the judge found then is kept below it."""
    give(out, 20)
    decisions = active(read_log(out))
    again = OutputFolder(
        out, adjust=lambda one: with_overrides(one, decisions.get(one.student, {}))
    )
    again.add(judged("ada", 15.0))
    again.keep(judged("bob", 30.0))
    again.finish()
    assert rows(out)["ada"]["score"] == "35"
    stored = from_json((out / "results" / "ada.json").read_text())
    assert without_overrides(stored).score == 15
    give(out, None)
    assert rows(out)["ada"]["score"] == "15"


def test_an_override_decides_a_written_answer_and_what_an_error_left_open(out):
    written = judged("ada").tasks[-1]
    assert written.pending
    give(out, 8, task=written.task)
    result = from_json((out / "results" / "ada.json").read_text())
    assert (result.score, result.max_score, result.pending) == (38, 100, 0)
    assert rows(out)["ada"][written.task] == "8"
    assert rows(out)["bob"][written.task] == "pending"
    assert f"{written.task}: 8 (Prof. Noether, " in rows(out)["ada"]["overrides"]
    page = (out / "index.html").read_text()
    assert page.count('<td class="mark') == 2 * (3 + 1 + 1)  # tasks, the answer, the flag
    open_ = replace(judged("eve"), tasks=tuple(replace(t, not_graded=True) for t in result.tasks))
    assert not open_.is_complete
    decided = with_overrides(open_, {})
    assert without_overrides(decided) == open_


def test_a_result_with_an_override_is_kept_by_the_next_run(out):
    give(out, 8, task=judged("ada").tasks[-1].task)
    kept = OutputFolder(out).earlier(Entry("ada", out / "ada.ipynb"), A)
    assert kept is not None
    assert kept.overrides


def test_an_override_that_the_course_no_longer_allows_is_an_error(out):
    give(out, 35)
    smaller = judged("ada")
    tasks = tuple(replace(task, max_points=10.0) for task in smaller.tasks)
    with pytest.raises(OverrideError, match="35 points for 'kl_divergence' of ada are not possib"):
        with_overrides(replace(smaller, tasks=tasks), active(read_log(out))["ada"])


def test_before_grading_such_an_override_is_named_with_what_to_do(out):
    give(out, 35)
    decided = active(read_log(out))
    expect_allowed(out, decided, A)
    path = out / LOG
    path.write_text(path.read_text().replace('"points": 35', '"points": 36'))
    with pytest.raises(OverrideError, match=r"36 points .* ada kl_divergence --remove"):
        expect_allowed(out, active(read_log(out)), A)


def test_only_refuses_results_with_other_points_instead_of_dropping_them(out):
    entries = [Entry(student, out / student) for student in ("ada", "bob", "eve")]
    OutputFolder(out).keep_others(entries, ["ada"], A)
    path = out / "results" / "bob.json"
    path.write_text(path.read_text().replace('"max_points": 35', '"max_points": 40'))
    OutputFolder(out).keep_others(entries, ["bob"], A)
    with pytest.raises(BatchError, match=r"result of bob .* Run the command without --only"):
        OutputFolder(out).keep_others(entries, ["ada"], A)


@pytest.mark.parametrize("line", ["{", "[]", '{"date": "x"}', "5", '{"points": "3"}', "\udcff"])
def test_a_damaged_log_is_one_line_and_stays_as_it_is(out, line):
    give(out, 20)
    path = out / LOG
    path.write_bytes(path.read_bytes() + line.encode("utf-8", "surrogateescape") + b"\n")
    before = path.read_bytes()
    with pytest.raises(OverrideError, match=r"overrides\.jsonl(, line 2 is no decision| cannot)"):
        give(out, 21)
    assert path.read_bytes() == before


# Late submissions

DUE = datetime(2026, 12, 1, 22, 59, tzinfo=UTC)
RULE = LateRule(per_day=0.1, grace_minutes=15, most=0.25)


@pytest.mark.parametrize(
    ("minutes", "fraction", "note"),
    [
        (-60, 0.0, "In time"),
        (0, 0.0, "In time"),
        (15, 0.0, "15 min late by the time of the file; within the grace period."),
        (
            16,
            0.1,
            "16 min late by the time of the file: 1 started day × 0.1 = 0.1 of the",
        ),
        (24 * 60, 0.1, "24 h 0 min late"),
        (
            24 * 60 + 1,
            0.2,
            "24 h 1 min late by the time of the file: 2 started days × 0.1 = 0.2",
        ),
        (
            60 * 100,
            0.25,
            "file: 5 started days × 0.1, at most 0.25",
        ),
    ],
)
def test_each_started_day_costs_a_fraction(minutes, fraction, note):
    found = lateness(RULE, DUE, SubmissionTime(DUE + timedelta(minutes=minutes), "of the file"))
    assert found.fraction == fraction
    assert note in found.note


def test_without_a_due_date_a_rule_or_a_time_nothing_is_deducted():
    late = SubmissionTime(DUE + timedelta(days=3), "of the file")
    assert lateness(RULE, None, late) is None
    assert lateness(None, DUE, late).fraction == 0
    assert "late submissions lose nothing" in lateness(None, DUE, late).note
    unknown = lateness(RULE, DUE, SubmissionTime(None, marked_late=True))
    assert unknown.fraction == 0
    assert "not known when" in unknown.note
    assert "marks it as late" in unknown.note


def test_the_penalty_is_a_line_of_its_own_everywhere(out):
    late = lateness(RULE, DUE, SubmissionTime(DUE + timedelta(hours=30), "of the file"))
    output = OutputFolder(out, adjust=lambda one: replace(one, late=late))
    for student in ("ada", "bob"):
        output.add(judged(student, 30.0))
    output.finish()
    body = json.loads((out / "results" / "ada.json").read_text())
    assert (body["score"], body["penalty"], body["final"]) == (30, 6, 24)
    assert body["tasks"][0]["points"] == 30
    row = rows(out)["ada"]
    assert (row["score"], row["penalty"], row["final"]) == ("30", "6", "24")
    assert row["late"].startswith("30 h 0 min late")
    assert "30 − 6 late" in (out / "index.html").read_text()
    page = (out / "feedback" / "ada.html").read_text()
    assert "30 of 90 points" in page
    assert "Late submission: −6 points. Final: 24 of 90 points. Due 2026-12-01 22:59:00 UTC" in page
    give(out, 20)  # the fraction counts for the new points as well
    assert (rows(out)["ada"]["penalty"], rows(out)["ada"]["final"]) == ("10", "40")


def test_an_extension_changes_what_is_kept_without_grading(out):
    result = judged("ada", 30.0)
    late = replace(result, late=lateness(RULE, DUE, SubmissionTime(DUE + timedelta(days=1), "x")))
    in_time = lateness(RULE, DUE + timedelta(days=2), SubmissionTime(DUE + timedelta(days=1), "x"))
    output = OutputFolder(out, adjust=lambda one: replace(one, late=in_time))
    output.keep(late)
    assert from_json((out / "results" / "ada.json").read_text()).penalty == 0
    assert late.penalty == 3


def write(path: Path, time: datetime) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    corpus_text = json.dumps({"metadata": {"vaelab": {"assignment": A}}, "cells": []})
    path.write_text(corpus_text)
    os.utime(path, (time.timestamp(), time.timestamp()))


def test_times_come_from_the_platform_or_the_file_and_never_from_a_download(tmp_path):
    """The files of a Canvas download, and those in an archive, have the time of the download."""
    time = DUE.replace(microsecond=0)
    write(tmp_path / "in" / "ada" / A / f"{A}.ipynb", time)
    assert submission_times(tmp_path / "in", A)("ada") == SubmissionTime(time, "of the file")
    assert submission_times(tmp_path / "in", A)("bob").time is None
    stamp = tmp_path / "in" / "ada" / A / "timestamp.txt"
    stamp.write_text("2026-12-01 10:11:12.000013 UTC\n")
    told = SubmissionTime(datetime(2026, 12, 1, 10, 11, 12, 13, tzinfo=UTC), "of nbgrader")
    assert submission_times(tmp_path / "in", A)("ada") == told
    stamp.write_text("yesterday")
    assert submission_times(tmp_path / "in", A)("ada") == SubmissionTime(time, "of the file")

    folder = tmp_path / "download"
    write(folder / f"lovelaceada_LATE_11_22_{A}.ipynb", time)
    write(folder / f"byron_12_23_{A}.ipynb", time)
    write(folder / "cleo" / f"{A}.ipynb", time)
    write(folder / f"dora+{A}+2026-11-30 10:11:12 UTC+0a" / f"{A}.ipynb", time)
    collect(folder, A, tmp_path / "all")
    when = submission_times(tmp_path / "all", A)
    assert when("lovelaceada") == SubmissionTime(None, marked_late=True)
    assert when("byron") == SubmissionTime(None)
    assert when("cleo") == SubmissionTime(time, "of the file")
    assert when("dora").time == datetime(2026, 11, 30, 10, 11, 12, tzinfo=UTC)
    assert when("eve") == SubmissionTime(None)


# Pages while results come


def test_pages_are_written_while_results_come_but_not_for_each_one(tmp_path, monkeypatch):
    """An interrupted run leaves scores of all results, with the earlier ones of the others."""
    now, pages = [0.0], []
    monkeypatch.setattr(output_folder.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(output_folder, "class_page", lambda every: pages.append(len(every)) or "")
    output = OutputFolder(tmp_path)
    output.waiting = {"zoe": judged("zoe", 30.0)}
    monkeypatch.setattr(output_folder, "feedback_page", lambda *_: "")
    for number in range(300):
        now[0] += 0.1
        output.add(judged(f"s{number:03}"))
    assert 5 <= len(pages) <= 7
    assert pages[0] == 2
    assert rows(tmp_path)["zoe"]["score"] == "30"
    assert len(rows(tmp_path)) == pages[-1]
    output.add(judged("zoe", 0.0))
    output.finish()
    assert rows(tmp_path)["zoe"]["score"] == "0"
    assert len(rows(tmp_path)) == 301


def test_the_command_writes_the_decision_and_its_errors_are_one_line(out, monkeypatch, capsys):
    def run(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["vaelab", "override", str(out), *words])
        main()

    with pytest.raises(SystemExit) as end:
        run("ada", "kl_divergence", "20", "--reason", REASON, "--author", "Emmy")
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith("ada: 30 of 90 points before, now 50 of 90\nScores: ")
    assert read_log(out)[0].author == "Emmy"
    for words, says in (
        (["20"], 'An override needs a reason: --reason "…".'),
        ([], "Write the points of the task, or --remove to take them back."),
        (["20", "--remove"], "Write the points of the task, or --remove to take them back."),
        (["99", "--reason", "x"], "99 points for 'kl_divergence' of ada are not possible"),
    ):
        with pytest.raises(SystemExit) as end:
            run("ada", "kl_divergence", *words)
        assert end.value.code == 2
        printed = capsys.readouterr().err
        assert printed.startswith(f"vaelab: {says}")
        assert len(printed.splitlines()) == 1
    monkeypatch.setenv("HOME", str(out))  # no settings of Git
    with pytest.raises(SystemExit):
        run("ada", "kl_divergence", "--remove")
    assert read_log(out)[1].points is None
    assert read_log(out)[1].author
    assert len(read_log(out)) == 2
