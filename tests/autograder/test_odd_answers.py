"""Whatever a worker answers, a check passes, fails or refuses it: no other exception leaves it."""

import contextlib
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from autograder.checks import training
from autograder.checks.registry import load_checks
from autograder.checks.training import TrainingSpec, expect_trained
from autograder.checks.vocabulary import CheckFailed, Skipped
from autograder.course.sources import assignments
from autograder.protocol.frames import Frame
from autograder.protocol.remote import Raised, Submission

ROUNDS = 3
TRAININGS = 25
NAMES = ("a", "fc.weight", "fc.bias", "encoder.0.weight", "layers.0.weight", "layers.1.weight")
DTYPES = ("float32",) * 6 + ("float64", "int64", "bool", "uint8", "float16")
KINDS = ("tensor",) * 8 + ("tuple",) * 3 + ("dict", "plain", "plain")
PLAIN: tuple[Any, ...] = (
    *(None, True, 0, 1, -1, 10, 2**40, "", "mean", "\ud800", {"$ref": 1, "type": "Linear"}),
    *({"$float": text} for text in ("nan", "inf", "0.5", "-3.0")),
    {"$other": "a generator"},
)


class OddWorker:
    """Answers each request with values of random types and of nearly right shapes.

    Args:
        seed: The seed of the answers.
    """

    def __init__(self, seed: str):
        self.random = random.Random(seed)
        self.arrays: list[np.ndarray] = []

    def ask(self, request: Frame, _: float | None) -> Iterator[Frame]:
        """Yield the answer to a request."""
        self.arrays = []
        yield Frame(self._body(request), self.arrays)

    def _body(self, request: Frame) -> dict[str, Any]:
        do, usual = request.body["do"], self.random.random() < 0.97
        if not usual and self.random.random() < 0.5:
            return {"error": {"type": "ValueError", "message": "x"}}
        if do in ("object", "new", "hold") and usual:
            kind = self.random.choice(["Adam", "LBFGS", "lr_scheduler", "Model"])
            return {"ok": {"$ref": 1, "type": kind}}
        if do in ("set", "set_stub", "run", "restrict") and usual:
            return {"ok": None}
        if do == "backward" and self.random.random() < 0.8:
            return {"ok": [None] * self.random.randint(1, 3)}
        if do == "call" and request.body["with"].get("tape"):
            value = self._value(request)
            wants = [self.random.random() < 0.8 for _ in self.arrays]
            return {"ok": {"tape": 1, "value": value, "grads": wants}}
        if do in ("parameters", "state") and self.random.random() < 0.8:
            names = self.random.sample(NAMES, 3)
            return {"ok": {"$dict": {name: self._tensor(request) for name in names}}}
        return {"ok": self._value(request)}

    def _value(self, request: Frame, depth: int = 0) -> Any:
        kind = self.random.choice(KINDS)
        if kind == "tensor":
            return self._tensor(request)
        if kind == "tuple" and depth < 2:
            count = self.random.choice([0, 1, 2, 2, 3, 3, 4])
            return [self._value(request, depth + 1) for _ in range(count)]
        if kind == "dict" and depth < 2:
            names = self.random.sample(NAMES, self.random.randint(0, 3))
            return {"$dict": {name: self._value(request, depth + 1) for name in names}}
        return self.random.choice(PLAIN)

    def _tensor(self, request: Frame) -> dict[str, Any]:
        """Make a tensor of the shape of an array of the request, often with other sides."""
        shape = list(self.random.choice([a.shape for a in request.arrays] or [()]))
        for _ in range(self.random.choice([0, 0, 0, 1, 2])):
            place = self.random.randrange(len(shape) + 1)
            if self.random.random() < 0.3 or place == len(shape):
                shape.insert(place, self.random.choice([0, 1, 2, 3]))
            else:
                shape[place : place + 1] = self.random.choice([[], [1], [0], [7]])
        if np.prod(shape) > 200_000:
            shape = [3]
        numbers = np.random.default_rng(self.random.randrange(1 << 30)).normal(size=shape)
        numbers = numbers * self.random.choice([1, 1, 1, 100, 0, np.nan])
        with np.errstate(invalid="ignore"):
            self.arrays.append(np.asarray(numbers).astype(self.random.choice(DTYPES)))
        return {"$array": len(self.arrays) - 1}


