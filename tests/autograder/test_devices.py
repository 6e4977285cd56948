"""Code that ignores its input's device is recognised, on a machine without a second device."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autograder.checks.shared.device import expect_follows_input
from autograder.checks.vocabulary import CheckFailed
from autograder.protocol.remote import Submission, direct
from autograder.worker.devices import META, DeviceError, call_on_meta_device
from autograder.worker.worker import Worker

X = torch.rand(3, 4)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.table = nn.Linear(4, 5), nn.Embedding(5, 2)
        self.register_buffer("moves", torch.ones(5))
        self.stays = torch.ones(5)

    def with_buffer(self, x):
        return self.layer(x) * self.moves

    def with_attribute(self, x):
        return self.layer(x) * self.stays

    def looked_up(self, x):
        return self.table(self.layer(x).argmax(1))

    def from_nothing(self, n):
        return self.layer(torch.randn(n, 4))


RIGHT = [
    lambda x: x + torch.randn_like(x),
    lambda x: x + torch.randn(x.shape, device=x.device),
    lambda x: x + torch.randn(x.shape).to(x),
    lambda x: x + x.new_empty(x.shape).normal_(),
    lambda x: x * torch.tensor(0.5) + 2,
    lambda x: F.one_hot(x.argmax(1), 4),
    lambda x: torch.eye(4, device=x.device)[x.argmax(1)],
    lambda x: x[torch.tensor([0, 2])],
    lambda x: torch.zeros(x.shape).copy_(torch.ones(x.shape)).to(x.device),
    lambda x: {"z": [x, (x,)]},
]
WRONG = [
    lambda x: x + torch.randn(x.shape),
    lambda x: x + torch.randn(x.shape, device="cpu"),
    lambda x: torch.cat([x, torch.zeros(3, 1)], 1),
    lambda x: x @ torch.ones(4, 2),
    lambda x: F.linear(x, torch.ones(2, 4)),
    lambda x: torch.eye(4)[x.argmax(1)],
    lambda x: torch.zeros(3, 4).scatter_(1, x.argmax(1, keepdim=True), 1.0),
    lambda x: torch.where(x > 0.5, x, torch.zeros(4)),
]


@pytest.mark.parametrize("function", RIGHT)
def test_code_that_uses_its_inputs_device_passes(function):
    assert call_on_meta_device(function, "", [X]) == []


@pytest.mark.parametrize("function", WRONG)
def test_an_operation_with_tensors_on_two_devices_raises(function):
    function(X)  # on the CPU it works
    with pytest.raises(DeviceError):
        call_on_meta_device(function, "", [X])


def test_result_tensors_on_another_device_are_named():
    assert call_on_meta_device(lambda x: (torch.zeros(len(x)), x), "", [X]) == ["cpu"]


@pytest.mark.parametrize("method", ["with_buffer", "looked_up"])
def test_a_model_moves_with_its_parameters_and_buffers(method):
    model = Model()
    assert call_on_meta_device(model, method, [X]) == []
    assert next(model.parameters()).device.type != META  # the model itself keeps its device


def test_other_tensors_of_a_model_do_not_move():
    with pytest.raises(DeviceError):
        call_on_meta_device(Model(), "with_attribute", [X])
    with pytest.raises(DeviceError):
        call_on_meta_device(Model(), "from_nothing", [3])


def test_a_model_as_argument_moves_too():
    assert call_on_meta_device(lambda model, x: model.layer(x), "", [Model(), X]) == []


CODE = """
import torch
def branches(x):
    return x + torch.randn(x.shape) if x.sum() > 0 else x
def stops(x):
    return x + torch.randn(x.shape)
def fails(x):
    raise ValueError("not about devices")
"""


def test_the_check_passes_code_that_needs_values_and_names_the_line():
    submission = Submission(direct(Worker()), "x")
    submission.run(CODE, "mine")
    expect_follows_input(submission.object("branches"), X, name="branches")
    with pytest.raises(CheckFailed, match=r"line 6 .*torch\.randn") as failed:
        expect_follows_input(submission.object("stops"), X, name="stops")
    assert failed.value.mistake == "wrong_device"
    with pytest.raises(Exception, match="not about devices"):
        expect_follows_input(submission.object("fails"), X, name="fails")
