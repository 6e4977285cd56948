"""A term on the real command line and the real nbgrader, and every number of it in every export.

Thirty students hand in two assignments. What each of them must get follows from what each of them
handed in, so that it does not come from the judge.
"""

import csv
import io
import json
import os
import re
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import nbformat
import pytest
from commands import Commands
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from nbgrader.plugins.export import CsvExportPlugin
from test_messy import FORMS
from traitlets.config.loader import PyFileConfigLoader

from autograder.build.notebooks import reference, starter, to_text
from autograder.exporting.gradescope_run import as_gradescope
from autograder.quality import corpus
from autograder.records.results import Result, from_json
from autograder.reports.table import plain

FIRST, SECOND = "00_reparameterization", "10_loss_study"
POINTS = {
    FIRST: {"reparameterize": 25, "toy_gradients": 25, "kl_divergence": 40, "way_back": 10},
    SECOND: {
        "encoder": 15,
        "decoder": 15,
        "reparameterize": 10,
        "forward": 5,
        "bce": 10,
        "squared_error": 10,
        "kl_divergence": 10,
        "both": 5,
        "measure": 10,
        "what_changed": 10,
    },
}
WRITTEN = {FIRST: "way_back", SECOND: "what_changed"}
SETTINGS = """
[course]
title = "Term"
version = "2026"
secret = "../term.secret"
[late]
per_day = 0.1
most = 0.5
[assignment.00_reparameterization.points]
reparameterize = 25
kl_divergence = 40
[assignment.10_loss_study]
due = 2026-11-01T12:00:00Z
[assignment.10_loss_study.extensions]
noor = 2026-11-05T12:00:00Z
"""
# Each student's id and name: commas, umlauts, apostrophes, and what a spreadsheet takes for a
# formula.
NAMES = {
    "=1+1": "Formula, Fay",
    "@sum": "Näme, Jörg",
    "-max": "Miñus, Max",
    "ada": "Lovelace, Ada",
    "bo": "Ö, Bo",
    "chen": "陈, 伟",
    "dj": "D'Arcy, Jean-Luc",
    "emmy": "=cmd|' /C calc'!A0, Emmy",
    "noor": "al-Hüda, Noor",
} | {f"s{number:02}": f"Family{number}, Given {number}" for number in range(21)}
IDS = {student: str(1000 + place) for place, student in enumerate(NAMES)}
Build = Callable[[nbformat.NotebookNode], bytes]


@dataclass
class HandIn:
    """What a student hands in, and what that is worth.

    Attributes:
        build: Makes the file from the solved notebook.
        loses: The tasks that lose their points.
        late: The fraction of the points that is lost.
        when: When it was handed in.
        answer: The points that the written answer is worth; None if there is no answer.
        status: The expected status.
        name: The name of the file.
    """

    build: Build
    loses: tuple[str, ...] = ()
    late: float = 0.0
    when: datetime = datetime(2026, 11, 1, 9, tzinfo=UTC)
    answer: float | None = None
    status: str = "graded"
    name: str = "work.ipynb"


def solved(notebook: nbformat.NotebookNode) -> bytes:
    return to_text(notebook).encode()


def of_corpus(assignment: str, name: str, **more) -> HandIn:
    """Return a submission of the corpus: its solutions in the released notebook."""
    submission = corpus.load_corpus(assignment)[name]

    def build(notebook: nbformat.NotebookNode) -> bytes:
        return solved(with_solutions(notebook, corpus.make(assignment, submission)))

    return HandIn(build, submission.loses, **more)


def messy(form_name: str, **more) -> HandIn:
    """Return a form of the messy corpus: one notebook, or a ZIP archive of all files."""
    form = FORMS[form_name]
    if not form.points:
        more |= {"loses": tuple(POINTS[FIRST])}

    def build(notebook: nbformat.NotebookNode) -> bytes:
        (content,) = form.files(notebook).values()
        return content

    return HandIn(build, **({"status": form.status} | more))


def unchanged(assignment: str, **more) -> HandIn:
    return HandIn(lambda _: solved(starter(assignment)), tuple(POINTS[assignment]), **more)


