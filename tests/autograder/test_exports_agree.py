"""Every export has the points that the results have: the same class, in each form."""

import csv
import io
import json

import finished
from finished import A, graded, late, overridden
from nbgrader.api import Gradebook
from nbgrader.plugins.export import CsvExportPlugin

from autograder.collecting.roster import read_roster
from autograder.exporting import tables
from autograder.exporting.feedback import feedback_notebook
from autograder.exporting.gradebook import write_gradebook
from autograder.exporting.gradescope_run import as_gradescope
from autograder.grading.judge import unjudged
from autograder.records.results import to_json
from autograder.reports.table import to_csv


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_export_has_the_same_points(tmp_path):
    def raw(student: str) -> bytes:
        return finished.hand_in(tmp_path / "submitted", student, "It blurs.")

    results = [
        graded("ada", raw=raw("ada")),
        graded("bea", "kl_divergence", "forward", raw=raw("bea")),
        late(graded("cyd", "encoder", raw=raw("cyd"))),
        overridden(late(graded("dan", raw=raw("dan"))), "larger_variance", 6.5),
        unjudged(A, "eve", "unreadable", "The file is empty."),
        unjudged(A, "flo", "missing", "There is no file."),
    ]
    final = {one.student: one.final for one in results}
    assert sorted(final.values()) == [0.0, 0.0, 65.0, 67.5, 86.85, 90.0]

    roster = "Student,ID,SIS User ID,SIS Login ID,Section,03 FC VAE (7),Email address\n"
    roster += "".join(f"{name},{n},s{n},{name},1,,{name}@x.org\n" for n, name in enumerate(final))
    (tmp_path / "roster.csv").write_text(roster)
    paired = tables.pair(results, read_roster(tmp_path / "roster.csv"))

    canvas = rows(tables.canvas(paired, A, "VAE (7)"))[1:]
    assert {row["SIS Login ID"]: float(row["VAE (7)"]) for row in canvas} == final
    moodle = rows(tables.moodle(paired))
    assert {row["Email address"][:3]: float(row["Grade"]) for row in moodle} == final
    plain = rows(tables.plain_table(results, paired))
    assert {row["SIS Login ID"]: float(row["final"]) for row in plain} == final
    assert {row["student"]: float(row["final"]) for row in rows(to_csv(results))} == final
    assert {one.student: json.loads(to_json(one))["final"] for one in results} == final

    written = write_gradebook(results, tmp_path / "gradebook.db", tmp_path / "submitted")
    assert written.missing == ("flo",)
    with Gradebook(f"sqlite:///{tmp_path}/gradebook.db") as book:
        CsvExportPlugin(to=str(tmp_path / "grades.csv")).export(book)
    exported = rows((tmp_path / "grades.csv").read_text())
    assert {row["student_id"]: float(row["score"]) for row in exported} == final

    for one in results:
        assert as_gradescope(one, "visible", 1.0)["score"] == one.score
        assert f"{one.score:g} of" in feedback_notebook(one)
