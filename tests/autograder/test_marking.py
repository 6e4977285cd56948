"""The marking app: answers beside rubrics, without names, kept at once, open to one person only."""

import re
import shutil
import signal
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import replace
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from tornado.testing import AsyncHTTPTestCase

from autograder.build.notebooks import reference, starter
from autograder.course.sources import assignments, load_source
from autograder.grading import judge
from autograder.grading.judge import unjudged
from autograder.grading.notebook import open_notebook
from autograder.marking import kept
from autograder.marking.answers import Answer, questions
from autograder.marking.app import COOKIE, application
from autograder.marking.desk import Desk, Mark, is_open, parsed_points, shuffled
from autograder.marking.kept import desk_of
from autograder.marking.markdown import as_html
from autograder.quality import corpus
from autograder.records.errors import UserError
from autograder.records.overrides import active, read_log, with_overrides
from autograder.records.results import Result, answer_digest, from_json
from autograder.reports.output_folder import OutputFolder
from autograder.reports.overriding import refresh

TOKEN = "a-token"
STUDENTS = [f"student-{number:02}" for number in range(12)]
TEXTS = {
    "student-03": "Me: <script>alert(1)</script> **bold** [a](javascript:alert) ![i](http://x/y.png)",
    "student-04": "",
}


def unsaved_desk(assignment: str = "03_fc_vae") -> Desk:
    asked = tuple(questions(assignment))
    answers = {
        (student, one.task): Answer(
            student, one.task, TEXTS.get(student, f"My text {student[-2:]}.")
        )
        for student in STUDENTS
        for one in asked
    }
    marks: dict[tuple[str, str], Mark] = {}

    def save(answer: Answer, points: float, comment: str) -> None:
        marks[answer.student, answer.task] = Mark(points, comment, "me", "now", answer.digest)

    order = {one.task: shuffled(STUDENTS, one.task, b"secret") for one in asked}
    return Desk(assignment, asked, answers, order, lambda: marks, save)


@pytest.mark.parametrize("assignment", assignments())
def test_each_written_answer_has_a_question_a_rubric_and_a_model_answer(assignment):
    found = questions(assignment)
    cells = load_source(assignment).of("answer")
    assert [(one.task, one.points) for one in found] == [(c.id, c.points) for c in cells]
    for one in found:
        assert "?" in one.text or "State" in one.text
        assert "point" in one.rubric
        assert "{{" not in one.text + one.rubric
        assert len(one.model_answer) > 100


def test_the_points_of_a_rubric_add_up():
    for assignment in assignments():
        for one in questions(assignment):
            parts = re.findall(r"^- (\d+) points?:", one.rubric, re.M)
            assert sum(map(int, parts)) == one.points, (assignment, one.task)


def test_each_question_has_an_order_of_its_own_that_a_secret_determines():
    first = shuffled(STUDENTS, "a", b"s")
    assert first == shuffled(STUDENTS[::-1], "a", b"s")
    assert sorted(first) == STUDENTS
    assert len({first, shuffled(STUDENTS, "b", b"s"), shuffled(STUDENTS, "a", b"t")}) == 3


@pytest.mark.parametrize("typed", ["", "ten", "-1", "11", "nan", "inf", "1e9"])
def test_impossible_points_are_refused(typed):
    with pytest.raises(ValueError, match="0 to 10"):
        parsed_points(typed, 10)


@pytest.mark.parametrize(
    ("typed", "points"), [("0", 0), ("10", 10), (" 2,5 ", 2.5), ("7.25", 7.25)]
)
def test_points_may_be_fractions(typed, points):
    assert parsed_points(typed, 10) == points


def test_html_of_an_answer_is_shown_as_text():
    html = as_html(TEXTS["student-03"])
    assert "<script" not in html
    assert "javascript:" not in html
    assert ">a</a>" in html
    assert "<strong>bold</strong>" in html


