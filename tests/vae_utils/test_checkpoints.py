"""Weights and checkpoints: whole or absent, never executed, and a resumed run is the same run."""

import os
import pickle

import pytest
import torch
from torch import nn

from vae_utils import (
    CheckpointError,
    History,
    load_weights,
    make_adam,
    make_loader,
    resume,
    save_checkpoint,
    save_weights,
)

FORMATS = ["weights.pt", "weights.safetensors"]


def same_weights(a, b):
    return all(torch.equal(a.state_dict()[name], value) for name, value in b.state_dict().items())


@pytest.mark.parametrize("name", FORMATS)
def test_weights_and_buffers_come_back(tmp_path, name):
    model, other = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
    model(torch.rand(8, 3))
    save_weights(model, tmp_path / "deep" / name)
    load_weights(other, tmp_path / "deep" / name)
    assert same_weights(model, other)


@pytest.mark.parametrize("name", FORMATS)
def test_tied_weights(tmp_path, name):
    def tied():
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        model[1].weight = model[0].weight
        return model

    model, other = tied(), tied()
    save_weights(model, tmp_path / name)
    load_weights(other, tmp_path / name)
    assert same_weights(model, other)
    assert other[0].weight is other[1].weight


@pytest.mark.parametrize("name", FORMATS)
def test_another_models_weights_change_nothing(tmp_path, name):
    save_weights(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)), tmp_path / name)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    before = model[0].weight.detach().clone()
    with pytest.raises(CheckpointError, match=r"1.weight is \(1, 4\), not \(2, 4\)"):
        load_weights(model, tmp_path / name)
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.95])
def test_truncated_file(tmp_path, name, keep):
    path = tmp_path / name
    save_weights(nn.Linear(30, 40), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(CheckpointError, match="damaged"):
        load_weights(nn.Linear(30, 40), path)


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("executed",))


def pickled(value, path):
    path.write_bytes(pickle.dumps(value, protocol=2))


@pytest.mark.parametrize("dump", [torch.save, pickled])
def test_code_in_a_file_is_not_executed(tmp_path, monkeypatch, dump):
    monkeypatch.chdir(tmp_path)
    dump({"weight": Evil()}, tmp_path / "evil.pt")
    for load in (load_weights, lambda model, path: resume(path, model)):
        with pytest.raises(CheckpointError, match="which is not loaded"):
            load(nn.Linear(2, 2), tmp_path / "evil.pt")
    assert not (tmp_path / "executed").exists()


def train(path, stop_after=None, epochs=4):
    """Train with dropout and shuffling, from a checkpoint if there is one."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 6))
    optimizer = make_adam(model.parameters(), lr=0.01)
    loader = make_loader(torch.rand(50, 6, generator=torch.Generator().manual_seed(1)), 16)
    history = History()
    start = resume(path, model, optimizer, history, loader)
    for epoch in range(start, epochs):
        for x, _ in loader:
            loss = (model(x) - x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.step(len(x), loss=loss)
        history.add()
        save_checkpoint(path, model, optimizer, history, loader, epoch=epoch + 1)
        if epoch + 1 == stop_after:
            break
    return model, history


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(tmp_path):
    model, history = train(tmp_path / "whole.pt")
    train(tmp_path / "parts.pt", stop_after=2)
    torch.rand(1000)  # a new process would be somewhere else in torch's random numbers
    resumed, resumed_history = train(tmp_path / "parts.pt")

    assert same_weights(model, resumed)
    assert resumed_history == history
    assert len(history["loss"]) == 4


def test_an_interruption_while_saving_leaves_the_one_before(tmp_path, monkeypatch):
    path, model = tmp_path / "run.pt", nn.Linear(2, 2)
    save_checkpoint(path, model, epoch=1)
    whole = path.read_bytes()

    def interrupted(state, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, model, epoch=2)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_that_lacks_what_is_asked_for(tmp_path):
    path, model = tmp_path / "run.pt", nn.Linear(2, 2)
    save_checkpoint(path, model, epoch=1)
    with pytest.raises(CheckpointError, match="saved without optimizer and history"):
        resume(path, model, make_adam(model.parameters()), History())


def test_weights_are_no_checkpoint(tmp_path):
    save_weights(nn.Linear(2, 2), tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="load weights by load_weights"):
        resume(tmp_path / "weights.pt", nn.Linear(2, 2))


def test_another_optimizer_changes_nothing(tmp_path):
    path, model = tmp_path / "run.pt", nn.Linear(2, 2)
    save_checkpoint(path, model, make_adam(model.parameters()), epoch=1)
    other = nn.Linear(2, 2)
    before = other.weight.detach().clone()
    with pytest.raises(CheckpointError, match="another optimizer's state"):
        resume(path, other, make_adam([other.weight]))
    assert torch.equal(other.weight, before)


def test_no_checkpoint_yet_means_epoch_zero(tmp_path):
    assert resume(tmp_path / "run.pt", nn.Linear(2, 2)) == 0
