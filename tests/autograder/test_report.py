"""Pages, tables and the output folder: complete, escaped, and readable by other programs."""

import csv
import json
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.records.results import (
    CheckOutcome,
    Result,
    TaskScore,
    Versions,
    from_json,
    to_json,
    without_times,
)
from autograder.records.text import printable
from autograder.reports.output_folder import OutputFolder
from autograder.reports.pages import (
    check_rates,
    class_page,
    curve,
    feedback_page,
    recognised_mistakes,
    score_bars,
)
from autograder.reports.table import from_plain, plain, to_csv

EVIL = '<script>alert("x")</script>=cmd()'


def result(student: str, points: float = 15.0, status: str = "graded", message: str = "") -> Result:
    tasks = (
        TaskScore("kl_divergence", "KL divergence", points, 15.0),
        TaskScore("larger_variance", "Larger variance", 0.0, 10.0, pending=True),
    )
    outcome = "passed" if points else "failed"
    mistake = None if points else "kl_sign"
    check = CheckOutcome(
        "kl", "kl_divergence", 15.0, "It is `right`.", outcome, message, mistake, 0.1
    )
    facts = {"training_losses": [200.0, 130.0, 119.0], "below": 120.0, "unit": "nats"}
    return Result("03_fc_vae", student, status, message, tasks, (check,), (), facts, 1.0, "A")


def test_json_round_trip_keeps_a_result():
    one = result("zoë \ud800 ★", 0.0, message="no\nway")
    assert from_json(to_json(one)) == one
    assert json.loads(to_json(one))["max_score"] == 15.0


USED = Versions("VAE Lab 1", "0.1.0", "2.9.0", "3.12.1", "300 s", "0a1b2c", "2026-11-30 21:05:12")


def test_versions_are_kept_and_shown_and_the_date_counts_as_a_time():
    one = replace(result("ada"), versions=USED)
    later = replace(one, versions=replace(USED, date="2026-12-01 08:00:00"))
    assert from_json(to_json(one)) == one
    assert to_json(one) != to_json(later)
    assert without_times(one) == without_times(later)
    page = feedback_page(one)
    assert "Graded on 2026-11-30 21:05:12 UTC with VAE Lab 1, vaelab 0.1.0, PyTorch 2.9.0" in page
    assert "0a1b2c" not in page  # students do not need it
    page = class_page([one, later, replace(one, versions=replace(USED, torch="2.10.0"))])
    assert "2 graded 2026-11-30 21:05:12 to 2026-12-01 08:00:00 UTC with VAE Lab 1" in page
    assert "1 graded 2026-11-30 21:05:12 UTC with VAE Lab 1, vaelab 0.1.0, PyTorch 2.10.0" in page
    assert "secret of the random inputs: 0a1b2c" in page


def test_a_result_of_an_older_grader_has_no_versions():
    body = json.loads(to_json(result("ada")))
    del body["versions"]
    old = from_json(json.dumps(body))
    assert old == result("ada")
    assert "Graded on" not in feedback_page(old)
    assert class_page([old])


@pytest.mark.parametrize("versions", [3, {}, {"course": "x"}, "2.9"])
def test_versions_of_another_form_are_no_result(versions):
    body = json.loads(to_json(result("ada"))) | {"versions": versions}
    with pytest.raises(ValueError, match="Versions"):
        from_json(json.dumps(body))


def test_csv_has_a_column_for_each_task_and_marks_pending_ones():
    rows = list(csv.DictReader(to_csv([result("ada"), result("bob", 0.0)]).splitlines()))
    assert rows[0] == {
        "student": "ada",
        "status": "graded",
        "score": "15",
        "max_score": "15",
        "kl_divergence": "15",
        "larger_variance": "pending",
        "tier": "A",
        "look": "",
        "penalty": "0",
        "final": "15",
        "late": "",
        "overrides": "",
    }
    assert rows[1]["score"] == "0"


@pytest.mark.parametrize(
    "name", ["=cmd()", "+1", "-1", "@x", "\tx", " =x", "\n=x", "＝x", "﹦x", "−1"]
)
def test_a_name_is_never_a_formula(name):
    assert plain(name) == "'" + printable(name)


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
@pytest.mark.parametrize("between", [";", ",", "|", "\t", ";  ", "；", '"', ";\u3000", "a\t;"])
def test_a_name_is_never_a_formula_behind_a_separator(between, sign):
    """Programs split the line at a separator of their own; each part must be plain text."""
    written = plain(f"ada{between}{sign}cmd|'/C calc'!A0")
    for part in re.split(r"[;,|\t\"；]", written):
        assert not part.strip().startswith(sign)
    assert sign in written


@given(st.text("=-@＝'\"|, a", max_size=8))
def test_a_name_is_read_as_it_was_before_it_was_made_plain(name):
    assert from_plain(plain(name)) == name


def test_every_field_of_the_csv_is_quoted():
    """Without quotes, a program that splits at `;` finds a formula in the name."""
    text = to_csv([result("ada;=cmd"), result('bob";=cmd')])
    for line in text.splitlines():
        assert re.fullmatch(r'("([^"]|"")*")(,"([^"]|"")*")*', line)
    assert [row["student"] for row in csv.DictReader(text.splitlines())] == [
        "ada;'=cmd",
        "bob\";'=cmd",
    ]


