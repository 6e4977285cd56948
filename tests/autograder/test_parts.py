"""Expectations for the parts of any model."""

import numpy as np
import pytest
import torch

from autograder.checks.shared import parts
from autograder.checks.vocabulary import CheckFailed
from autograder.protocol.frames import MAX_ARRAYS, Frame
from autograder.protocol.remote import RemoteObject, Submission


def model(state: dict[str, np.ndarray], own: tuple[str, ...] = ()) -> RemoteObject:
    """Return a model whose worker answers with this state; `own` are its parameters."""

    def ask(frame, _):
        names = own if frame.body["do"] == "parameters" else tuple(state)
        body = {"$dict": {name: {"$array": n} for n, name in enumerate(names)}}
        yield Frame({"ok": body}, [state[name] for name in names])

    return RemoteObject(Submission(ask, "none"), 1, kind="Model")


def weight(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, 3)).astype(np.float32)


def test_one_layer_under_two_places_is_found():
    same = {"layers.0.weight": weight(1), "layers.1.weight": weight(1)}
    with pytest.raises(CheckFailed, match="used twice"):
        parts.expect_own_layers(model(same, own=("layers.0.weight",)))
    # Other names, other values, and equal parameters of two layers are different layers.
    parts.expect_own_layers(model({"fc.weight": weight(1), "layers.1.weight": weight(1)}))
    parts.expect_own_layers(model({"layers.0.weight": weight(1), "layers.1.weight": weight(2)}))
    parts.expect_own_layers(model(same, own=tuple(same)))
    constant = {f"layers.{n}.weight": np.ones((2, 3), np.float32) for n in range(2)}
    parts.expect_own_layers(model(constant))


@pytest.mark.filterwarnings("error")
def test_a_weight_of_one_number_needs_no_deviation():
    one = {f"layers.{n}.weight": np.full((1, 1), 0.5, np.float32) for n in range(2)}
    parts.expect_own_layers(model(one))


def test_the_work_is_proportional_to_the_number_of_names(monkeypatch):
    """Comparing each pair of 4,096 forged names takes 8 million comparisons."""
    calls = []
    digest = parts._digest
    monkeypatch.setattr(parts, "_digest", lambda w: calls.append(1) or digest(w))
    monkeypatch.setattr(torch, "equal", None)
    names = {f"layers.{n}.weight": weight(n) for n in range(MAX_ARRAYS)}
    parts.expect_own_layers(model(names))
    assert len(calls) == MAX_ARRAYS
