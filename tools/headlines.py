"""Measures the numbers that published examples report, with the course's models.

Run `VAELAB_DATA=FOLDER .venv/bin/python tools/headlines.py quarter` or `… codebook [UPDATES]` on
the full sets. It writes docs/headlines.md. Each takes a quarter of an hour on one core.
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
RESULTS = DOCS / "headlines.json"
SAMPLES = 100
EVERY = 250
PYRO = "https://pyro.ai/examples/cvae.html"
SONNET = "https://github.com/google-deepmind/sonnet/blob/v2/examples/vqvae_example.ipynb"
INTRODUCTION = """\
Numbers of the references, beside numbers that others published for a similar model. "Ours" marks
what we measured: `tools/headlines.py` computed it on one thread, and wrote this page."""


def quarter() -> dict[str, Any]:
    """Compute the nats for the three hidden quarters, of the baseline network and of the CVAE.

    This is −log p(rest | quarter), the mean over the 10,000 test digits. For the CVAE it is the
    negative importance-weighted bound (Burda, Grosse & Salakhutdinov 2016, equation 8), with the
    encoder's posterior as proposal: an upper bound on the nats.

    Returns:
        "network" and "cvae" in nats per image, and the number of "epochs".
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

    # A black pixel with mean 0 has a loss of 0, so the given quarter does not count.
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
        cvae = -importance_weighted_bound(view, batches, k=SAMPLES)
        guesses = torch.cat([baseline(c) for _, c in batches]) * (1 - shown)
    rest = torch.cat([x for x, _ in batches])
    cost = torch.nn.functional.binary_cross_entropy(guesses, rest, reduction="sum")
    return {"network": float(cost) / len(rest), "cvae": cvae, "epochs": names["n_epochs"]}


def codebook(updates: int) -> dict[str, Any]:
    """Train the VQ-VAE with moving averages at its published sizes.

    The sizes are 128 channels, 2 residual blocks of 32, 512 vectors of 64, decay 0.99, Adam at
    3e-4, batches of 32, as in the example of the library Sonnet (`vqvae_example.ipynb`) for the
    model of van den Oord, Vinyals & Kavukcuoglu 2017.

    The codebook is initialised with outputs of the untrained encoder. With the notebook's
    initialisation, uniform numbers, it collapses at this size: one of the 512 vectors of 64 numbers
    is the nearest for all positions, and the moving averages leave the others far away.

    Args:
        updates: Number of training steps.

    Returns:
        "curve": squared error over the data's variance, and perplexity, each the mean over 250
        updates; the number of "images"; and the CPU "seconds".
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


def plot_curve(found: dict[str, Any], path: Path) -> None:
    """Plot error and perplexity over updates, with the values quoted for Sonnet's example."""
    figure, panels = new_figure(1, 2, height=3.6, grid=True)
    set_title(figure, "VQ-VAE with moving averages, sizes of the example, batches of 32")
    axes = (("error", "squared error / variance", 0.056), ("perplexity", "perplexity", 326))
    for ax, colour, (key, label, published) in zip(panels[0], (BLUE, RED), axes, strict=True):
        ax.plot(found["curve"]["update"], found["curve"][key], color=colour, label="ours")
        ax.axhline(published, color=QUIET, linestyle=":", label="quoted, after 10,000 updates")
        ax.set_xlabel("updates")
        ax.set_ylabel(label)
        ax.set_ylim(bottom=0)
        ax.legend(frameon=False)
    figure.savefig(path)


def as_markdown(results: dict[str, Any]) -> str:
    """Return the page in Markdown."""
    lines = ["# Published numbers", "", INTRODUCTION, ""]
    if "quarter" in results:
        found = results["quarter"]
        lines += [
            "## One quarter given: nats for the other three",
            "",
            f"Ours: `05_structured_cvae`'s reference after {found['epochs']} epochs on 60,000 "
            "digits, the mean over 10,000 test digits. Our number of the CVAE is computed with "
            f"{SAMPLES} importance samples and is an upper bound. The published numbers are from "
            "the tutorial of the library Pyro, [Conditional Variational Auto-encoder]("
            + PYRO
            + "), "
            'its table of conditional log-likelihoods, column "1 quadrant". They are not from a '
            "paper. The tutorial implements the experiment of Sohn, Lee & Yan 2015 (section 5.1) "
            "with other networks and another data preparation, and trains for at most 50 epochs. "
            "So compare only the order and the difference.",
            "",
            "| | ours | Pyro's tutorial |",
            "| --- | --: | --: |",
            f"| network | {found['network']:.1f} | 100.4 |",
            f"| CVAE | {found['cvae']:.1f} | 71.8 |",
            f"| difference | {found['network'] - found['cvae']:.1f} | 28.6 |",
            "",
        ]
    if "codebook" in results:
        found = results["codebook"]
        last = {name: values[-1] for name, values in found["curve"].items()}
        lines += [
            "## A codebook of 512 on colour images",
            "",
            f"Ours: `Model` of `06_vq_vae`, trained on {found['images']:,} images of CIFAR-10. Its "
            "codebook is initialised with outputs of the untrained encoder. "
            f"{last['update']:,} updates took {found['seconds']:,} s of one core. Both numbers "
            f"are means over the last {EVERY} updates. The images are from a JPEG copy of a part "
            "of the set, which may make them a little easier.",
            "",
            "The sizes are those of the example of the library Sonnet, [vqvae_example.ipynb]("
            + SONNET
            + "): 128 channels, 2 residual blocks of 32, 512 vectors of 64, batches of 32, Adam at "
            "3e-4. The numbers in the last column are quoted for this example after 10,000 "
            "updates. The notebook that Sonnet publishes has no output, so we cannot name a page "
            "that shows them. Use them as a rough size only.",
            "",
            "| | ours | quoted for Sonnet's example |",
            "| --- | --: | --: |",
            f"| squared error over the variance | {last['error']:.3f} | 0.056 |",
            f"| perplexity | {last['perplexity']:.0f} | 326 |",
            "",
            "![Our error falls to the quoted value, and our perplexity rises to the quoted value, "
            "within 10,000 updates](images/vq_curve.png)",
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    """Measure one of the two, save the numbers, and write the page."""
    torch.set_num_threads(1)
    part = sys.argv[1]
    found = quarter() if part == "quarter" else codebook(int((sys.argv[2:] or ["10000"])[0]))
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results[part] = found
    write_text(RESULTS, json.dumps(results, indent=1) + "\n")
    if "codebook" in results:
        plot_curve(results["codebook"], DOCS / "images" / "vq_curve.png")
    write_text(DOCS / "headlines.md", as_markdown(results))


if __name__ == "__main__":
    main()
