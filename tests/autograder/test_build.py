"""Notebooks are up to date, contain no solution, and are valid for nbgrader."""

import ast
import base64
import dataclasses
import itertools
import re
import shutil
import tomllib

import nbformat
import pytest
from nbgrader.nbgraderformat.v3 import MetadataValidatorV3

from autograder.build import notebooks as build
from autograder.checks.registry import load_checks
from autograder.course import regions
from autograder.course.locate import CourseError, current_course
from autograder.course.sources import assignments, load_source

EVERY = assignments()


def test_every_notebook_on_disk_is_up_to_date():
    assert build.out_of_date() == []


def test_edited_missing_and_stray_notebooks_are_reported(tmp_path, monkeypatch):
    course = dataclasses.replace(current_course(), root=tmp_path)
    monkeypatch.setattr(build, "current_course", lambda: course)
    (tmp_path / "notebooks").mkdir()
    assert "does not exist" in build.out_of_date()[0]
    (path, *_) = build.build()
    assert build.out_of_date() == []
    assert build.build() == []
    path.write_text(path.read_text().replace("TODO", "DONE", 1))
    (tmp_path / "notebooks/99_stray.ipynb").write_text("{}")
    edited, stray = build.out_of_date()
    assert "is out of date" in edited
    assert "has no source" in stray


@pytest.mark.parametrize("assignment", EVERY)
def test_each_figure_cell_is_followed_by_the_expected_figure(assignment):
    cells = build.starter(assignment).cells
    plotted = [c.id for c in load_source(assignment).of("run") if "plot_" in c.source]
    assert plotted
    for before, cell in itertools.pairwise(cells):
        if before.id.removeprefix("run-") not in plotted:
            assert not cell.id.startswith("expected-") or before.id.startswith("run-")
            continue
        name = f"{before.id.removeprefix('run-')}.png"
        assert re.search(rf"!\[[A-Z][^\[\]]{{30,}}\.\]\(attachment:{name}\)", cell.source)
        picture = base64.b64decode(cell.attachments[name]["image/png"])
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < 100_000


def test_each_expected_picture_has_its_own_sentence_and_each_sentence_a_picture():
    folder = current_course().expected
    texts = tomllib.loads((folder / build.ALT).read_text(encoding="utf-8"))
    pictures = {(path.parent.name, path.stem) for path in folder.glob("*/*.png")}
    assert pictures == {(name, key) for name, table in texts.items() for key in table}
    for table in texts.values():
        assert len(set(table.values())) == len(table)


def test_a_picture_without_a_sentence_raises_and_names_the_file(tmp_path, monkeypatch):
    shutil.copytree(current_course().solutions, tmp_path / "solutions")
    course = dataclasses.replace(current_course(), base=tmp_path)
    monkeypatch.setattr(build, "current_course", lambda: course)
    alt = course.expected / build.ALT
    alt.write_text(re.sub(r"^tug_of_war = .*\n", "", alt.read_text(), flags=re.M))
    with pytest.raises(CourseError, match=r"alt\.toml: there is no sentence tug_of_war in \[00_"):
        build.starter("00_reparameterization")
    alt.unlink()
    with pytest.raises(CourseError, match=re.escape("alt.toml: there is no sentence")):
        build.starter("00_reparameterization")


@pytest.mark.parametrize("assignment", EVERY)
def test_a_starter_contains_no_solution_and_no_output(assignment):
    starter = nbformat.read(current_course().notebooks / f"{assignment}.ipynb", 4)
    texts = "\n".join(cell.source for cell in starter.cells)
    assert "SOLUTION" not in texts
    given = "\n".join(cell.source for cell in load_source(assignment).of("setup", "run"))
    for cell in load_source(assignment).of("solution"):
        for _, secret in regions.REGION.findall(cell.source):
            for line in filter(None, map(str.strip, secret.splitlines())):
                # A closing bracket reveals nothing, and neither does a line that is also given.
                assert len(line) < 12 or line in given or line not in texts, line
    for cell in load_source(assignment).of("answer"):
        assert cell.source.splitlines()[-1] not in texts
    for cell in starter.cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("assignment", EVERY)
def test_a_starter_keeps_every_signature_and_docstring(assignment):
    starter = {c.id: c.source for c in build.starter(assignment).cells}
    for cell in load_source(assignment).of("solution"):
        mine, theirs = (
            {
                (node.name, ast.unparse(node.args), ast.get_docstring(node))
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.FunctionDef)
            }
            for text in (cell.source, starter[f"solution-{cell.id}"])
        )
        assert mine == theirs


@pytest.mark.parametrize("assignment", EVERY)
def test_nbgrader_metadata_is_valid_and_points_add_up(assignment):
    starter = build.starter(assignment)
    for cell in starter.cells:
        MetadataValidatorV3().validate_cell(cell)
    points = [cell.metadata.get("nbgrader", {}).get("points", 0) for cell in starter.cells]
    checks = load_checks(assignment)
    assert sum(points) == getattr(checks.module, "TOTAL_POINTS", build.TOTAL_POINTS)
    locked = {c.id.split("-")[0]: c.metadata.nbgrader.locked for c in starter.cells if c.metadata}
    assert locked["test"]
    assert locked["run"]
    assert locked["setup"]
    assert not locked["solution"]


@pytest.mark.parametrize(
    ("solution", "left"),
    [
        ("a = 1\nb = 2\n", "a = ...\nb = ...\n"),
        ("a, b = 1, 2\n", "(a, b) = ...\n"),
        ("x = 1\nreturn x\n", 'raise NotImplementedError("TODO: the thing")\n'),
    ],
)
def test_the_placeholder_of_a_solution(solution, left):
    source = f"# TODO the thing: as above.\n{regions.BEGIN}\n{solution}{regions.END}\n"
    assert regions.REGION.sub(lambda m: regions._placeholder(m, source), source).endswith(left)


def test_wrong_total_points_raise(monkeypatch):
    monkeypatch.setattr(build, "TOTAL_POINTS", 90.0)
    with pytest.raises(CourseError, match=re.escape("add up to 100, not to 90")):
        build.starter("03_fc_vae")


def test_an_unknown_assignment_raises_and_lists_the_known_ones():
    with pytest.raises(CourseError, match="03_fc_vae"):
        load_source("33_nothing")


@pytest.mark.parametrize("assignment", EVERY)
def test_a_notebook_ends_with_what_next_and_names_pages_that_exist(assignment):
    last = build.starter(assignment).cells[-1].source
    assert "## What next\n" in last
    works = re.findall(r"^- .*? \d{4}, \*", re.sub(r"\n  ", " ", last), re.M)
    assert 2 <= len(works) <= 4
    docs = current_course().root / "docs"
    titles = {path.read_text().splitlines()[0] for path in docs.glob("*.md")}
    pages = re.findall(r"page\s+\*([^*]+)\*", last)
    assert [page for page in pages if f"# {' '.join(page.split())}" not in titles] == []