class OddTrainer(OddWorker):
    """Trains with right settings, and returns odd values.

    Args:
        seed: The seed of the answers.
        spec: The training spec.
    """

    def __init__(self, seed: str, spec: TrainingSpec):
        super().__init__(seed)
        self.spec = spec
        # Mostly one shape of answers, so that a training gets further than its first step.
        self.outputs = self.random.choice([0, 1, 2, 2, 3, 3])
        self.ends = self.random.choice([(), (1,), (5,), (1, 5), (5, 1), (784,), (1, 28, 28)])

    def ask(self, request: Frame, _: float | None) -> Iterator[Frame]:
        self.arrays = []
        do, given = request.body["do"], request.body["with"]
        if do == "epoch":
            for rows in np.array_split(
                request.arrays[-1], -(-len(request.arrays[-1]) // given["size"])
            ):
                self.arrays = []
                items = [self._output(request, len(rows)) for _ in range(self.outputs)]
                yield Frame({"item": [{"$float": "1.0"}, *items]}, self.arrays)
            yield Frame({"ok": None})
        elif do == "get" and self.random.random() < 0.9:
            yield Frame({"ok": self.random.choice([1, 2, 5, 10])})
        elif do == "call" and not given.get("tape") and request.arrays:
            items = [
                self._output(request, len(request.arrays[0])) for _ in range(max(self.outputs, 1))
            ]
            yield Frame({"ok": items if len(items) > 1 else items[0]}, self.arrays)
        else:
            yield Frame(self._body(request), self.arrays)

    def _output(self, request: Frame, n: int) -> dict[str, Any]:
        """Make an output for n images: the shape of an input, or another one."""
        if self.random.random() < 0.2:
            return self._tensor(request)
        shape = self.random.choice([request.arrays[0].shape[1:], self.ends, self.ends])
        numbers = np.random.default_rng(self.random.randrange(1 << 30)).random((n, *shape))
        numbers = numbers * self.random.choice([1, 1, 1, 1, 3, np.nan])
        kind = self.random.choice(DTYPES) if self.random.random() < 0.2 else "float32"
        with np.errstate(invalid="ignore"):
            self.arrays.append(numbers.astype(kind))
        return {"$array": len(self.arrays) - 1}


TRAINED = [
    (assignment, name)
    for assignment in assignments()
    for name, value in vars(load_checks(assignment).module).items()
    if isinstance(value, TrainingSpec)
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("assignment", "name"), TRAINED)
def test_no_answer_of_a_worker_breaks_a_training(assignment: str, name: str, monkeypatch):
    checks = load_checks(assignment)
    spec = getattr(checks.module, name)
    monkeypatch.setattr(training, "TEST_IMAGES", 20)
    reached = set()
    for number in range(TRAININGS):
        bounds = {"below": math.inf, "below_new": math.inf, "untrained": 0.0}
        short = replace(spec, images=20, epochs=10, **bounds)
        worker = OddTrainer(f"{name} {number}", short)
        torch.manual_seed(number)

        def start(ask=worker.ask) -> Submission:
            return Submission(ask, assignment, fresh=start)

        submission = start()
        submission.failed = set(worker.random.choice([(), (), *((t.id,) for t in checks.tasks)]))
        try:
            expect_trained(submission, checks.tasks, short)
            reached.add("passed")
        except CheckFailed as failed:
            reached.add(failed.message.partition(":")[0][:60])
        except Raised as error:
            reached.add(error.kind)
    assert len(reached) > 3, reached


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("assignment", assignments())
def test_no_answer_of_a_worker_breaks_a_check(assignment: str):
    for function in load_checks(assignment).functions:
        for number in range(ROUNDS):
            worker = OddWorker(f"{function.__name__} {number}")
            torch.manual_seed(number)
            with contextlib.suppress(CheckFailed, Raised, Skipped):
                function(Submission(worker.ask, assignment, train=False))
