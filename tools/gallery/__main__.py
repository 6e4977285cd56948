"""Draw the gallery: `python -m tools.gallery [--out DIR]`."""

import argparse
import time
from pathlib import Path

from tools.gallery.figures import ENTRIES
from tools.gallery.models import train_all
from tools.gallery.page import write_page

DPI = 144


def draw_gallery(folder: Path, epochs: float = 1.0, images: int = 9000) -> Path:
    """Train the small models, draw each figure, write PNGs and the page.

    Args:
        folder: where they go; made if it isn't there.
        epochs: factor of each model's epochs, as `train_all` takes it.
        images: of the training set, how many to train on.

    Returns:
        The page's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    trained = train_all(epochs, images)
    print(f"models trained in {time.perf_counter() - start:.0f} s")
    titles = {}
    for entry in ENTRIES:
        start = time.perf_counter()
        figure = entry.draw(trained)
        figure.savefig(folder / f"{entry.name}.png", dpi=DPI, bbox_inches="tight")
        titles[entry.name] = figure.get_suptitle() or figure.axes[0].get_title(loc="left")
        print(f"{entry.name:24} {time.perf_counter() - start:5.2f} s", flush=True)
    return write_page(ENTRIES, titles, folder)


def main() -> None:
    """Read the arguments, draw, and say where the page is."""
    parser = argparse.ArgumentParser(prog="python -m tools.gallery", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/gallery"), help="folder to write to")
    print(draw_gallery(parser.parse_args().out))


if __name__ == "__main__":
    main()
