"""The gallery: it contains every public figure, its page needs no network, and it can continue."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import vae_utils
from tools.gallery.__main__ import write_gallery
from tools.gallery.figures import ENTRIES
from tools.gallery.models import train_all
from tools.gallery.page import shown_code
from vae_utils import plots

ROOT = Path(vae_utils.__file__).parent.parent
SECTION_OF_NUMBERS = "Numbers"
# Notebooks do not call these names: functions of the package return or raise them.
RETURNED_OR_RAISED = {
    "CheckpointError",
    "DataError",
    "ElboReport",
    "ImageSet",
    "Loader",
    "Posterior",
    "Progress",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    write_gallery(folder, epochs=0.01, images=256)
    return folder


def test_every_public_figure_is_in_the_gallery():
    code = "\n".join(shown_code(entry) for entry in ENTRIES)
    assert {name for name in plots.__all__ if f"{name}(" not in code} == set()


def test_every_public_name_is_used_in_a_notebook_or_in_the_gallery():
    files = [*ROOT.glob("solutions/*.py"), *ROOT.glob("tools/gallery/*.py")]
    code = "\n".join(file.read_text(encoding="utf-8") for file in files)
    unused = {name for name in vae_utils.__all__ if not re.search(rf"\b{name}\(", code)}
    assert unused - RETURNED_OR_RAISED == set()


def test_no_module_of_the_package_that_workers_can_read_has_a_loss_of_the_course():
    files = list(Path(vae_utils.__file__).parent.rglob("*.py"))
    assert files
    for file in files:
        code = file.read_text(encoding="utf-8")
        assert "mse_loss" not in code, file
        assert "quantized" not in code, file


def test_each_figure_is_a_png(folder):
    figures = [entry for entry in ENTRIES if entry.section != SECTION_OF_NUMBERS]
    assert len(figures) > 20
    for entry in figures:
        content = (folder / f"{entry.name}.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > 3000


def test_the_page_needs_no_network_and_describes_each_image(folder):
    page = (folder / "index.html").read_text(encoding="utf-8")
    images = len(list(folder.glob("*.png")))
    assert page.count('src="data:image/png;base64,') == images
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert len(re.findall(r'alt="[^"]+"', page)) == images
    assert '<html lang="en">' in page
    for target in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{target}"' in page


def test_the_page_counts_the_kinds_of_figures(folder):
    page = (folder / "index.html").read_text(encoding="utf-8")
    kinds = [name for name in vae_utils.__all__ if name.startswith("plot_")]
    assert f"the {len(kinds)} kinds of figures" in page


def test_the_page_shows_each_number(folder):
    page = (folder / "index.html").read_text(encoding="utf-8")
    numbers = [entry for entry in ENTRIES if entry.section == SECTION_OF_NUMBERS]
    assert page.count("<samp>") == len(numbers) == len(ENTRIES) - len(list(folder.glob("*.png")))
    assert re.search(r"ELBO -\d+\.\d\d nats", page)


def test_ids_on_the_page_are_unique(folder):
    ids = re.findall(r'id="([^"]+)"', (folder / "index.html").read_text(encoding="utf-8"))
    assert len(ids) == len(set(ids))


def test_saved_models_are_used_again(folder):
    trained = train_all(epochs=0.01, images=256, folder=folder / "models")
    again = train_all(epochs=0.01, images=256, folder=folder / "models")
    assert trained.history == again.history
    assert len(again.history["loss"]) == 1


def test_the_command_prints_its_options():
    command = [sys.executable, "-m", "tools.gallery", "--help"]
    answer = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120, cwd=ROOT
    )
    assert "--out" in answer.stdout
    assert "--retrain" in answer.stdout