@pytest.mark.parametrize("part", ["[", "> ", "`a", "![", "*a", "<", "|a", "- "])
def test_a_hostile_answer_is_shown_quickly(part):
    started = time.process_time()
    html = as_html(part * 1_000_000)
    assert time.process_time() - started < 5
    assert "more characters are not shown" in html


class TestApp(AsyncHTTPTestCase):
    """Requests to the running app."""

    def get_app(self):
        self.desk = unsaved_desk()
        self.task = self.desk.questions[0].task
        self.cookies = {COOKIE: TOKEN}
        return application(self.desk, TOKEN)

    def ask(self, path: str, body: dict[str, str] | None = None, **headers: str):
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        host = f"127.0.0.1:{self.get_http_port()}"
        got = self.fetch(
            path,
            method="GET" if body is None else "POST",
            body=None if body is None else urlencode(body),
            headers={"Cookie": cookie, "Host": host} | headers,
            follow_redirects=False,
        )
        for line in got.headers.get_list("Set-Cookie"):
            self.cookies |= {name: one.value for name, one in SimpleCookie(line).items()}
        return got

    def number_of(self, student: str) -> int:
        return self.desk.order[self.task].index(student) + 1

    def mark(self, student: str, points: str, comment: str = "", **changed: str):
        path = f"/{self.task}/{self.number_of(student)}"
        page = self.ask(path).body.decode()
        hidden = dict(re.findall(r'name="(_xsrf|answer)" value="([^"]*)"', page))
        return self.ask(path, hidden | {"points": points, "comment": comment} | changed)

    def test_nobody_without_the_token_gets_in(self):
        self.cookies = {}
        assert self.ask("/").code == 403
        assert self.ask("/?token=wrong").code == 403
        entered = self.ask(f"/?token={TOKEN}")
        assert (entered.code, entered.headers["Location"]) == (302, "/")
        assert self.ask("/").code == 200

    def test_a_name_that_leads_here_is_refused(self):
        assert self.ask("/", Host="evil.example").code == 403

    def test_a_form_of_another_site_is_refused(self):
        self.ask("/")
        assert self.ask(f"/{self.task}/1", {"points": "5", "comment": ""}).code == 403
        assert not self.desk.marks()

    def test_points_are_kept_and_the_next_open_answer_follows(self):
        student = self.desk.order[self.task][-1]
        answered = self.mark(student, "7,5", "Good.\r\nSee the lecture.")
        assert (answered.code, answered.headers["Location"]) == (303, f"/{self.task}/1")
        mark = self.desk.marks()[student, self.task]
        assert (mark.points, mark.comment) == (7.5, "Good.\nSee the lecture.")
        # One of the twelve students has no answer.
        assert "1 of 11" in self.ask("/").body.decode()
        assert "7.5 points" in self.ask(f"/{self.task}/12").body.decode()

    def test_impossible_points_keep_the_comment_and_change_nothing(self):
        answered = self.mark("student-05", "12", "A long comment.")
        assert answered.code == 400
        assert "Give 0 to 10 points." in answered.body.decode()
        assert "A long comment." in answered.body.decode()
        assert not self.desk.marks()

    def test_an_answer_that_changed_meanwhile_gets_no_points(self):
        assert self.mark("student-05", "3", answer="0" * 16).code == 400
        assert not self.desk.marks()

    def test_an_answer_that_changed_after_its_mark_is_open_again_and_says_so(self):
        self.mark("student-05", "3")
        place, key = self.number_of("student-05"), ("student-05", self.task)
        assert self.desk.next_open(self.task, place - 1) != place
        self.desk.answers[key] = replace(self.desk.answers[key], text="Another text.")
        assert self.desk.next_open(self.task, place - 1) == place
        assert "has changed" in self.ask(f"/{self.task}/{place}").body.decode()
        assert self.desk.marks()[key].points == 3

    def test_names_are_hidden_and_no_script_of_an_answer_is_run(self):
        for number in range(1, 13):
            got = self.ask(f"/{self.task}/{number}")
            assert "student-" not in got.body.decode()
            assert "alert(1)<" not in got.body.decode().replace("&lt;", "")
            policy = got.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'nonce-" in policy

    def test_a_missing_answer_says_so_and_proposes_0(self):
        page = self.ask(f"/{self.task}/{self.number_of('student-04')}").body.decode()
        assert "There is no answer, so it earns no points." in page
        assert 'autofocus value="0"' in page

    def test_a_missing_answer_needs_no_click(self):
        for student in STUDENTS:
            if student != "student-04":
                self.mark(student, "5")
        assert self.desk.next_open(self.task, 1) is None
        assert "11 of 11" in self.ask("/").body.decode()

    def test_an_unknown_page_is_no_error_of_the_app(self):
        for path in ("/no_such_task/1", f"/{self.task}/0", f"/{self.task}/13", "/x"):
            assert self.ask(path).code == 404


