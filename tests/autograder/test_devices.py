"""Code that ignores its input's device is recognised, on a machine without a second device."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autograder.checks.evaluate import evaluate
from autograder.checks.shared.device import device_remarks
from autograder.checks.vocabulary import Task, check
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
class Model(torch.nn.Module):
    def __init__(self, n=4):
        super().__init__()
        self.n = n
    def sample(self, rows):
        return torch.randn(rows, self.n)
def branches(x):
    return x + torch.randn(x.shape) if x.sum() > 0 else x
def stops(x):
    return x + torch.randn(x.shape)
def follows(x):
    return x + torch.randn_like(x)
"""


def remarks_of(*cells: str, call: str = "stops") -> list[str]:
    submission = Submission(direct(Worker({"__name__": "__main__"})), "x")
    for cell in (CODE, *cells):
        submission.run(cell, "mine")
    submission.object(call)(X)
    return device_remarks(submission)


def test_a_remark_names_the_line():
    (remark,) = remarks_of()
    assert "`stops`" in remark
    assert "line 12 of its cell, `return x + torch.randn(x.shape)`" in remark


@pytest.mark.parametrize("call", ["branches", "follows"])
def test_code_that_follows_its_input_or_needs_values_gets_no_remark(call):
    assert remarks_of(call=call) == []


@pytest.mark.parametrize(
    "cell",
    [
        "device = torch.device('cpu')",
        "device = 'cuda' if torch.cuda.is_available() else 'cpu'",
        "def to_gpu(x):\n    return x.cuda() if torch.cuda.is_available() else x",
    ],
)
def test_code_that_asks_for_a_gpu_gets_no_remark(cell):
    assert remarks_of(cell) == []


def test_a_method_that_takes_a_number_is_called_with_its_model_on_another_device():
    submission = Submission(direct(Worker({"__name__": "__main__"})), "x")
    submission.run(CODE, "mine")
    model = submission.new("Model")
    model.eval()
    model.sample(3)
    (remark,) = device_remarks(submission)
    assert "`sample` creates a tensor on the CPU" in remark
    assert "its result stays on the CPU" in remark
    assert device_remarks(submission) == []  # each function is tested once


@check("work")
def calls_stops(submission: Submission) -> None:
    """`stops` can be called."""
    submission.object("stops")(X)


@pytest.mark.parametrize(("counts", "outcome"), [(False, "passed"), (True, "failed")])
def test_a_remark_costs_points_only_if_the_course_says_so(counts, outcome):
    submission = Submission(direct(Worker({"__name__": "__main__"})), "x")
    submission.run(CODE, "mine")
    submission.device_counts = counts
    got = evaluate(calls_stops, Task("work", 1.0, "Work"), submission)
    assert got.outcome == outcome
    assert "another device" in got.message
    assert got.mistake == ("wrong_device" if counts else None)
    assert len(submission.remarks) == (0 if counts else 1)