def with_solutions(notebook, other):
    made = {cell.id: cell.source for cell in other.cells}
    for cell in notebook.cells:
        if cell.id.startswith("solution-"):
            cell.source = made[cell.id]
    return notebook


def day(number: int, hour: int = 9) -> datetime:
    return datetime(2026, 11, number, hour, tzinfo=UTC)


CLASS: dict[str, dict[str, HandIn]] = {
    FIRST: {
        "=1+1": HandIn(solved, answer=7),
        "@sum": of_corpus(FIRST, "kl_without_half", answer=2.5),
        "-max": messy("from Colab", answer=10),
        "ada": HandIn(solved, answer=9),
        "bo": messy("UTF-16", answer=0),
        "chen": messy("byte order mark", answer=3),
        "dj": messy("capture and time", answer=4),
        "emmy": of_corpus(FIRST, "mu_dropped", answer=5),
        "noor": messy("tests deleted", name="00_reparameterization (1).ipynb"),
        "s00": of_corpus(FIRST, "autograd_and_loops"),
        "s01": of_corpus(FIRST, "autograd_and_loops", answer=6),
        "s02": of_corpus(FIRST, "torch_distributions"),
        "s03": of_corpus(FIRST, "differences_and_expm1"),
        "s04": of_corpus(FIRST, "toy_sign", answer=6.25),
        "s05": of_corpus(FIRST, "kl_sign"),
        "s06": of_corpus(FIRST, "own_noise"),
        "s07": unchanged(FIRST),
        "s08": unchanged(FIRST),
        "s09": messy("login page"),
        "s10": messy("cut off"),
        "s11": HandIn(lambda _: solved(starter(SECOND)), tuple(POINTS[FIRST]), status="missing"),
        "s12": messy("pip"),
        "s13": messy("all solutions in one cell"),
        "s14": messy("import in the given cell"),
        "s15": messy("emoji"),
        "s16": messy("no ids of cells"),
        "s17": HandIn(solved, name="work.zip"),
    },
    SECOND: {
        "=1+1": of_corpus(SECOND, "kl_sign", when=day(2, 11), late=0.1),
        "@sum": HandIn(solved, when=day(1), answer=8),
        "-max": of_corpus(SECOND, "measures_loss", when=day(3), late=0.2),
        "ada": of_corpus(SECOND, "no_sigmoid", when=day(20), late=0.5),
        "noor": HandIn(solved, when=day(4), answer=1),
        "s00": HandIn(lambda _: b"<!DOCTYPE html>", tuple(POINTS[SECOND]), status="unreadable"),
        "s01": unchanged(SECOND, when=day(2), late=0.1, name="work.zip"),
    },
}
# What the instructor decides against the checks, and what comes by e-mail after the first grading.
OVERRIDES = {
    FIRST: {"emmy": {"reparameterize": 12.5}},
    SECOND: {"-max": {"measure": 5.0}, "@sum": {"what_changed": 8.0}},
}
MAIL = {
    "emmy": HandIn(solved, answer=5),
    "s05": HandIn(solved),
    "s18": HandIn(solved),
}
FINAL = {FIRST: CLASS[FIRST] | MAIL, SECOND: CLASS[SECOND]}


def expected(assignment: str, student: str) -> dict[str, float]:
    """Return the points of each task; a written answer that nobody has marked is not in it."""
    handed_in = FINAL[assignment].get(student)
    points = POINTS[assignment]
    if handed_in is None:
        found = dict.fromkeys(points, 0.0)
    else:
        found = {task: 0.0 if task in handed_in.loses else points[task] for task in points}
    answer = handed_in.answer if handed_in else None
    found[WRITTEN[assignment]] = answer or 0.0
    if answer is not None and assignment != FIRST:
        del found[WRITTEN[assignment]]
    return found | OVERRIDES[assignment].get(student, {})


def final(assignment: str, student: str) -> float:
    handed_in = FINAL[assignment].get(student)
    late = handed_in.late if handed_in else 0.0
    return round(sum(expected(assignment, student).values()) * (1 - late), 2)


FINALS = {a: {student: final(a, student) for student in NAMES} for a in (FIRST, SECOND)}