A = "03_fc_vae"


@pytest.fixture
def graded_class(tmp_path):
    """An output folder with two students, and their submissions."""
    for student, make in (("ada", reference), ("bob", starter)):
        corpus.write(make(A), tmp_path / "submissions", student, A)
    output = OutputFolder(tmp_path / "out")
    with output.locked():
        output.claim(A)
        output.secret()
        for student in ("ada", "bob"):
            output.add(judged(tmp_path, student))
        output.finish()
    return tmp_path


def judged(folder: Path, student: str) -> Result:
    """Return a result as the judge gives it for the student's written answer."""
    (text,) = open_notebook(folder / "submissions" / student / A / f"{A}.ipynb", A).answers.values()
    return with_answer(unjudged(A, student, "graded", ""), text or "")


def with_answer(result: Result, text: str) -> Result:
    """Return a result as the judge gives it for a written answer; "" for none."""
    tasks = tuple(
        one if one.answer is None else replace(one, answer=answer_digest(text), pending=bool(text))
        for one in result.tasks
    )
    return replace(result, tasks=tasks)


def stored(folder, student: str):
    return from_json((folder / "out" / "results" / f"{student}.json").read_text())


def test_marks_are_kept_in_every_file_and_hold_when_graded_again(graded_class):
    out = graded_class / "out"
    desk = desk_of(out, graded_class / "submissions", "Eve")
    (task,) = [one.task for one in desk.questions]
    assert desk.answers["ada", task].text
    assert desk.answers["bob", task].text == ""
    desk.save(desk.answers["ada", task], 7.5, "The <KL> term\nwas meant.")
    assert not is_open(desk.answers["ada", task], desk.marks())
    result = stored(graded_class, "ada")
    assert (result.score, result.max_score, result.pending) == (7.5, 100, 0)
    page = (out / "feedback" / "ada.html").read_text()
    assert "The &lt;KL&gt; term" in page
    refresh(out)
    rows = (out / "scores.csv").read_text().splitlines()
    assert '"7.5"' in rows[1]
    assert '"pending"' not in rows[2]  # bob has no answer
    decided = active(read_log(out))
    output = OutputFolder(out)
    output.adjust = lambda one: with_overrides(one, decided.get(one.student, {}))
    with output.locked():
        output.add(judged(graded_class, "ada"))
    assert stored(graded_class, "ada").score == 7.5


def test_a_mark_counts_for_the_answer_that_was_marked(graded_class):
    """A changed answer is pending again, an unchanged one keeps its points."""
    out = graded_class / "out"
    desk = desk_of(out, graded_class / "submissions", "Eve")
    (task,) = [one.task for one in desk.questions]
    answer = desk.answers["ada", task]
    desk.save(answer, 7.5, "")
    desk.save(desk.answers["bob", task], 0, "")
    decided = active(read_log(out))
    for student, text, expected in (
        ("ada", answer.text, (7.5, 0)),
        ("ada", "Another text.", (0, 10)),
        ("bob", "", (0, 0)),
        ("bob", "Handed in later.", (0, 10)),
    ):
        result = with_answer(unjudged(A, student, "graded", ""), text)
        result = with_overrides(result, decided[student])
        assert (result.score, result.pending) == expected
    # If the grader failed, it does not know the answer.
    unknown = with_overrides(unjudged(A, "ada", "not_graded", ""), decided["ada"])
    assert (unknown.score, unknown.pending) == (0, 10)


