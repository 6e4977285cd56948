"""Calls look like plain PyTorch calls, in a notebook's own process and through a pipe."""

import contextlib

import numpy as np
import pytest
import torch

from autograder.checks.shared.repeats import expect_new_noise
from autograder.checks.vocabulary import CheckFailed
from autograder.protocol.frames import Frame, pack
from autograder.protocol.remote import Affine, Other, Raised, RemoteObject, Submission, direct
from autograder.sandbox.host import WorkerProcess
from autograder.sandbox.limits import Limits
from autograder.worker.worker import Worker

CELL = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self, width, broken=False):
        super().__init__()
        if broken:
            raise ValueError("no")
        self.part = nn.Linear(3, width)
        self.width = width

    def forward(self, x, y=None):
        return self.part(x).sum() if y is None else {"sum": x + y, "list": [x, 2.5, None]}

    def two(self, a, b):
        return a * b, b.detach()

    def spoil(self, x):
        x.zero_()
        return x

    def odd(self, what):
        return {"sparse": torch.eye(2).to_sparse(), "meta": torch.empty(2, device="meta"),
                "complex": torch.zeros(2, dtype=torch.complex64), "object": object(),
                "nan": float("nan")}[what]

model = Model(4)
"""


@pytest.fixture(params=["notebook", "process"])
def submission(request):
    with contextlib.ExitStack() as stack:
        if request.param == "notebook":
            ask = direct(Worker({"__name__": "__main__"}))
        else:
            ask = stack.enter_context(WorkerProcess(Limits())).ask
        submission = Submission(ask, "none")
        submission.run(CELL, "cell")
        yield submission


def test_values_are_sent_and_received(submission):
    model = submission.new("Model", 5)
    assert model.width.value() == 5
    out = model(torch.ones(2), torch.full((2,), 2.0))
    assert torch.equal(out["sum"], torch.full((2,), 3.0))
    assert out["list"][1:] == (2.5, None)
    assert set(model.parameters()) == {"part.weight", "part.bias"}


def test_gradients_are_sent_and_received(submission):
    a, b = torch.randn(3, requires_grad=True), torch.randn(3, requires_grad=True)
    product, constant = submission.object("model").two(a, b)
    assert not constant.requires_grad
    grads = torch.autograd.grad((product * torch.tensor([1.0, 2.0, 3.0])).sum(), (a, b))
    assert torch.allclose(grads[0], b.detach() * torch.tensor([1.0, 2.0, 3.0]))
    assert torch.allclose(grads[1], a.detach() * torch.tensor([1.0, 2.0, 3.0]))


def test_stubs_replace_a_part(submission):
    model, a, b = submission.new("Model", 5), torch.randn(4, 3), torch.randn(4, 2)
    by_a, by_b, row = torch.randn(3, 6), torch.randn(2, 6), torch.randn(3)
    model.set_stub("part", Affine([by_a, by_b], (2, 3), bias=0.5))
    right = (a @ by_a + b @ by_b + 0.5).unflatten(1, (2, 3))
    assert torch.allclose(model.part(a, b), right, atol=1e-6)
    model.set_stub("two", Affine([row]), Affine([by_a], bias=-1.0), squash=True)
    one, other = model.two(a)
    assert torch.allclose(one, (a @ row).sigmoid())
    assert torch.allclose(other, (a @ by_a - 1).sigmoid(), atol=1e-6)
    model.set_stub("part", Affine([torch.zeros(3, 4000)]), noise=True)
    noise = model.part(a)
    assert abs(float(noise.std()) - 1) < 0.05
    model.set_stub("part", Affine([torch.zeros(3, 4000)]), noise=True, squash=True)
    noisy = model.part(a)
    assert 0 <= noisy.min() < 0.3
    assert 0.7 < noisy.max() <= 1
    with pytest.raises(Raised, match="zip"):
        model.part(a, b)


def test_stubs_store_their_inputs_and_are_parameters_of_their_model(submission):
    model, a, b = submission.new("Model", 5), torch.randn(4, 3), torch.randn(2, 3)
    model.set_stub("part", Affine([torch.zeros(3, 6)]))
    assert len(model.part.seen()) == 0
    model.part(a)
    model.part(b)
    assert torch.equal(model.part.seen(), torch.cat([a, b]))
    assert any(name.startswith("part.biases") for name in model.parameters())


def test_stubs_accept_keyword_arguments_and_can_sum_rows(submission):
    model, a, b = submission.new("Model", 5), torch.randn(4, 3), torch.randn(4, 2)
    by_a, by_b = torch.randn(3), torch.randn(2)
    model.set_stub("part", Affine([by_a, by_b], bias=0.5, total=True), names=("mu", "sigma"))
    right = (a @ by_a + b @ by_b + 0.5).sum()
    assert torch.allclose(model.part(sigma=b, mu=a), right, atol=1e-5)
    assert torch.allclose(model.part(a, sigma=b), right, atol=1e-5)
    with pytest.raises(Raised, match="unexpected keyword argument 'eps'"):
        model.part(a, b, eps=b)


def test_a_tensor_can_be_sent_as_a_numpy_array(submission):
    held = submission.hold(torch.ones(2, 3, dtype=torch.float64), as_array=True)
    assert held.kind == "ndarray"
    assert torch.equal(held.value(), torch.ones(2, 3, dtype=torch.float64))


def test_a_held_value_is_the_same_object_in_each_call(submission):
    held = submission.hold(torch.ones(3))
    submission.new("Model", 5).spoil(held)
    assert torch.equal(held.value(), torch.zeros(3))


HIDDEN_PART = """
from torch import nn
class Hidden(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how = how
        self.part = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
        self.parts = [[self.part]]
    def run(self, x):
        x = 2 * x
        if self.how == "alias":
            return self.parts[0][0](x)
        if self.how == "layers":
            for layer in self.part:
                x = layer(x)
            return x
        if self.how == "rows":
            return [self.part.forward(row[None]) for row in x]
        if self.how == "raises":
            return self.part(x).undefined
"""


def test_given_returns_the_inputs_of_a_part_and_changes_nothing(submission):
    model, x = submission.new("Model", 5), torch.randn(2, 3)
    (given,) = model.given("part", x)
    assert torch.equal(given, x)
    assert model.part._forward_pre_hooks.value() == {}
    with pytest.raises(Raised, match="never called"):
        model.given("part", x, x)


def test_entered_returns_what_enters_a_part_under_any_name(submission):
    submission.run(HIDDEN_PART, "hidden")
    x = torch.randn(2, 3)
    for how in ("alias", "layers", "rows", "raises"):
        model = submission.new("Hidden", how)
        assert torch.equal(model.run.entered("part", x), 2 * x)
        assert model.part._forward_pre_hooks.value() == {}
    with pytest.raises(Raised, match="never called"):
        submission.new("Hidden", "nothing").run.entered("part", x)


def test_an_input_with_a_gradient_can_be_changed_in_place(submission):
    x = torch.ones(3, requires_grad=True)
    got = submission.object("model").spoil(x)
    (grad,) = torch.autograd.grad(got.sum(), x)
    assert torch.equal(grad, torch.zeros(3))


def test_gradients_reach_the_parameters_in_the_worker(submission):
    submission.run("optimizer = torch.optim.SGD(model.parameters(), lr=1.0)", "more")
    model, optimizer = submission.object("model"), submission.object("optimizer")
    before = model.parameters()["part.bias"]
    optimizer.zero_grad()
    model.trace(torch.ones(2, 3)).backward()
    optimizer.step()
    assert torch.allclose(model.parameters()["part.bias"], before - 2.0)
    assert optimizer.kind == "SGD"


def test_inputs_are_copies(submission):
    x = torch.ones(3)
    assert float(submission.object("model").spoil(x).sum()) == 0
    assert float(x.sum()) == 3


@pytest.mark.parametrize("what", ["sparse", "meta", "complex", "object"])
def test_an_unsupported_tensor_is_described(submission, what):
    got = submission.object("model").odd(what)
    assert isinstance(got, Other)
    assert what in got.kind


def test_nan_is_received_as_nan(submission):
    got = submission.object("model").odd("nan")
    assert got != got


def test_unread_frames_of_an_epoch_do_not_answer_the_next_request(submission):
    submission.run("def step(x):\n    return x.sum()", "step")
    data = [torch.arange(6.0)]
    steps = submission.epoch("step", [], data, torch.arange(6), 2)
    assert float(next(steps)) == 1
    assert submission.object("model").width.value() == 4


def test_of_some_steps_an_epoch_sends_the_first_result_only(submission):
    submission.run("def step(x):\n    return x.sum()", "step")
    sums = submission.epoch("step", [], [torch.arange(8.0)], torch.arange(8), 1, 3)
    assert [float(one) for one in sums] == [0, 3, 6]


def test_errors_name_cell_and_line(submission):
    with pytest.raises(Raised) as caught:
        submission.new("Model", 4, broken=True)
    assert caught.value.kind == "ValueError"
    assert caught.value.code == 'raise ValueError("no")'
    assert caught.value.cell == "cell"


def test_a_bare_instance_does_not_run_its_init(submission):
    model = submission.bare("Model", width=7)
    assert model.width.value() == 7


NOISE = """
import numpy as np
import torch

def right(x):
    return x + torch.randn_like(x)

class Advancing:
    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)
    def __call__(self, x):
        return x + torch.randn(x.shape, generator=self.generator)

