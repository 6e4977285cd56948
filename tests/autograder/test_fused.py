"""The fused form of optimizers: the same steps, and only where nothing else was chosen."""

import pytest
import torch
from torch import nn, optim

from autograder.protocol.fused import FUSED, fuse


class MyAdam(optim.Adam):
    """A student's own optimizer, which may override anything."""


def trained(make, *, fused: bool) -> torch.Tensor:
    """Return the weights of a small model after five steps."""
    torch.manual_seed(0)
    model = nn.Linear(20, 10)
    optimizer = make(model.parameters())
    if fused:
        fuse(optimizer)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(8, 20)).square().sum().backward()
        optimizer.step()
    assert optimizer.param_groups[0]["fused"] is (True if fused else None)
    return model.weight.detach()


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"maximize": True}])
@pytest.mark.parametrize("kind", FUSED)
def test_the_steps_are_the_same(kind, options):
    found, expected = (
        trained(lambda p: kind(p, lr=1e-3, **options), fused=fused) for fused in (True, False)
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: MyAdam(p),
        lambda p: optim.RMSprop(p),
        lambda p: optim.Adam(p, fused=False),
        lambda p: optim.Adam(p, foreach=False),
        lambda p: optim.Adam(p, lr=torch.tensor(1e-3)),
        lambda p: optim.Adam(p, differentiable=True),
        lambda p: optim.Adam([torch.nn.Parameter(torch.zeros(2, dtype=torch.complex64))]),
        lambda _: optim.Adam(nn.LazyLinear(3).parameters()),
        lambda _: "no optimizer",
    ],
)
def test_others_are_left_alone(make):
    optimizer = make(nn.Linear(3, 2).parameters())
    fuse(optimizer)
    groups = getattr(optimizer, "param_groups", [])
    assert not any(group.get("fused") for group in groups)


def test_an_optimizer_that_has_made_steps_is_left_alone():
    model = nn.Linear(3, 2)
    optimizer = optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    fuse(optimizer)
    assert optimizer.param_groups[0]["fused"] is None