def file_of(assignment: str, handed_in: HandIn, released: Path) -> bytes:
    """Return the file that a student hands in, made from the released notebook."""
    notebook = nbformat.read(released, 4)
    with_solutions(notebook, reference(assignment))
    for cell in notebook.cells:
        if handed_in.answer is not None and cell.id == f"answer-{WRITTEN[assignment]}":
            cell.source = f"This answer is worth {handed_in.answer} points."
    content = handed_in.build(notebook)
    return zipped({f"deep/{assignment}.ipynb": content}) if ".zip" in handed_in.name else content


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def unzipped(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def canvas_name(student: str) -> str:
    """Return the beginning of a file's name in a download of Canvas."""
    letters = "".join(c for c in NAMES[student].casefold() if c.isalnum())
    return f"{letters}_{IDS[student]}_9{IDS[student]}_{CLASS[FIRST][student].name}"


def moodle_name(student: str) -> str:
    last, _, first = NAMES[student].partition(", ")
    return f"{first} {last}_{IDS[student]}_assignsubmission_file_"


def write_rosters(folder: Path) -> None:
    """Write the gradebook of Canvas and the grading worksheet of Moodle."""
    with (folder / "canvas.csv").open("w", encoding="utf-8-sig", newline="") as file:
        column = "00 Reparameterization and KL divergence (4711)"
        about = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", column]
        rows = [[name, IDS[one], "", one, "A", ""] for one, name in NAMES.items()]
        csv.writer(file).writerows([about, ["    Points Possible", "", "", "", "", "100"], *rows])
    with (folder / "moodle.csv").open("w", encoding="utf-8", newline="") as file:
        about = ["Identifier", "Full name", "ID number", "Status", "Grade", "Maximum Grade"]
        about += ["Last modified (grade)", "Feedback comments"]
        rows = [
            [f"Participant {IDS[one]}", moodle_name(one).partition("_")[0], one, "", "", "100,00"]
            for one in NAMES
        ]
        csv.writer(file).writerows([about, *([*row, "-", ""] for row in rows)])


def mark(address: str) -> None:
    """Give each answer the points that it says it is worth, on the page of `vaelab mark`."""
    browser = build_opener(HTTPCookieProcessor())
    start = browser.open(address).read().decode()
    (task,) = set(re.findall(r'href="/(\w+)/\d+"', start))
    root = address.partition("/?")[0]
    for number in range(1, len(NAMES) + 1):
        page = browser.open(f"{root}/{task}/{number}").read().decode()
        if worth := re.search(r"is worth ([\d.]+) points", page):
            hidden = dict(re.findall(r'name="(_xsrf|answer)" value="([^"]*)"', page))
            form = hidden | {"points": worth[1], "comment": f"I gave {worth[1]}."}
            browser.open(f"{root}/{task}/{number}", urlencode(form).encode())


@dataclass
class Term:
    """What a term leaves.

    Attributes:
        folder: The folder of everything.
        said: What the commands printed, by a name.
        before: The results of the first grading, by assignment and student.
        kept: The files of the first assignment before the second one came, and after it.
    """

    folder: Path
    said: dict[str, str] = field(default_factory=dict)
    before: dict[str, dict[str, Result]] = field(default_factory=dict)
    kept: list[dict[Path, bytes]] = field(default_factory=list)

    def results(self, assignment: str) -> dict[str, Result]:
        return results_in(self.folder / f"out-{assignment}")

    def text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def rows(self, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.text(name))))


def results_in(out: Path) -> dict[str, Result]:
    found = [from_json(path.read_text()) for path in (out / "results").glob("*.json")]
    return {one.student: one for one in found}


def files_of(folder: Path, assignment: str) -> dict[Path, bytes]:
    """Return the files of an assignment: its submissions and its output folder."""
    out, submissions = folder / f"out-{assignment}", folder / "submissions"
    paths = [*out.rglob("*"), *submissions.glob(f"*/{assignment}/**/*")]
    paths.append(submissions / f"collected-{assignment}.csv")
    return {path: path.read_bytes() for path in paths if path.is_file()}


