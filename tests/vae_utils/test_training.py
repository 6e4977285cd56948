"""Seeds, device, Adam, parameter count."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from vae_utils import count_parameters, make_adam, pick_device, seed_everything


def samples():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_a_seed_repeats_all_three_generators():
    seed_everything(5)
    first = samples()
    seed_everything(5)
    assert samples() == first
    seed_everything(6)
    assert all(a != b for a, b in zip(samples(), first, strict=True))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match="seed must be from 0"):
        seed_everything(seed)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_fastest_device_is_chosen(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device().type == expected


@pytest.mark.parametrize("name", ["cuda:99", "gpu"])
def test_device_that_is_not_there(name):
    with pytest.raises(ValueError, match=f"This machine has no device '{name}'"):
        pick_device(name)


def test_shared_and_frozen_parameters():
    shared = nn.Linear(3, 3)
    model = nn.Sequential(shared, shared, nn.Linear(3, 1))
    model[2].weight.requires_grad = False

    assert count_parameters(model) == 12 + 1
    assert count_parameters(model, trainable_only=False) == 12 + 4


def test_lazy_layer_cannot_be_counted():
    with pytest.raises(ValueError, match="Call the model on a batch first"):
        count_parameters(nn.LazyLinear(3))


def test_make_adam_takes_the_steps_of_plain_adam():
    def train(make):
        torch.manual_seed(0)
        model = nn.Linear(20, 1)
        optimizer = make(model.parameters())
        for _ in range(20):
            optimizer.zero_grad()
            model(torch.rand(8, 20)).square().mean().backward()
            optimizer.step()
        return model.weight.detach()

    plain = train(lambda params: torch.optim.Adam(params, lr=0.01))
    torch.testing.assert_close(train(lambda params: make_adam(params, lr=0.01)), plain)


def test_make_adam_keeps_its_options_and_falls_back():
    weights = torch.zeros(3, requires_grad=True)
    assert make_adam([weights], lr=0.5, betas=(0.5, 0.9)).defaults["betas"] == (0.5, 0.9)
    assert not make_adam([weights], fused=False).defaults["fused"]

    unusual = torch.zeros(3, dtype=torch.complex64, requires_grad=True)
    optimizer = make_adam([unusual])
    unusual.abs().sum().backward()
    optimizer.step()  # the fused form would raise here
