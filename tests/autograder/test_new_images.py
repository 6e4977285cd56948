"""Deformed images, and the calibration of the bounds for them."""

import json
from dataclasses import asdict
from pathlib import Path

import torch

from autograder.checks.deformed import deformed_digits, deformed_photos
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


def test_every_bound_is_four_standard_deviations_from_honest_work():
    runs = new_images.load(ROOT / new_images.SAVED)
    groups = {(run.assignment, run.model) for run in runs}
    for assignment, model in groups:
        spec = next(s for s in new_images.specs(assignment) if s.model == model)
        values = [v for r in runs if (r.assignment, r.model) == (assignment, model) for v in r.new]
        values = torch.tensor(values, dtype=torch.float64)
        assert len(values) >= 2
        assert values.mean() + 4 * values.std() < spec.below_new


def test_the_section_lists_each_model_once(tmp_path):
    runs = [
        new_images.Measured("03_fc_vae", "myVAE", seed, "", 7, 119.0, (129.0, 130.0 + seed))
        for seed in range(5)
    ]
    path = tmp_path / "new_images.json"
    assert new_images.section(path) == ""
    path.write_text(json.dumps([asdict(run) for run in runs]))
    (line,) = [line for line in new_images.section(path).splitlines() if "`03_fc_vae`" in line]
    assert "| 5 (1) | 119.0 to 119.0 | 130.50, 1.90, 134.00 | 150 | 10 |" in line
    path.write_text(json.dumps([asdict(run) for run in runs[:4]]))
    assert "| 150 | too few runs |" in new_images.section(path)
