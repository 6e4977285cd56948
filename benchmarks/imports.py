"""Time to import the package, compared with the import of torch."""

import subprocess
import sys
from pathlib import Path

import vae_utils
from benchmarks.measure import Row, in_turn, in_words, ratio

ROUNDS = 7


def measure() -> list[Row]:
    """Return the rows for the package and for its names."""
    no_figures = [n for n, home in vae_utils._HOME.items() if not home.endswith("plots")]
    seconds = in_turn(
        {
            "torch": lambda: run("import torch"),
            "package": lambda: run("import torch, vae_utils"),
            "names": lambda: run(f"from vae_utils import {', '.join(no_figures)}"),
        },
        ROUNDS,
    )
    return [
        Row(
            f"{what} / import torch",
            ratio(seconds[name], seconds["torch"]),
            target=1.3,
            note=f"{in_words(seconds[name])} / {in_words(seconds['torch'])}, new processes",
        )
        for name, what in [
            ("package", "import torch and vae_utils"),
            ("names", "import every name of vae_utils except the figures"),
        ]
    ]


def run(code: str) -> None:
    """Run code in a new Python process."""
    root = Path(vae_utils.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