def release(folder: Path) -> dict[str, Path]:
    """Generate and release both assignments with nbgrader; return the students' notebooks."""
    course = folder / "nbgrader"
    config = PyFileConfigLoader("nbgrader_config.py", str(course)).load_config()
    config.CourseDirectory.root = str(course)
    config.CourseDirectory.db_url = f"sqlite:///{course}/gradebook.db"
    config.Exchange.root = str(folder / "exchange")
    (folder / "exchange").mkdir(mode=0o777)
    (folder / "exchange").chmod(0o777)
    api = NbGraderAPI(config=config)
    for assignment in (FIRST, SECOND):
        for done in (api.generate_assignment(assignment), api.release_assignment(assignment)):
            assert done["success"], done
    outbound = folder / "exchange" / "vaelab" / "outbound"
    return {one: outbound / one / f"{one}.ipynb" for one in (FIRST, SECOND)}


@pytest.fixture(scope="module")
def term(tmp_path_factory) -> Term:
    """Play a term."""
    folder = tmp_path_factory.mktemp("term")
    term = Term(folder)
    course, submissions = folder / "course", folder / "submissions"
    with pytest.MonkeyPatch.context() as patch, Commands() as vaelab:
        # nbgrader calls the program `alembic`, which is in the folder of this Python.
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        of_course = ("--course", course)
        write_rosters(folder)
        (folder / "term.secret").write_bytes(bytes(range(32)))
        vaelab("init", course)
        (course / "vaelab.toml").write_text(SETTINGS)
        vaelab("build", FIRST, SECOND, *of_course)
        vaelab("build", FIRST, SECOND, "--nbgrader", folder / "nbgrader", *of_course)
        released = release(folder)
        files = {
            assignment: {
                student: file_of(assignment, one, released[assignment])
                for student, one in CLASS[assignment].items()
            }
            for assignment in (FIRST, SECOND)
        }
        (folder / "canvas.zip").write_bytes(
            zipped({canvas_name(one): content for one, content in files[FIRST].items()})
        )
        for student, content in files[SECOND].items():
            one = CLASS[SECOND][student]
            path = folder / "moodle" / moodle_name(student) / one.name
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
            os.utime(path, (one.when.timestamp(), one.when.timestamp()))
        for student, one in MAIL.items():
            (folder / "mail").mkdir(exist_ok=True)
            content = zipped({"my work.ipynb": file_of(FIRST, one, released[FIRST])})
            (folder / "mail" / f"{student}.zip").write_bytes(content)

        def collect(source: str, assignment: str, roster: str) -> None:
            words = (folder / source, "--assignment", assignment, "--into", submissions)
            said = vaelab("collect", *words, "--roster", folder / roster, *of_course)
            term.said[f"collect {source}"] = said

        def grade(assignment: str, *more: str, code: int = 0, out: str = "") -> str:
            words = (submissions, "--assignment", assignment, "--jobs", "1", *more, *of_course)
            to = folder / f"out-{out or assignment}"
            database = ("--gradebook", folder / "nbgrader" / "gradebook.db")
            return vaelab("grade", *words, "--out", to, *database, code=code)

        def override(assignment: str) -> None:
            for student, tasks in OVERRIDES[assignment].items():
                for task, points in tasks.items():
                    out = folder / f"out-{assignment}"
                    words = ("--reason", f"It is right: {points}", "--tell", "--author", "Emmy")
                    vaelab("override", *words, *of_course, "--", out, student, task, points)

        collect("canvas.zip", FIRST, "canvas.csv")
        grade(FIRST)
        term.before[FIRST] = term.results(FIRST)
        out = folder / f"out-{FIRST}"
        term.said["mark"] = vaelab("mark", out, "--no-browser", *of_course, opened=mark)
        override(FIRST)
        collect("mail", FIRST, "canvas.csv")
        term.said["grade again"] = grade(FIRST)
        term.kept.append(files_of(folder, FIRST))
        collect("moodle", SECOND, "moodle.csv")
        grade(SECOND)
        term.said["wrong folder"] = grade(SECOND, out=FIRST, code=2)
        override(SECOND)
        grade(SECOND)
        term.kept.append(files_of(folder, FIRST))
        for assignment in (FIRST, SECOND):
            out, of_out = folder / f"out-{assignment}", f"-{assignment}"
            for form, roster in (("moodle", "moodle.csv"), ("csv", "canvas.csv")):
                to = folder / f"{form}{of_out}.csv"
                vaelab("export", form, out, "--roster", folder / roster, "--to", to, *of_course)
            column = () if assignment == FIRST else ("--column", "Loss study (12)")
            to = ("--roster", folder / "canvas.csv", "--to", folder / f"canvas{of_out}.csv")
            vaelab("export", "canvas", out, *to, *column, *of_course)
            said = vaelab("export", "feedback", out, "--to", folder / f"feedback{of_out}.zip")
            term.said[f"feedback{of_out}"] = said
            database = ("--to", folder / "nbgrader" / "gradebook.db")
            term.said[f"gradebook{of_out}"] = vaelab("export", "gradebook", out, *database)
            vaelab("gradescope", assignment, "--to", folder / f"gradescope{of_out}.zip")
        page = folder / "similar.html"
        term.said["similar"] = vaelab("similar", submissions, "--assignment", FIRST, "--to", page)
    return term


