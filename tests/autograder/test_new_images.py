"""Deformed images, and the calibration of the bounds for them."""

import json
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch

from autograder.checks.deformed import deformed_digits, deformed_photos
from autograder.course.sources import assignments
from autograder.quality import new_images
from vae_utils import load_dataset

ROOT = Path(__file__).resolve().parents[2]


def test_each_image_is_deformed_differently_and_a_little():
    """Between the image itself and another image; in [0, 1]; the same again with the same seed."""
    images = load_dataset("mnist", train=False, source="embedded", quiet=True).images / 255
    torch.manual_seed(3)
    got = deformed_digits(images)
    assert got.shape == images.shape
    assert got.min() >= 0
    assert got.max() <= 1
    moved = (got - images).square().mean((1, 2, 3))
    others = (got - images.roll(1, 0)).square().mean((1, 2, 3))
    assert moved.min() > 0
    assert moved.mean() < others.mean() / 2
    same = deformed_digits(images[:1].expand(50, -1, -1, -1))
    assert len(same.flatten(1).unique(dim=0)) == 50
    torch.manual_seed(3)
    assert torch.equal(got, deformed_digits(images))


def test_colour_images_keep_their_shape_and_range():
    images = load_dataset("photo_patches", train=False, quiet=True).images[:100] / 255
    got = deformed_photos(images)
    assert got.shape == images.shape
    assert got.min() >= 0
    assert got.max() <= 1
    assert (got.mean((0, 2, 3)) - images.mean((0, 2, 3))).abs().max() < 0.05


def _runs(assignment, model):
    every = new_images.load(ROOT / new_images.SAVED)
    return [run for run in every if (run.assignment, run.model) == (assignment, model)]


SPECS = [(name, spec) for name in assignments() for spec in new_images.specs(name)]


@pytest.mark.parametrize(("assignment", "spec"), SPECS, ids=[f"{a}-{s.model}" for a, s in SPECS])
def test_every_bound_is_four_standard_deviations_from_honest_work(assignment, spec):
    runs = _runs(assignment, spec.model)
    assert len(runs) >= new_images.ENOUGH_RUNS
    assert len({run.variant for run in runs}) >= 3
    new = [value for run in runs for value in run.new]
    assert mean(new) + 4 * stdev(new) < spec.below_new
    start = [run.start for run in runs if run.start is not None]
    assert len(start) in (0, len(runs))
    assert not start or mean(start) - 4 * stdev(start) > spec.untrained
    for name, least in spec.least.items():
        found = [run.numbers[name] for run in runs if name in run.numbers]
        assert len(found) >= new_images.ENOUGH_RUNS
        assert mean(found) - 4 * stdev(found) > least


def test_the_section_lists_each_model_once(tmp_path):
    runs = [
        new_images.Measured(
            "04_cvae",
            "myVAE",
            seed,
            "",
            7,
            119.0,
            (129.0, 130.0 + seed),
            200.0 + seed,
            {"agreement": 0.8 + seed / 100},
        )
        for seed in range(5)
    ]
    path = tmp_path / "new_images.json"
    assert new_images.section(path) == ""
    path.write_text(json.dumps([asdict(run) for run in runs]))
    losses, numbers = [x for x in new_images.section(path).splitlines() if "`04_cvae`" in x]
    assert "| 5 (1) | 119.0 to 119.0 | 130.50, 1.90, 134.00 | 150 | 10.3 |" in losses
    assert "| 202.00, 1.58, 200.00 | 175 | 17.1 |" in losses
    assert "| agreement | 5 (1) | 0.820, 0.016, 0.800 | 0.55 | 17.1 |" in numbers
    path.write_text(json.dumps([asdict(run) for run in runs[:4]]))
    assert "| 150 | too few runs |" in new_images.section(path)