advancing = Advancing()

def restored(x):
    with torch.random.fork_rng():
        return x + torch.randn_like(x)

def fixed(x):
    return x + torch.randn(x.shape, generator=torch.Generator().manual_seed(0))

def of_the_seed(x):
    generator = torch.Generator().manual_seed(torch.initial_seed())
    return x + torch.randn(x.shape, generator=generator)

def reset_after(x):
    noise = torch.randn_like(x)
    torch.manual_seed(0)
    return x + noise

def array(x):
    return x + torch.from_numpy(np.random.RandomState(0).randn(*x.shape))
"""


@pytest.mark.parametrize("name", ["right", "advancing"])
def test_new_noise_in_each_call_passes(submission, name):
    submission.run(NOISE, "noise")
    expect_new_noise(submission.object(name), torch.zeros(3), name=name)
    assert not submission.seeded


@pytest.mark.parametrize("name", ["restored", "fixed", "of_the_seed", "reset_after", "array"])
def test_the_same_noise_in_calls_one_after_the_other_fails(submission, name):
    submission.run(NOISE, "noise")
    with pytest.raises(CheckFailed) as caught:
        expect_new_noise(submission.object(name), torch.zeros(3), name=name)
    assert caught.value.mistake == "reseeded"


def test_a_call_that_sets_a_seed_is_reported(submission):
    submission.run(NOISE, "noise")
    for _ in range(2):
        submission.object("reset_after")(torch.zeros(3))
    assert submission.seeded


def test_a_detached_input_is_visible_although_another_output_depends_on_it(submission):
    submission.run("weight = torch.ones(2, requires_grad=True)", "weight")
    submission.run("def both(a):\n    return a * 1.0, weight * a.detach()", "both")
    a = torch.ones(2, requires_grad=True)
    _, detached = submission.object("both")(a)
    assert torch.autograd.grad(detached.sum(), a, allow_unused=True) == (None,)


def test_two_calls_sample_different_values_and_two_gradings_the_same():
    samples = []
    for _ in range(2):
        submission = Submission(direct(Worker({"torch": torch})), "none")
        submission.run("def sample():\n    return torch.randn(3)", "cell")
        sample = submission.object("sample")
        samples.append((sample(), sample()))
    assert not torch.equal(samples[0][0], samples[0][1])
    assert torch.equal(samples[0][0], samples[1][0])


def test_a_check_does_not_change_the_notebooks_random_state():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    submission = Submission(direct(Worker({"torch": torch})), "none", in_notebook=True)
    submission.run("x = torch.randn(3)", "cell")
    assert torch.equal(torch.get_rng_state(), before)


# A worker may send anything.


def answering(*bodies, arrays=()):
    return Submission(lambda *_: iter([Frame(body, arrays) for body in bodies]), "none")


deep: list = []
for _ in range(500):
    deep = [deep]


@pytest.mark.parametrize(
    "body",
    [
        None,
        3,
        "ok",
        [],
        {},
        {"error": 3},
        {"error": {"type": 3, "message": [], "line": "x"}},
        {"ok": {"$array": 7}},
        {"ok": {"$array": -1}},
        {"ok": {"what": 1}},
        {"ok": deep},
        {"ok": {"$dict": {"a": deep}}},
        {"ok": {"$ref": "x", "type": 3}},
        {"ok": [{"$dict": {"a": {"$array": 0}}}] * 150},
    ],
)
def test_an_invalid_answer_is_an_error_of_the_submission(body):
    with pytest.raises(Raised):
        answering(body).request("get")
    with pytest.raises(Raised):
        answering(body).object("x")


@pytest.mark.parametrize(
    "body", [None, 3, "item", [], {"error": 3}, {"item": deep}, {"item": {"$array": 7}}]
)
def test_an_invalid_step_is_an_error_of_the_submission(body):
    with pytest.raises(Raised):
        list(answering(body).epoch("step", [], [], torch.zeros(1), 1))


def test_two_answers_or_none_are_an_error_of_the_submission():
    for bodies in ((), ({"item": 1}, {"ok": 2})):
        with pytest.raises(Raised):
            answering(*bodies).request("get")


def test_each_array_is_used_exactly_once():
    arrays = [np.ones(2, np.float32), np.ones(2, np.float32)]
    one, two = {"$array": 0}, {"$array": 1}
    assert len(answering({"ok": [one, two]}, arrays=arrays).request("get")) == 2
    with pytest.raises(Raised, match="array 0 twice"):
        answering({"ok": [one, two, one]}, arrays=arrays).request("get")
    with pytest.raises(Raised, match="does not use 1"):
        answering({"ok": [one]}, arrays=arrays).request("get")


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_an_epoch_has_exactly_one_result_for_each_batch(steps):
    bodies = [{"item": 1}] * steps + [{"ok": None}]
    with pytest.raises(Raised):
        list(answering(*bodies).epoch("step", [], [], torch.arange(4), 2))
    bodies = [{"item": 1}] * 2 + [{"ok": None}]
    assert list(answering(*bodies).epoch("step", [], [], torch.arange(4), 2)) == [1, 1]


def test_a_request_that_is_too_large_is_an_error_of_the_submission():
    big = np.broadcast_to(np.float32(1), (1 << 14, 1 << 14))

    def ask(frame, _):
        pack(frame)
        yield Frame({"ok": None})

    submission = Submission(ask, "none")
    with pytest.raises(Raised, match="too large"):
        list(submission._answers("call", {}, [big]))


def test_an_error_message_is_shortened_and_escaped():
    error = {"type": "E\x1b[2J", "message": "m\ud800\n" * 10**5, "text": "\u202e", "line": 10**9}
    with pytest.raises(Raised) as caught:
        answering({"error": error}).request("get")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 8000


def test_integers_with_more_than_64_bits_do_not_reach_a_check():
    assert isinstance(answering({"ok": 10**400}).request("get"), Other)
    assert answering({"ok": 2**62}).request("get") == 2**62


@pytest.mark.parametrize(
    "back",
    [{"ok": []}, {"ok": [None, None]}, {"ok": 3}, {"ok": [{"$array": 0}]}, {"ok": ["x"]}],
)
def test_invalid_gradients_are_an_error_of_the_submission(back):
    first = {"ok": {"tape": 1, "value": {"$array": 0}, "grads": [True]}}
    answers = iter([first, back])
    arrays = [np.ones(4, np.float32)]
    submission = Submission(lambda *_: iter([Frame(next(answers), arrays)]), "none")
    x = torch.ones(3, requires_grad=True)
    out = RemoteObject(submission, 1)(x)
    with pytest.raises(Raised):
        out.sum().backward()


def test_integer_tensors_have_no_gradients():
    body = {"ok": {"tape": 1, "value": {"$array": 0}, "grads": [True]}}
    submission = answering(body, arrays=[np.ones(3, np.int64)])
    assert not RemoteObject(submission, 1)(torch.ones(3, requires_grad=True)).requires_grad