BOTH = pytest.mark.parametrize("assignment", [FIRST, SECOND])


@BOTH
def test_every_result_has_the_points_of_what_was_handed_in(term, assignment):
    results = term.results(assignment)
    assert results.keys() == NAMES.keys()
    for student, one in results.items():
        points = {task.task: task.points for task in one.tasks if not task.pending}
        assert points == expected(assignment, student), student
        handed_in = FINAL[assignment].get(student)
        assert one.status == (handed_in.status if handed_in else "missing"), student
    assert {student: one.final for student, one in results.items()} == FINALS[assignment]


@BOTH
def test_the_json_the_table_and_the_pages_have_these_numbers(term, assignment):
    table = term.rows(f"out-{assignment}/scores.csv")
    assert [row["student"] for row in table] == [plain(one) for one in sorted(NAMES)]
    for student, row in zip(sorted(NAMES), table, strict=True):
        points, total = expected(assignment, student), FINALS[assignment][student]
        body = json.loads(term.text(f"out-{assignment}/results/{student}.json"))
        score = sum(points.values())
        assert (body["final"], body["score"]) == (total, score)
        assert body["penalty"] == pytest.approx(score - total)
        for task in POINTS[assignment]:
            assert row[task] == (f"{points[task]:g}" if task in points else "pending")
        assert (float(row["final"]), float(row["score"])) == (total, score)
        page = unescape(term.text(f"out-{assignment}/feedback/{student}.html"))
        assert f'class="total">{score:g} of ' in page
        assert (f"Final: {total:g} of" in page) == (total != score)
    shown = re.findall(
        r'data-value="([\d.]+)">[\d.]+ / ', term.text(f"out-{assignment}/index.html")
    )
    assert sorted(map(float, shown)) == sorted(FINALS[assignment].values())


@BOTH
def test_canvas_moodle_and_the_plain_table_have_these_numbers(term, assignment):
    canvas = term.rows(f"canvas-{assignment}.csv")
    (column,) = (one for one in canvas[0] if one.endswith(")"))
    assert canvas[0][column] == "100"
    assert {row["ID"]: float(row[column]) for row in canvas[1:]} == {
        IDS[student]: total for student, total in FINALS[assignment].items()
    }
    moodle = term.rows(f"moodle-{assignment}.csv")
    assert {row["Identifier"]: float(row["Grade"]) for row in moodle} == {
        f"Participant {IDS[student]}": total for student, total in FINALS[assignment].items()
    }
    for student, row in zip(NAMES, term.rows(f"csv-{assignment}.csv"), strict=True):
        points = expected(assignment, student)
        assert row["ID"] == IDS[student]
        assert float(row["final"]) == FINALS[assignment][student]
        for task in POINTS[assignment]:
            assert row[task] == (f"{points[task]:g}" if task in points else "pending")
    for name in (f"canvas-{assignment}.csv", f"moodle-{assignment}.csv", f"csv-{assignment}.csv"):
        for row in csv.reader(io.StringIO(term.text(name))):
            assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@"))]


