"""The loader, compared with torch's DataLoader and with one batch that stays in memory."""

import struct
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.measure import Row, in_turn, in_words, ratio
from benchmarks.vae import FcVae, train_step
from vae_utils import ImageSet, load_dataset, make_adam, make_loader

BATCH_SIZE = 128


def measure() -> list[Row]:
    """Return the rows of both comparisons."""
    digits = load_dataset("mnist", quiet=True)
    return [*compare_with_dataloader(digits), *compare_with_resident_batch(digits)]


def compare_with_dataloader(digits: ImageSet) -> list[Row]:
    """Measure an epoch over the same digits with both loaders."""
    with tempfile.TemporaryDirectory() as folder:
        write_idx(digits, Path(folder) / "MNIST" / "raw")
        torchvision_digits = datasets.MNIST(folder, transform=transforms.ToTensor())
    theirs = DataLoader(torchvision_digits, batch_size=BATCH_SIZE, shuffle=True)
    rows = []
    for name, dataset in [
        ("uint8 in memory", digits),
        ("float32 in memory", (digits.images / 255, digits.labels)),
    ]:
        ours = make_loader(dataset, batch_size=BATCH_SIZE)
        seconds = in_turn({"ours": partial(run, ours), "theirs": partial(run, theirs)}, rounds=7)
        rows.append(
            Row(
                f"DataLoader over torchvision's MNIST / our loader, {name}",
                ratio(seconds["theirs"], seconds["ours"]),
                target=25,
                direction="at least",
                note=f"{in_words(seconds['theirs'])} / {in_words(seconds['ours'])} "
                f"an epoch of {len(digits):,} digits",
            )
        )
    return rows


def compare_with_resident_batch(digits: ImageSet) -> list[Row]:
    """Measure a training epoch of a 784-400-15 VAE with the loader, and with one batch."""
    loader = make_loader(digits, batch_size=BATCH_SIZE, drop_last=True)
    resident = next(iter(loader))[0]
    models = {name: FcVae(latent_dim=15) for name in ("loader", "resident")}
    optimizers = {name: make_adam(model.parameters()) for name, model in models.items()}

    def from_loader() -> None:
        for x, _ in loader:
            train_step(models["loader"], optimizers["loader"], x)

    def from_resident_batch() -> None:
        for _ in range(len(loader)):
            train_step(models["resident"], optimizers["resident"], resident)

    seconds = in_turn({"loader": from_loader, "resident": from_resident_batch}, rounds=9)
    return [
        Row(
            "epoch of the 784-400-15 VAE: from our loader / on one resident batch",
            ratio(seconds["loader"], seconds["resident"]),
            target=1.2,
            note=f"{in_words(seconds['loader'])} / {in_words(seconds['resident'])}",
        )
    ]


def run(loader: Iterable[object]) -> None:
    """Iterate over a loader once."""
    for _ in loader:
        pass


def write_idx(digits: ImageSet, raw: Path) -> None:
    """Write digits in the idx layout of torchvision's MNIST."""
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        for name, array in [
            (f"{part}-images-idx3-ubyte", digits.images[:, 0]),
            (f"{part}-labels-idx1-ubyte", digits.labels.to(torch.uint8)),
        ]:
            header = struct.pack(f">BBBB{array.dim()}I", 0, 0, 8, array.dim(), *array.shape)
            (raw / name).write_bytes(header + array.numpy().tobytes())
