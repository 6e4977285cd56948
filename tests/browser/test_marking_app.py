"""`vaelab mark` in a browser: read an answer, give points with the keyboard alone, go on."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_marking import graded_class  # noqa: F401

from autograder.records.overrides import active, read_log
from autograder.records.results import from_json


@pytest.fixture
def address(graded_class: Path) -> Iterator[str]:  # noqa: F811
    """Serve the app; yield the address that it prints."""
    words = [sys.executable, "-m", "autograder", "mark", str(graded_class / "out"), "--no-browser"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout
        yield served.stdout.readline().removeprefix("Open ").strip()
        served.terminate()


def test_an_answer_is_marked_with_the_keyboard_alone(page, address, graded_class):  # noqa: F811
    page.goto(address)
    assert "token" not in page.url
    assert "ada" not in page.content()
    page.wait_for_selector("a:focus")
    page.keyboard.press("Enter")
    page.wait_for_selector("#points:focus")
    while page.get_by_text("There is no answer.").count():
        page.keyboard.press("Alt+ArrowRight" if page.locator("#next").count() else "Alt+ArrowLeft")
        page.wait_for_load_state()
    assert page.get_by_role("heading", name="Rubric").is_visible()
    assert page.get_by_role("heading", name="A model answer").is_visible()
    page.keyboard.type("99")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=alert]")
    page.fill("#points", "7.5")
    page.keyboard.press("Tab")
    page.keyboard.type("The KL term.\nRead the rubric.")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("caption")  # the other student has no answer, so nothing is left
    assert page.get_by_text("1 of 1").is_visible()
    decided = active(read_log(graded_class / "out"))
    assert [one.points for one in decided["ada"].values()] == [7.5]
    result = from_json((graded_class / "out/results/ada.json").read_text())
    assert (result.score, result.pending) == (7.5, 0)


def test_points_that_were_typed_are_not_lost_by_mistake(page, address):
    page.goto(address)
    page.locator("tbody a").click()
    page.wait_for_selector("#points:focus")
    page.keyboard.type("5")
    with page.expect_event("dialog") as asked:
        page.once("dialog", lambda dialog: dialog.dismiss())
        page.keyboard.press("Escape")
    assert asked.value.type == "beforeunload"
    assert page.input_value("#points") == "5"
