"""The model summary: torchsummary's table, or a plain table with the reason."""

import pytest
import torch
from torch import nn

from vae_utils import model_summary


class Split(nn.Module):
    """Return three tensors of different shapes. torchsummary fails on them."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(784, 10)

    def forward(self, x):
        h = self.linear(x.flatten(1))
        return h, h[:, :2], h.sum()


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.split = Split()
        self.out = nn.Linear(2, 3)

    def forward(self, x):
        return self.out(self.split(x)[1])


def test_torchsummary_is_used_where_it_works(capsys):
    model_summary(nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU()), (1, 28, 28))
    output = capsys.readouterr().out
    assert "Layer (type)" in output
    assert "[-1, 400]         314,000" in output
    assert "plain table" not in output


def test_a_model_with_an_inner_tuple_gets_a_plain_table(capsys):
    model_summary(Wrapped(), (1, 28, 28))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("torchsummary fails on this model (")
    assert any("split.linear (Linear)" in line and "7,850" in line for line in lines)
    assert any("out (Linear)" in line and "[N, 3]" in line for line in lines)
    assert lines[-1] == "Parameters: 7,859, of which trainable: 7,859"


def test_parameters_are_counted_if_forward_fails(capsys):
    model_summary(nn.Sequential(nn.Linear(5, 2), nn.Linear(3, 1)), (5,))
    output = capsys.readouterr().out
    assert "[N, 2]" in output
    assert "not called" in output
    assert "Parameters: 16, of which trainable: 16" in output
    assert "forward fails on random input of shape [(5,)]" in output


def test_torchsummary_works_with_two_inputs_of_different_rank(capsys):
    class Conditional(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(784 + 10, 4)

        def forward(self, x, c):
            return self.linear(torch.cat([x.flatten(1), c], dim=1))

    model_summary(Conditional(), [(1, 28, 28), (10,)])
    output = capsys.readouterr().out
    assert "Linear-1                    [-1, 4]           3,180" in output
    assert "plain table" not in output


def test_a_wrong_count_of_torchsummary_is_reported(capsys):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)
            self.scale = nn.Parameter(torch.ones(7))

        def forward(self, x):
            return self.linear(self.linear(x)) * self.scale.sum()

    model_summary(Scaled(), (4,))
    assert "torchsummary counts 40 parameters, but the model has 27" in capsys.readouterr().out


def test_the_model_does_not_change(capsys):
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), Split())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()

    model_summary(model, (4,))

    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_float64_and_no_parameters_at_all(capsys):
    model_summary(nn.Sequential(nn.Linear(4, 2)).double(), (4,))
    assert "Total params: 10" in capsys.readouterr().out
    model_summary(nn.Flatten(), (1, 2, 2))
    assert "Parameters: 0" in capsys.readouterr().out


@pytest.mark.parametrize("size", [28, (0, 28), "1,28,28", (1.5,)])
def test_input_size_of_another_kind(size):
    with pytest.raises(ValueError, match=r"like \(1, 28, 28\)"):
        model_summary(nn.Flatten(), size)
