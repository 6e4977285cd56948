"""Makes the small pictures of the figures that each notebook should show.

Run `.venv/bin/python tools/expected_figures.py 03_fc_vae`, or without a name for all assignments.
It executes the solution and saves the first figure of each run cell in
`solutions/expected/<assignment>/`. `vaelab build` reads the pictures from there. Then look at each
picture: its sentence in `solutions/expected/alt.toml` must be true.
"""

import base64
import io
import os
import shutil
import sys

import nbformat
from nbclient import NotebookClient
from PIL import Image

from autograder.build.notebooks import reference
from autograder.course.locate import current_course
from autograder.course.sources import assignments, load_source

WIDTH = 480
COLOURS = 64


def save_figures(assignment: str) -> None:
    """Execute an assignment's solution and save its figures."""
    notebook = nbformat.from_dict(reference(assignment))
    NotebookClient(notebook, timeout=1200, kernel_name="python3").execute()
    folder = current_course().expected / assignment
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cells = {cell.id: cell for cell in notebook.cells}
    for cell in load_source(assignment).of("run"):
        outputs = cells[f"run-{cell.id}"].get("outputs", [])
        pictures = [out.data["image/png"] for out in outputs if "image/png" in out.get("data", {})]
        if pictures:
            small(pictures[0]).save(folder / f"{cell.id}.png", optimize=True)


def small(picture: str) -> Image.Image:
    """Convert a base64 picture to a thumbnail, at most 480 pixels wide, with 64 colours."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    width = min(WIDTH, image.width)
    image = image.resize((width, image.height * width // image.width), Image.Resampling.LANCZOS)
    # MAXCOVERAGE keeps the colours of classes with few points.
    return image.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in sys.argv[1:] or assignments():
        save_figures(name)
        print(f"wrote {current_course().expected / name}")
