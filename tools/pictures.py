"""Makes the README's pictures: the class page, a check result, and some figures.

Run `make demo gallery` first, then `.venv/bin/python tools/pictures.py`. The program `chromium`
must be on the PATH: it renders the two pages.
"""

import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from autograder.checks.registry import load_checks
from autograder.course.regions import solved
from autograder.course.sources import load_source
from autograder.quality import corpus
from autograder.student.check import run_in_notebook
from autograder.student.display import as_html

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
OPTIONS += ["--disable-background-networking", "--disable-sync", "--disable-component-update"]


def shoot(page: Path, image: Path, width: int, height: int) -> None:
    """Save a picture of a page, width × height in pixels."""
    with tempfile.TemporaryDirectory() as profile:
        size = [f"--window-size={width},{height}", f"--screenshot={image}"]
        command = ["chromium", *OPTIONS, f"--user-data-dir={profile}", *size, page.as_uri()]
        subprocess.run(command, check=True, capture_output=True)


def check_result(assignment: str, submission: str, task_id: str) -> str:
    """Return the HTML of the check result that a corpus submission gets in its notebook."""
    entry = corpus.load_corpus(assignment)[submission]
    notebook = corpus.make(assignment, entry)
    cells = {c.metadata.nbgrader.grade_id: c.source for c in notebook.cells if c.metadata}
    names: dict = {"__name__": "__main__"}
    for cell in load_source(assignment).of("setup"):
        exec(solved(cell), names)
    for cell in load_source(assignment).of("solution"):
        exec(cells[cell.id], names)
    checks = load_checks(assignment)
    task = checks.task(task_id)
    return as_html(task, run_in_notebook(checks, task, names), 0.0)


def montage(names: list[str], image: Path, height: int = 520) -> None:
    """Put some figures of the gallery side by side, each `height` pixels high."""
    figures = []
    for name in names:
        figure = Image.open(ROOT / "out/gallery" / f"{name}.png").convert("RGB")
        figures.append(figure.resize((figure.width * height // figure.height, height)))
    whole = Image.new("RGB", (sum(figure.width for figure in figures), height), "white")
    left = 0
    for figure in figures:
        whole.paste(figure, (left, 0))
        left += figure.width
    whole.save(image, optimize=True)


def main() -> None:
    """Write the three pictures into docs/images."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    shoot(ROOT / "out/demo/report/index.html", IMAGES / "class-page.png", 1120, 1180)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "check-result.html"
        body = check_result("03_fc_vae", "kl_logvar_as_log_sigma", "kl_divergence")
        page.write_text(f'<meta charset="utf-8"><body style="margin:12px">{body}</body>')
        shoot(page, IMAGES / "check-result.png", 720, 296)
    montage(["latent_space", "latent_space_images", "marginal"], IMAGES / "figures.png")


if __name__ == "__main__":
    main()
