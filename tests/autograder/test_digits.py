"""The judge's digit classifier is accurate and reproducible, and keeps the random state."""

import torch

from autograder.checks.a04_cvae import digits
from vae_utils import load_dataset


def test_it_recognises_digits_that_it_was_not_trained_on():
    held_out = load_dataset("mnist", train=False, source="embedded", quiet=True)
    right = digits.read(held_out.images / 255) == held_out.labels
    assert float(right.float().mean()) > 0.95


def test_it_does_not_depend_on_the_random_state_and_does_not_change_it():
    state = torch.get_rng_state()
    before = [p.clone() for p in digits.classifier().parameters()]
    digits.classifier.cache_clear()
    torch.manual_seed(7)
    torch.randn(3)
    used = torch.get_rng_state()
    after = list(digits.classifier().parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert torch.equal(torch.get_rng_state(), used)
    torch.set_rng_state(state)
