"""nbgrader's formgrader in a browser shows the points and comments that the judge gave."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_gradebook import ANSWER, course, empty, hand_in_and_write, opened  # noqa: F401

from autograder.checks.registry import load_checks
from autograder.marking.answers import questions

A = "03_fc_vae"
EXTENSION = '{"nbgrader.server_extensions.formgrader": True}'


@pytest.fixture
def address(course: Path, tmp_path_factory) -> Iterator[str]:  # noqa: F811
    """Serve the course; yield the address of formgrader."""
    running = tmp_path_factory.mktemp("running")
    words = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"]
    words += ["--ServerApp.token=t", "--ServerApp.port=0", f"--ServerApp.root_dir={course}"]
    words += [f"--ServerApp.jpserver_extensions={EXTENSION}"]
    hidden = {"stdout": subprocess.DEVNULL, "stderr": (running / "log").open("w")}
    env = os.environ | {"JUPYTER_RUNTIME_DIR": str(running), "JUPYTER_CONFIG_DIR": str(running)}
    with subprocess.Popen(words, cwd=course, env=env, **hidden) as served:
        until = time.monotonic() + 60
        while not (found := list(running.glob("jpserver-*.json"))):
            assert served.poll() is None, (running / "log").read_text()
            assert time.monotonic() < until, (running / "log").read_text()
            time.sleep(0.2)
        yield f"{json.loads(found[0].read_text())['url']}formgrader?token=t"
        served.terminate()


def test_points_comments_and_the_written_answer_are_there(course, address, page):  # noqa: F811
    hand_in_and_write(course, "ada", "kl_divergence", answer="It blurs.")
    page.goto(address)
    base = page.url.partition("/formgrader")[0]
    page.goto(f"{base}/formgrader/gradebook/{A}/{A}")
    page.get_by_role("link", name="Submission #1").click()
    page.wait_for_selector("input.score")
    scores = page.locator("input.score")
    assert scores.count() == len(load_checks(A).tasks) + 1
    page.get_by_text("a factor of ½ is missing").first.wait_for()
    page.get_by_text("It blurs.").first.wait_for()
    assert page.get_by_text("Rubric (students do not see it)").count() == len(questions(A)) == 1
    page.wait_for_selector(".MathJax")  # no network is needed: the server has MathJax
    field = scores.nth(scores.count() - 1)
    assert field.input_value() == ""
    field.fill("8")
    with page.expect_response(lambda answer: answer.request.method == "PUT") as saved:
        field.press("Tab")
    assert saved.value.ok
    with opened(course) as book:
        assert book.find_grade(ANSWER, A, A, "ada").manual_score == 8.0