@pytest.mark.parametrize("text", ["", "*Write your answer here.*", " YOUR ANSWER HERE\n"])
def test_what_the_course_or_nbgrader_wrote_is_no_answer(tmp_path, text):
    notebook = reference(A)
    (cell,) = [one for one in notebook.cells if one.get("id") == "answer-larger_variance"]
    cell.source = text
    path = corpus.write(notebook, tmp_path, "ada", A)
    assert list(open_notebook(path, A).answers.values()) == [None]


def test_all_copies_of_an_answer_are_marked(tmp_path):
    """Otherwise one copy could be marked and another one shown."""
    notebook = reference(A)
    (cell,) = [one for one in notebook.cells if one.get("id") == "answer-larger_variance"]
    copied = deepcopy(cell)
    cell.source, copied.source = "The first copy.", "The second copy."
    notebook.cells.append(copied)
    path = corpus.write(notebook, tmp_path, "ada", A)
    assert list(open_notebook(path, A).answers.values()) == ["The first copy.\n\nThe second copy."]


@pytest.mark.parametrize(
    ("status", "pending"), [("missing", 0), ("unreadable", 0), ("crashed", 10)]
)
def test_without_a_notebook_there_is_no_answer_to_mark(status, pending):
    result = unjudged(A, "ada", status, "")
    assert (result.pending, result.max_score) == (pending, 100 - pending)


def test_the_judge_knows_which_answers_there_are(graded_class):
    for student, pending in (("ada", 10), ("bob", 0)):
        path = graded_class / "submissions" / student / A / f"{A}.ipynb"
        opened = open_notebook(path, A)
        tasks, _ = judge._scores(A, [], "", opened.answers)
        assert sum(task.max_points for task in tasks if task.pending) == pending
        (digest,) = [task.answer for task in tasks if task.answer is not None]
        desk = desk_of(graded_class / "out", graded_class / "submissions", "Eve")
        assert digest == desk.answers[student, desk.questions[0].task].digest


def test_a_submission_that_changed_after_grading_is_graded_first(graded_class):
    output = OutputFolder(graded_class / "out")
    with output.locked():
        output.add(with_answer(unjudged(A, "ada", "graded", ""), "An older text."))
        output.add(judged(graded_class, "bob"))
        output.finish()
    with pytest.raises(UserError, match=r"\(1: ada\)\. Grade the class again"):
        desk_of(graded_class / "out", graded_class / "submissions", "Eve")


def test_a_student_without_a_folder_is_one_line(graded_class):
    shutil.rmtree(graded_class / "submissions" / "bob")
    with pytest.raises(UserError, match="no folder of bob"):
        desk_of(graded_class / "out", graded_class / "submissions", "Eve")


def test_an_assignment_without_questions_is_one_line(graded_class, monkeypatch):
    monkeypatch.setattr(kept, "questions", lambda assignment: [])
    with pytest.raises(UserError, match="no written answer"):
        desk_of(graded_class / "out", graded_class / "submissions", "Eve")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_ended(graded_class, number):
    """Also if SIGINT was ignored before, as in a shell's background."""
    words = [sys.executable, "-m", "autograder", "mark", str(graded_class / "out")]
    done = subprocess.Popen(
        [*words, "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert done.stdout
    address = done.stdout.readline().removeprefix("Open ").strip()
    with build_opener(HTTPCookieProcessor()).open(address, timeout=30) as page:
        assert "Written answers of 03_fc_vae" in page.read().decode()
    done.send_signal(number)
    assert "Answers left to mark: 1" in done.communicate(timeout=60)[0]
    assert done.returncode == 0
