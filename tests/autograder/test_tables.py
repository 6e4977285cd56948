"""Tables for learning platforms: their forms, the students of the roster, and no formulas."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import finished
import pytest
from finished import A, graded, late, overridden
from typer.testing import CliRunner

from autograder.cli import app
from autograder.collecting.arrivals import CollectError
from autograder.collecting.roster import read_roster
from autograder.exporting import tables
from autograder.grading.judge import unjudged
from autograder.records.results import to_json, write_text
from autograder.records.text import file_name

# As Canvas and Moodle export them.
CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Notes,03 FC-VAE (4711),Quiz (4712),Final Score
    Points Possible,,,,,,100,10,(read only)
"Lovelace, Ada",101,s101,ada,VAE 1,,,7,
"Byron, Bea",102,s102,bea,VAE 1,,,8,
"Cox, Cyd",103,s103,cyd,VAE 1,,,9,
"""
MOODLE = """\
Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,\
Last modified (submission),Last modified (grade),Feedback comments
Participant 7,Ada Lovelace,ada@x.org,Submitted for grading,,100.00,Yes,-,-,
Participant 8,Bea Byron,bea@x.org,No submission,,100.00,Yes,-,-,
"""
PARTICIPANTS = "First name,Last name,ID number,Email address\nAda,Lovelace,ada,ada@x.org\n"


def roster(folder: Path, text: str) -> list:
    (folder / "roster.csv").write_text(text)
    return read_roster(folder / "roster.csv")


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_canvas_gets_its_header_the_points_possible_and_the_students_of_the_roster(tmp_path):
    results = [graded("ada", "kl_divergence"), graded("bea"), graded("stranger")]
    paired = tables.pair(results, roster(tmp_path, CANVAS))
    assert paired.unmatched == ("stranger",)
    assert rows(tables.canvas(paired, A, "03 FC-VAE (4711)")) == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "03 FC-VAE (4711)"],
        ["    Points Possible", "", "", "", "", "100"],
        ["Lovelace, Ada", "101", "s101", "ada", "VAE 1", "75"],
        ["Byron, Bea", "102", "s102", "bea", "VAE 1", "90"],
        ["Cox, Cyd", "103", "s103", "cyd", "VAE 1", ""],
    ]


def test_the_column_in_canvas_is_found_by_the_name(tmp_path):
    paired = tables.pair([graded("ada")], roster(tmp_path, CANVAS))
    assert rows(tables.canvas(paired, A))[0][-1] == "03 FC-VAE (4711)"
    other = tables.pair([graded("ada")], roster(tmp_path, CANVAS.replace("03 FC-VAE", "Week 3")))
    with pytest.raises(CollectError, match=r"--column.*Week 3 \(4711\), Quiz \(4712\)"):
        tables.canvas(other, A)


def test_a_moodle_worksheet_keeps_its_columns_and_gets_grade_and_comment(tmp_path):
    paired = tables.pair([graded("ada@x.org", "kl_divergence")], roster(tmp_path, MOODLE))
    header, ada, bea = rows(tables.moodle(paired))
    assert header == next(csv.reader([MOODLE.splitlines()[0]]))
    assert ada[:5] == ["Participant 7", "Ada Lovelace", "ada@x.org", "Submitted for grading", "75"]
    assert "KL divergence: 0 of 15 points." in ada[-1]
    assert "a factor of ½ is missing" in ada[-1]
    assert (bea[4], bea[-1]) == ("", "")


def test_moodles_list_of_participants_gives_a_table_with_addresses(tmp_path):
    paired = tables.pair([graded("ada")], roster(tmp_path, PARTICIPANTS))
    assert rows(tables.moodle(paired)) == [
        ["Email address", "Grade", "Feedback comments"],
        ["ada@x.org", "90", ""],
    ]


@pytest.mark.parametrize(
    ("table", "text", "says"),
    [
        (tables.moodle, MOODLE.replace("100.00", "50,00"), "maximum grade of the assignment is 50"),
        (tables.moodle, MOODLE.replace("Last modified (grade)", "x"), "lacks the column"),
        (tables.moodle, "login,name\nada,Ada\n", "neither the column"),
        (lambda paired: tables.canvas(paired, A), PARTICIPANTS, "not a gradebook that Canvas"),
    ],
)
def test_a_roster_that_the_platform_would_refuse_is_refused(table, text, says, tmp_path):
    who = "ada@x.org" if "Identifier" in text else "ada"
    with pytest.raises(CollectError, match=says):
        table(tables.pair([graded(who)], roster(tmp_path, text)))


