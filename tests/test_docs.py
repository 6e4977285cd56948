"""The documentation: the site builds, every link leads somewhere, and its tables are true."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import vae_utils

ROOT = Path(__file__).resolve().parents[1]
COUNTING = ("README.md", "docs/students.md")
LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)")
needs_mkdocs = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None,
    reason="mkdocs is not installed; requirements.txt has it: run `make setup`",
)


def mkdocs(settings: Path, site: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", settings, "-d", site]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


@needs_mkdocs
def test_the_site_builds_and_loads_nothing_from_other_servers(tmp_path):
    done = mkdocs(ROOT / "mkdocs.yml", tmp_path)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|link|iframe)\b[^>]*(?:src|href)="(\w+:)?//', text)
        assert not loaded, page.name


@needs_mkdocs
@pytest.mark.parametrize("link", ["missing.md", "index.md#missing", "missing.png"])
def test_a_broken_link_fails_the_build(tmp_path, link):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Start\n\n[a link]({link})\n")
    settings = tmp_path / "mkdocs.yml"
    own = "nav: [index.md]\nhooks: []\nplugins: [search]\n"
    settings.write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\n{own}")
    done = mkdocs(settings, tmp_path / "site")
    assert done.returncode != 0
    assert "missing" in done.stderr


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_every_relative_link_leads_to_a_file(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [link for link in LINK.findall(text) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_test_that_the_security_page_names_exists():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)?(?:::(\w+))?`", text)
    named = [(file, test) for file, test in named if file or test]
    assert len(named) > 10
    last = ""
    for file, test in named:
        last = file or last  # a name without a file is in the file named before
        path = ROOT / "tests" / "autograder" / last
        assert path.is_file(), file
        assert f"def {test}" in path.read_text(encoding="utf-8"), f"{file}::{test}"


def test_the_api_page_lists_every_public_name_of_vae_utils():
    text = (ROOT / "docs" / "api" / "vae_utils.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: vae_utils\.(\w+)$", text, re.M)) == vae_utils.__all__


def test_every_place_that_the_architecture_page_names_exists():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    places = re.findall(r"`((?:autograder|vae_utils|tests|solutions|docs)/[\w/.]*)`", text)
    assert len(places) > 10
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_the_architecture_page_lists_the_folders_in_the_order_of_their_imports():
    """Another test compares this order, stated for import-linter, with the imports."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)(?:/|\.py)` \|", text, re.M)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]
    layers = [set(layer.split(" | ")) for layer in reversed(contract["layers"])]
    files = {"__main__", "conftest"}
    stated = {name: n for n, layer in enumerate(layers, 1) for name in layer - files}
    assert {name: int(number) for number, name in rows} == stated


def test_the_page_of_published_numbers_is_what_its_tool_writes():
    from tools import headlines

    results = json.loads(headlines.RESULTS.read_text(encoding="utf-8"))
    page = headlines.as_markdown(results)
    assert (headlines.DOCS / "headlines.md").read_text(encoding="utf-8") == page
    tables = [line for line in page.splitlines() if line.startswith("| |")]
    assert len(tables) == 2
    for heading in tables:  # each column says whose numbers it has
        assert all(
            "ours" in name or "Pyro" in name or "Sonnet" in name
            for name in heading[3:].split("|")
            if name.strip()
        )


def test_every_page_that_counts_the_figures_of_vae_utils_has_the_right_number():
    figures = [name for name in vae_utils.__all__ if name.startswith("plot_")]
    pages = {name: (ROOT / name).read_text(encoding="utf-8") for name in COUNTING}
    found = {
        name: re.findall(r"(\d+)\s+kinds\s+of\s+figures", text) for name, text in pages.items()
    }
    assert found == {name: [str(len(figures))] for name in COUNTING}
