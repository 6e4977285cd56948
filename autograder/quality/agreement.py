"""The share of a CVAE's samples that look like their digit, over seeds, settings and models.

`docs/agreement.json` has one entry for each trained model. The section that this module writes in
`calibration.md` compares the bound of assignment 04 with these shares.
"""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from autograder.checks.a04_cvae.test_04_cvae import AGREEMENT, SAMPLES

SAVED = Path("docs/agreement.json")
# The kinds of models in the file, and what they are.
RIGHT, CLASS_IN_CODE, IGNORES = "right", "class in the code", "ignores the label"
HEAD = (
    "| models | runs | training loss | agreement: mean, standard deviation, smallest, largest "
    "| distance |"
)


@dataclass(frozen=True)
class Measured:
    """One model, trained on the embedded digits with the settings of a student.

    Attributes:
        kind: `RIGHT`, `CLASS_IN_CODE` or `IGNORES`.
        seed: The seed of its weights and its batches.
        hidden_dim: Features of a layer.
        latent_dim: Size of a code.
        layers: Hidden layers of the encoder and of the decoder.
        activation: The activation between layers.
        lr: The learning rate of Adam.
        batch_size: Images in a batch.
        epochs: Epochs of training.
        loss: The training loss of the last epoch, nats per image.
        agreement: The share of samples that look like their digit.
    """

    kind: str
    seed: int
    hidden_dim: int
    latent_dim: int
    layers: int
    activation: str
    lr: float
    batch_size: int
    epochs: int
    loss: float
    agreement: float


def load(path: Path) -> list[Measured]:
    """Return the saved runs."""
    return [Measured(**run) for run in json.loads(path.read_text("utf-8"))]


def section(path: Path) -> str:
    """Return the section of `calibration.md` about the runs saved in a file.

    The distance is (mean − bound) / standard deviation of the runs of one kind.
    """
    runs = load(path)
    lines = [
        "",
        "## Digits on demand",
        "",
        f"Assignment 04 expects that at least {AGREEMENT:.0%} of {SAMPLES:,} samples look like "
        "the digit that the decoder got. Each model was trained on the embedded digits. The right "
        "models differ in seed, widths, code size, activation, learning rate, batch size and "
        "epochs; every run is in `agreement.json`. The distance is (mean − bound) / standard "
        "deviation: it must be at least 4 for right models, and negative for the others.",
        "",
        HEAD,
        "| --- | --: | --: | --: | --: |",
    ]
    for kind in dict.fromkeys(run.kind for run in runs):
        found = [run for run in runs if run.kind == kind]
        shares, losses = [run.agreement for run in found], [run.loss for run in found]
        numbers = f"{statistics.mean(shares):.3f}"
        distance = "too few runs"
        if len(found) > 1:
            spread = statistics.stdev(shares)
            numbers += f", {spread:.3f}, {min(shares):.3f}, {max(shares):.3f}"
            distance = f"{(statistics.mean(shares) - AGREEMENT) / spread:.1f}"
        lines.append(
            f"| {kind} | {len(found)} | {min(losses):.1f} to {max(losses):.1f} | {numbers} "
            f"| {distance} |"
        )
    return "\n".join(lines) + "\n"