def test_the_points_that_count_are_written(tmp_path):
    """They have the overrides and the penalty for lateness."""
    one = overridden(late(graded("ada")), "larger_variance", 10.0)
    assert one.final == 90.0
    students = roster(tmp_path, CANVAS)
    assert rows(tables.canvas(tables.pair([one], students), A))[2][-1] == "90"
    plain = rows(tables.plain_table([one], tables.pair([one], students)))
    row = dict(zip(plain[0], plain[1], strict=True))
    assert (row["final"], row["penalty"], row["larger_variance"]) == ("90", "10", "10")
    moodle = tables.moodle(tables.pair([one], roster(tmp_path, PARTICIPANTS)))
    assert rows(moodle)[1][1] == "90"
    assert "10 points less" in moodle
    assert "Larger variance: 10 points. It was agreed." in moodle


def test_two_results_of_one_student_are_refused(tmp_path):
    with pytest.raises(CollectError, match="Two results belong to ada"):
        tables.pair([graded("ada"), graded("Ada Lovelace")], roster(tmp_path, PARTICIPANTS))


def test_an_incomplete_result_leaves_the_cell_empty(tmp_path):
    blank = unjudged(A, "ada", "not_graded", "The grader failed.")
    paired = tables.pair([blank], roster(tmp_path, CANVAS))
    assert rows(tables.canvas(paired, A))[2][-1] == ""


def test_who_handed_in_nothing_gets_no_points(tmp_path):
    missing = unjudged(A, "ada", "missing", "There is no file.")
    paired = tables.pair([missing], roster(tmp_path, CANVAS))
    assert rows(tables.canvas(paired, A))[2][-1] == "0"


@pytest.mark.parametrize("evil", ["=cmd|'/C calc'!A0", "x;=cmd|", "＝cmd", "a\t@x", "-1+1|cmd"])
def test_no_table_has_a_formula(evil, tmp_path):
    one = graded("ada", "kl_divergence")
    checks = tuple(
        replace(c, message=f"{evil} {c.message}") if c.message else c for c in one.checks
    )
    one = replace(one, checks=checks)
    quoted = '"' + evil + '"'
    canvas = CANVAS.replace('"Lovelace, Ada"', quoted).replace("s101", quoted)
    moodle = MOODLE.replace("Ada Lovelace", quoted)
    texts = [
        tables.canvas(tables.pair([one], roster(tmp_path, canvas)), A),
        tables.plain_table([one], tables.pair([one], roster(tmp_path, canvas))),
        tables.moodle(tables.pair([replace(one, student="ada@x.org")], roster(tmp_path, moodle))),
    ]
    for text in texts:
        for row in rows(text):
            for cell in row[:3] + row[-1:]:
                for part in re.split(r"[;,|\t\"]", cell):
                    assert not part.strip().startswith(("=", "+", "@", "＝", "-1")), cell


@pytest.mark.parametrize("form", ["canvas", "moodle", "csv"])
def test_the_commands_write_the_file_and_list_who_is_left_out(form, tmp_path):
    for one in (graded("ada"), graded("stranger")):
        write_text(tmp_path / f"OUT/results/{file_name(one.student)}.json", to_json(one))
    text = {"canvas": CANVAS, "moodle": PARTICIPANTS, "csv": PARTICIPANTS}[form]
    (tmp_path / "roster.csv").write_text(text)
    words = ["export", form, "OUT", "--roster", "roster.csv", "--to", "scores.csv"]
    words = [str(tmp_path / w) if "." in w or w == "OUT" else w for w in words]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "Left out, because they are not on the roster (1): stranger" in done.output
    assert "90" in (tmp_path / "scores.csv").read_text()
    assert "stranger" not in (tmp_path / "scores.csv").read_text()


def test_without_a_roster_the_plain_table_is_that_of_the_class(tmp_path):
    one = graded("ada")
    assert rows(tables.plain_table([one], None))[1][:4] == ["ada", "graded", "90", "90"]
    assert finished.A in to_json(one)
