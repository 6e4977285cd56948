"""The gallery: every public figure is in it, and its page needs nothing else."""

import re
import subprocess
import sys

import pytest

from tools.gallery.__main__ import draw_gallery
from tools.gallery.figures import ENTRIES
from tools.gallery.page import shown_code
from vae_utils import plots


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    draw_gallery(folder, epochs=0.01, images=256)
    return folder


def test_every_public_figure_is_in_the_gallery():
    code = "\n".join(shown_code(entry) for entry in ENTRIES)
    assert {name for name in plots.__all__ if f"{name}(" not in code} == set()


def test_each_figure_is_a_png_of_some_size(folder):
    for entry in ENTRIES:
        content = (folder / f"{entry.name}.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > 3000


def test_the_page_needs_no_network_and_describes_each_image(folder):
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == len(ENTRIES)
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert len(re.findall(r'alt="[^"]+"', page)) == len(ENTRIES)
    assert '<html lang="en">' in page
    for target in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{target}"' in page


def test_each_id_of_the_page_is_its_own(folder):
    ids = re.findall(r'id="([^"]+)"', (folder / "index.html").read_text(encoding="utf-8"))
    assert len(ids) == len(set(ids))


def test_the_command_explains_itself():
    command = [sys.executable, "-m", "tools.gallery", "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "--out" in answer.stdout
