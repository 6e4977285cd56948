"""Draws what each notebook's figures should look like, small.

`.venv/bin/python tools/expected_figures.py 03_fc_vae`, or without a name for all of them.

Runs the solution from top to bottom and keeps the first figure of each given cell in
`solutions/expected/<assignment>/`, where `vaelab build` finds it. Without a name: all of them.
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


def draw(assignment: str) -> None:
    """Run an assignment's solution and keep its figures."""
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
    """Shrink a picture, given in base64, to a thumbnail of few colours."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    width = min(WIDTH, image.width)
    image = image.resize((width, image.height * width // image.width), Image.Resampling.LANCZOS)
    # Coverage, not frequency: a class of few points keeps its colour.
    return image.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in sys.argv[1:] or assignments():
        draw(name)
        print(f"drew {current_course().expected / name}")
