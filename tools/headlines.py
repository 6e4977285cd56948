"""Measures what papers and published examples quote, beside what thresholds speak of.

`VAELAB_DATA=FOLDER .venv/bin/python tools/headlines.py quarter` or `… codebook [UPDATES]`, on the
full sets; writes docs/headlines.md. A quarter of an hour each on one core.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autograder.course.reference import run_reference
from autograder.records.results import write_text
from vae_utils import VaeView, importance_weighted_bound, load_dataset, make_loader, seed_everything
from vae_utils.plots.style import BLUE, QUIET, RED, new_figure, set_title

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
KEPT = DOCS / "headlines.json"
DRAWS = 100
EVERY = 250


def quarter() -> dict[str, Any]:
    """Nats for the three quarters that were not shown: the network's, and the CVAE's.

    −log p(rest | quarter), the mean over the 10,000 test digits. The CVAE's is the
    importance-weighted bound (Burda, Grosse & Salakhutdinov 2016, equation 8), with the encoder's
    posterior as proposal: an upper bound on the nats.
    """
    names = run_reference("05_structured_cvae", 0)
    model, baseline, lower_left = (names[n] for n in ("model", "baseline", "lower_left"))
    train_set = load_dataset("mnist")
    loader = make_loader(train_set, names["batch_size"])
    for _ in range(names["n_epochs"]):
        for x, _ in loader:
            names["train_step"](model, names["optimizer"], x)
            names["baseline_step"](baseline, names["baseline_optimizer"], x)
    images = load_dataset("mnist", train=False).images / 255
    shown = torch.zeros(1, 1, 28, 28)
    shown[..., 14:, :14] = 1
    assert torch.equal(lower_left(images)[0], images[0, 0, 14:, :14].flatten())

    # Black pixels of which the decoder says "black" cost nothing: so the quarter is left out.
    def encode(rest: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        x = rest.clone()
        x[..., 14:, :14] = c.unflatten(1, (1, 14, 14))
        hidden = model.encoder(torch.cat([x.flatten(1), c], dim=1))
        return model.mu_layer(hidden), model.logvar_layer(hidden)

    def decode(z: Tensor, c: Tensor) -> Tensor:
        return model.decoder(torch.cat([z, c], dim=1)) * (1 - shown)

    batches = [(x * (1 - shown), lower_left(x)) for x in images.split(500)]
    view = VaeView(encode, decode, condition=lambda _, c: c, model=model)
    with torch.no_grad():
        cvae = -importance_weighted_bound(view, batches, k=DRAWS)
        guesses = torch.cat([baseline(c) for _, c in batches]) * (1 - shown)
    rest = torch.cat([x for x, _ in batches])
    cost = torch.nn.functional.binary_cross_entropy(guesses, rest, reduction="sum")
    return {"network": float(cost) / len(rest), "cvae": cvae, "epochs": names["n_epochs"]}


def codebook(updates: int) -> dict[str, Any]:
    """The VQ-VAE with moving averages at its published sizes, update by update.

    128 channels, 2 residual blocks of 32, 512 vectors of 64, decay 0.99, Adam at 3e-4, batches of
    32 (the sizes of the example that goes with van den Oord, Vinyals & Kavukcuoglu 2017). Squared
    error over the data's variance, and perplexity, each the mean over the last updates.

    The codebook starts from what the untrained encoder makes of some images. From the notebook's
    start, uniform numbers, it collapses at this size: the nearest of 512 vectors of 64 numbers is
    one and the same for all places, and an average over no places at all leaves the others far off.
    """
    names = run_reference("06_vq_vae", 0)
    seed_everything(0)
    model = names["Model"](128, 2, 32, 512, 64, 0.25, 0.99)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    train_set = load_dataset("cifar10")
    variance = (train_set.images / 255).var().item()
    errors: list[float] = []
    perplexities: list[float] = []
    curve: dict[str, list[float]] = {"update": [], "error": [], "perplexity": []}
    loader = make_loader(train_set, 32, drop_last=True)
    with torch.no_grad():
        z = model.encoder(next(iter(loader))[0] - 0.5).movedim(1, -1).flatten(0, -2)
        rows = z[torch.randperm(len(z))[:512]]
        model.vq_vae.embedding.weight.copy_(rows)
        model.vq_vae.cluster_sum.copy_(rows)
        model.vq_vae.cluster_size.fill_(1)
    started = time.process_time()
    while len(errors) < updates:
        for x, _ in loader:
            vq_loss, x_recon, perplexity = model(x - 0.5)
            error = torch.mean((x_recon - x + 0.5) ** 2) / variance
            optimizer.zero_grad()
            (error + vq_loss).backward()
            optimizer.step()
            errors.append(error.item())
            perplexities.append(perplexity.item())
            if len(errors) % EVERY == 0:
                curve["update"].append(len(errors))
                curve["error"].append(sum(errors[-EVERY:]) / EVERY)
                curve["perplexity"].append(sum(perplexities[-EVERY:]) / EVERY)
                print(*(f"{name} {values[-1]:.4g}" for name, values in curve.items()), flush=True)
            if len(errors) == updates:
                break
    seconds = time.process_time() - started
    return {"curve": curve, "images": len(train_set), "seconds": round(seconds)}


def draw_curve(found: dict[str, Any], path: Path) -> None:
    """Draw error and perplexity over updates, with the published example's last values."""
    figure, panels = new_figure(1, 2, height=3.6, grid=True)
    set_title(figure, "VQ-VAE with moving averages, published sizes, batches of 32")
    axes = (("error", "squared error / variance", 0.056), ("perplexity", "perplexity", 326))
    for ax, colour, (key, label, published) in zip(panels[0], (BLUE, RED), axes, strict=True):
        ax.plot(found["curve"]["update"], found["curve"][key], color=colour, label="here")
        ax.axhline(published, color=QUIET, linestyle=":", label="published, 10,000 updates")
        ax.set_xlabel("updates")
        ax.set_ylabel(label)
        ax.set_ylim(bottom=0)
        ax.legend(frameon=False)
    figure.savefig(path)