@pytest.mark.parametrize("name", ["ada", "zoë ★ عمر", "o'neill", "smith, ada-lee", "a+b@c"])
def test_an_ordinary_name_is_unchanged(name):
    assert plain(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "5",
        "null",
        "[]",
        "{}",
        '"x"',
        "true",
        "NaN",
        "[" * 100_000,
        '{"a":' * 100_000,
        "9" * 5000,
        '{"tasks": 5, "checks": [], "notes": []}',
        '{"tasks": [5], "checks": [], "notes": []}',
        '{"tasks": [], "checks": [{}], "notes": [1]}',
    ],
)
def test_other_json_is_no_result(text):
    with pytest.raises(ValueError, match=r"."):
        from_json(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_a_damaged_result_is_refused_or_can_be_shown(data):
    """One value of the result, at any depth, is replaced by another one."""
    body = json.loads(to_json(result("ada", 0.0)))
    place, depth = body, data.draw(st.integers(0, 2))
    while True:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(list(keys)))
        if depth == 0 or not isinstance(place[key], dict | list) or not place[key]:
            break
        place, depth = place[key], depth - 1
    place[key] = data.draw(json_values)
    try:
        read = from_json(json.dumps(body))
    except ValueError:
        return
    assert to_csv([read])
    assert math.isfinite(read.score)


def test_names_are_written_without_control_characters():
    for name in ("\x1b[2Jada", "ada\u202egpj", "ada\nbob,graded,90", "ada\x07", "ada\ud800"):
        assert printable(name).isprintable()
        assert printable(name) != name
        assert "\x1b" not in to_csv([result(name)])
        assert len(to_csv([result(name)]).splitlines()) == 2
        for page in (feedback_page(result(name)), class_page([result(name)])):
            assert not set(name) & set(page) & set("\x1b\u202e\x07\ud800")
    assert printable("zoë ★ عمر") == "zoë ★ عمر"


def test_pages_escape_names_and_messages():
    for page in (feedback_page(result(EVIL, 0.0, message=EVIL)), class_page([result(EVIL, 0.0)])):
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page


def test_pages_need_no_network():
    for page in (feedback_page(result("ada")), class_page([result("ada")])):
        assert not re.search(r"(src|href)=.?(https?:)?//", page)
        assert "@import" not in page


def test_scores_fall_into_their_bins():
    bars = score_bars([0, 9.99, 10, 55, 100, 100])
    assert [bar.count for bar in bars] == [2, 1, 0, 0, 0, 1, 0, 0, 0, 2]
    assert bars[9].share == 1.0


def test_mistakes_are_counted_once_for_each_student():
    seen = recognised_mistakes([result("a", 0.0), result("b", 0.0), result("c")])
    assert [(s.name, s.students) for s in seen] == [("kl_sign", ("a", "b"))]


def test_the_loss_curve_follows_the_losses_and_the_threshold():
    svg = curve([200.0, 130.0, 119.0], 120.0, "nats")
    (points,) = re.findall(r'points="([^"]+)"', svg)
    heights = [float(pair.split(",")[1]) for pair in points.split()]
    assert heights == sorted(heights)
    (limit,) = re.findall(r'class="limit"[^>]* y1="([\d.]+)"', svg)
    assert heights[1] < float(limit) < heights[2]
    assert curve([], 120.0, "nats") is None
    assert curve([float("nan")], 120.0, "nats") is None


def test_results_are_written_at_once_and_no_unfinished_file_is_left(tmp_path):
    written = OutputFolder(tmp_path / "out")
    written.add(result("bob \udc80", 0.0, message="lone \ud800"))
    written.add(result("ada"))
    assert (tmp_path / "out/results/ada.json").is_file()
    assert [r.student for r in written.finish()] == ["ada", "bob \udc80"]
    names = sorted(p.name for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert [n for n in names if n.endswith(".part")] == []
    assert {"scores.csv", "index.html", "ada.html", "ada.json"} <= set(names)
    assert len(names) == 6


def test_a_submission_that_lost_points_by_its_packaging_comes_first_with_its_reason():
    lost = replace(result("bob", 0.0), look=("The cell `mine` raised =cmd|<b>",))
    rows = list(csv.DictReader(to_csv([result("ada"), lost]).splitlines()))
    assert [row["look"] for row in rows] == ["", "The cell `mine` raised =cmd|<b>"]
    page = class_page([result("ada"), lost])
    assert page.index("Look at these first") < page.index("Most frequent known mistakes")
    assert "raised =cmd|&lt;b&gt;" in page
    assert "Look at these first" not in class_page([result("ada")])


def class_of_300() -> list[Result]:
    """A class with long names; every third student lost a task, every tenth should be looked at."""
    return [
        replace(
            result(f"Wolfeschlegelsteinhausenbergerdorff-Papadopoulou {n:03}", 15.0 * (n % 3 > 0)),
            status="timeout" if n == 7 else "graded",
            seconds=float(300 - n),
            look=("`settings` failed before any check.",) if n % 10 == 0 else (),
        )
        for n in range(300)
    ]


def test_the_class_page_counts_checks_and_folds_names():
    page = class_page(class_of_300())
    assert "<details><summary>100 students</summary>" in page
    (rate,) = check_rates(class_of_300())
    assert (rate.passed, rate.run, rate.unexplained) == (199, 299, 0)
    unknown = replace(result("x", 0.0).checks[0], mistake=None)
    (rate,) = check_rates([replace(result("x", 0.0), checks=(unknown,)), result("y")])
    assert (rate.passed, rate.run, rate.unexplained) == (1, 2, 1)


def test_tables_have_captions_heads_and_scopes():
    page = class_page(class_of_300())
    assert page.count("<table") == page.count("<caption") == page.count("<thead") == 4
    assert not re.findall(r"<th(?! scope=)(?!ead)", page)
