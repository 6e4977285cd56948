"""The class page of 300 students with long names, at the width of a laptop and of a phone."""

import pytest
from test_report import class_of_300

from autograder.reports.pages import class_page

NAME, TIME = 0, -2  # columns


@pytest.fixture
def shown(page, tmp_path):
    """The page in the browser."""
    file = tmp_path / "index.html"
    file.write_text(class_page(class_of_300()))
    page.goto(file.as_uri())
    return page


def rows(shown) -> int:
    return shown.locator("#submissions tbody tr:visible").count()


def test_it_filters_by_name_status_task_and_need(shown):
    assert rows(shown) == 300
    shown.select_option("[name=lost]", "kl_divergence")
    assert rows(shown) == 100
    shown.check("[name=look]")
    assert rows(shown) == 10
    shown.uncheck("[name=look]")
    shown.select_option("[name=lost]", "")
    shown.fill("[name=text]", "PAPADOPOULOU 12")
    assert rows(shown) == 10
    shown.fill("[name=text]", "")
    shown.select_option("[name=status]", "timeout")
    assert rows(shown) == 1


def test_the_keyboard_sorts_it(shown):
    button = shown.locator("#submissions thead button").nth(TIME)
    first = shown.locator("#submissions tbody tr").first.locator("th, td").nth(NAME)
    button.focus()
    shown.keyboard.press("Enter")
    assert first.inner_text().endswith("299")
    shown.keyboard.press("Enter")
    assert first.inner_text().endswith("000")


@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_the_window(shown, width):
    """On a phone the table scrolls in its own frame; the page does not."""
    shown.set_viewport_size({"width": width, "height": 900})
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if width == 1280:
        table = "document.getElementById('submissions')"
        assert shown.evaluate(f"{table}.scrollWidth <= {table}.parentNode.clientWidth")
    shown.evaluate("scrollTo(0, 4000)")
    head = shown.locator("#submissions thead").bounding_box()
    assert head
    assert width < 1280 or 0 <= head["y"] < 100, "the head of the table stays visible"