@BOTH
def test_nbgraders_gradebook_and_its_export_have_these_numbers(term, assignment):
    handed_in = {one for one, result in term.results(assignment).items() if result.digest}
    with Gradebook(f"sqlite:///{term.folder}/nbgrader/gradebook.db", "vaelab") as book:
        found = {one.student.id: one for one in book.assignment_submissions(assignment)}
        assert found.keys() == handed_in
        for student, one in found.items():
            points = expected(assignment, student)
            assert one.score - one.late_submission_penalty == FINALS[assignment][student]
            grades = [grade for notebook in one.notebooks for grade in notebook.grades]
            assert {grade.name: grade.score for grade in grades} == {
                task: points.get(task, 0.0) for task in POINTS[assignment]
            }
        to = term.folder / f"nbgrader-{assignment}.csv"
        CsvExportPlugin(to=str(to), assignment=[assignment]).export(book)
    exported = term.rows(to.name)
    assert {row["student_id"]: float(row["score"]) for row in exported} == FINALS[assignment]
    assert f"{len(handed_in)} submissions" in term.said[f"gradebook-{assignment}"]


@BOTH
def test_each_student_gets_the_own_feedback_under_the_name_of_the_platform(term, assignment):
    files = unzipped((term.folder / f"feedback-{assignment}.zip").read_bytes())
    results = term.results(assignment)
    handed_in = [one for one, result in results.items() if result.digest]
    names = {}
    for student in handed_in:
        if assignment == SECOND:
            names[student] = f"{moodle_name(student)}/feedback.html"
        elif student not in MAIL:  # whose last file did not come from the platform
            names[student] = canvas_name(student)
    assert files.keys() == set(names.values()), term.said[f"feedback-{assignment}"]
    for student, name in names.items():
        content = files[name]
        if name.endswith(".zip"):
            (content,) = unzipped(content).values()
        text = unescape(content.decode())
        score = sum(expected(assignment, student).values())
        assert f"{score:g} of {results[student].max_score:g} points" in text, student
        assert (f"Final: {FINALS[assignment][student]:g} of" in text) == bool(
            results[student].penalty
        )


@BOTH
def test_gradescope_gets_the_terms_course_and_the_points_before_any_penalty(term, assignment):
    files = unzipped((term.folder / f"gradescope-{assignment}.zip").read_bytes())
    assert files["secret"] == bytes(range(32))
    assert files["grader/vaelab.toml"].decode() == SETTINGS
    for one in term.results(assignment).values():
        if one.status == "graded":
            body = as_gradescope(one, "visible", 1.0)
            points = expected(assignment, one.student)
            assert body["score"] == sum(points.values())
            tasks = [task.task for task in one.tasks if not task.pending]
            shown = [test["score"] for test in body["tests"]]
            assert shown == [points.get(task, 0.0) for task in tasks]


def test_a_second_grading_keeps_marks_overrides_and_earlier_results(term):
    before, after = term.before[FIRST], term.results(FIRST)
    for student, one in after.items():
        if student not in MAIL:
            assert (one.digest, one.checks) == (before[student].digest, before[student].checks)
    assert [one.task for one in after["emmy"].overrides] == ["way_back", "reparameterize"]
    assert before["emmy"].tasks[0].points == 0
    assert after["emmy"].overrides[1].before.points == 25
    assert "Kept 27 of 30 results" in term.said["grade again"]
    assert (
        "s05: before graded, 50 of 100 points; now graded, 90 of 100 points"
        in term.said["grade again"]
    )
    assert "I gave 6.25." in unescape(term.text(f"out-{FIRST}/feedback/s04.html"))


def test_a_second_download_forgets_nobody(term):
    """Three files by e-mail: the times and files of everyone else stay in the table."""
    rows = {row["student"]: row for row in term.rows(f"submissions/collected-{FIRST}.csv")}
    assert rows.keys() - {""} == {plain(student) for student in NAMES}
    for student in CLASS[FIRST].keys() - MAIL.keys():
        file = "" if student == "s11" else canvas_name(student)  # whose notebook is another one
        assert rows[plain(student)]["file"].startswith(file)
        assert rows[plain(student)]["state"] == ("unchanged" if file else "missing")
    assert "27 of 30 students have a notebook" in term.said["collect mail"]


def test_nothing_of_another_assignment_is_overwritten(term):
    before, after = term.kept
    assert before == after
    assert "out-00_reparameterization" in term.said["wrong folder"]


def test_similar_submissions_are_found(term):
    page = term.text("similar.html")
    assert "s00" in page
    assert "s01" in page
