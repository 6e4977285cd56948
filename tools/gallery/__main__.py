"""Write the gallery: `python -m tools.gallery [--out DIR] [--retrain]`."""

import argparse
import shutil
import time
from pathlib import Path

from matplotlib.figure import Figure

from tools.gallery import numbers  # noqa: F401 (adds its entries)
from tools.gallery.figures import ENTRIES
from tools.gallery.models import train_all
from tools.gallery.page import write_page

DPI = 144


def write_gallery(folder: Path, epochs: float = 1.0, images: int = 9000) -> Path:
    """Train the small models, compute each entry, and write the PNGs and the page.

    The models are saved in `folder/models`. A later call with the same folder uses them again, and
    continues a training that was interrupted.

    Args:
        folder: Where to write. It is created if it is missing.
        epochs: Factor for the number of epochs of each model, as in `train_all`.
        images: Number of training images.

    Returns:
        The path of the page.

    Raises:
        CheckpointError: A saved model does not fit its code any more. Delete `folder/models`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    print("Training seven small models; this takes some minutes the first time.", flush=True)
    start = time.perf_counter()
    trained = train_all(epochs, images, folder / "models")
    print(f"models ready after {time.perf_counter() - start:.0f} s")
    results = {}
    for entry in ENTRIES:
        start = time.perf_counter()
        result = entry.compute(trained)
        if isinstance(result, Figure):
            result.savefig(folder / f"{entry.name}.png", dpi=DPI, bbox_inches="tight")
            result = result.get_suptitle() or result.axes[0].get_title(loc="left")
        results[entry.name] = result
        print(f"{entry.name:24} {time.perf_counter() - start:5.2f} s", flush=True)
    return write_page(ENTRIES, results, folder)


def main() -> None:
    """Read the arguments, write the gallery, and print the path of the page."""
    parser = argparse.ArgumentParser(prog="python -m tools.gallery", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/gallery"), help="folder to write to")
    parser.add_argument("--retrain", action="store_true", help="delete the saved models first")
    arguments = parser.parse_args()
    if arguments.retrain:
        shutil.rmtree(arguments.out / "models", ignore_errors=True)
    print(write_gallery(arguments.out))


if __name__ == "__main__":
    main()