def as_markdown(kept: dict[str, Any]) -> str:
    """Draw the page."""
    lines = ["# What papers quote", "", "Made by `tools/headlines.py`, on one thread.", ""]
    if "quarter" in kept:
        found = kept["quarter"]
        lines += [
            "## One quarter shown: nats for the other three",
            "",
            f"`05_structured_cvae`'s reference after {found['epochs']} epochs on 60,000 digits, "
            f"the mean over 10,000 test digits; the CVAE's with {DRAWS} importance samples, which "
            "gives too many nats rather than too few. The published comparison has other networks "
            "and another data preparation, so only the order and the gap can be compared.",
            "",
            "| | here | published |",
            "| --- | --: | --: |",
            f"| network | {found['network']:.1f} | 100.4 |",
            f"| CVAE | {found['cvae']:.1f} | 71.8 |",
            "",
        ]
    if "codebook" in kept:
        found = kept["codebook"]
        last = {name: values[-1] for name, values in found["curve"].items()}
        lines += [
            "## A codebook of 512 on colour images",
            "",
            f"`06_vq_vae`'s `Model` at the published sizes, trained on {found['images']:,} colour "
            "images of CIFAR-10's kind, its codebook started from what the untrained encoder makes "
            f"of some of them: {last['update']:,} updates in {found['seconds']:,} s of one core. "
            f"Squared error over variance {last['error']:.3f} (published: 0.056 after 10,000 "
            f"updates), perplexity {last['perplexity']:.0f} (published: 326), both the mean over "
            f"the last {EVERY} updates. These images come from a JPEG copy of a part of the set, "
            "which may make them a little easier.",
            "",
            "![Error and perplexity over updates](images/vq_curve.png)",
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    """Measure one of the two and write the page."""
    torch.set_num_threads(1)
    part = sys.argv[1]
    found = quarter() if part == "quarter" else codebook(int((sys.argv[2:] or ["10000"])[0]))
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    kept[part] = found
    write_text(KEPT, json.dumps(kept, indent=1) + "\n")
    if "codebook" in kept:
        draw_curve(kept["codebook"], DOCS / "images" / "vq_curve.png")
    write_text(DOCS / "headlines.md", as_markdown(kept))


if __name__ == "__main__":
    main()
