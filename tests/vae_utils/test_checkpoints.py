"""Checkpoints: complete or absent, never executed; a resumed run equals an uninterrupted one."""

import os
import pickle

import pytest
import torch
from torch import nn

from vae_utils import (
    CheckpointError,
    History,
    make_adam,
    make_loader,
    resume,
    save_checkpoint,
)


def same_weights(a, b):
    return all(torch.equal(a.state_dict()[name], value) for name, value in b.state_dict().items())


def test_weights_and_buffers_are_restored(tmp_path):
    model, other = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
    model(torch.rand(8, 3))
    save_checkpoint(tmp_path / "deep" / "run.pt", model, epoch=3)
    assert resume(tmp_path / "deep" / "run.pt", other) == 3
    assert same_weights(model, other)


def test_tied_weights_stay_tied(tmp_path):
    def tied():
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        model[1].weight = model[0].weight
        return model

    model, other = tied(), tied()
    save_checkpoint(tmp_path / "run.pt", model, epoch=1)
    resume(tmp_path / "run.pt", other)
    assert same_weights(model, other)
    assert other[0].weight is other[1].weight


def test_the_weights_of_another_model_change_nothing(tmp_path):
    other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    save_checkpoint(tmp_path / "run.pt", other, epoch=1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    before = model[0].weight.detach().clone()
    with pytest.raises(CheckpointError, match=r"1.weight has shape \(1, 4\), expected \(2, 4\)"):
        resume(tmp_path / "run.pt", model)
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.95])
def test_truncated_file(tmp_path, keep):
    path = tmp_path / "run.pt"
    save_checkpoint(path, nn.Linear(30, 40), epoch=1)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(CheckpointError, match="damaged"):
        resume(path, nn.Linear(30, 40))


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("executed",))


def pickled(value, path):
    path.write_bytes(pickle.dumps(value, protocol=2))


@pytest.mark.parametrize("dump", [torch.save, pickled])
def test_code_in_a_file_is_not_executed(tmp_path, monkeypatch, dump):
    monkeypatch.chdir(tmp_path)
    dump({"weight": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="not loaded, because they can execute code"):
        resume(tmp_path / "evil.pt", nn.Linear(2, 2))
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


def test_a_resumed_run_equals_an_uninterrupted_run(tmp_path):
    model, history = train(tmp_path / "whole.pt")
    train(tmp_path / "parts.pt", stop_after=2)
    torch.rand(1000)  # a new process would have another random state
    resumed, resumed_history = train(tmp_path / "parts.pt")

    assert same_weights(model, resumed)
    assert resumed_history == history
    assert len(history["loss"]) == 4


def test_an_interruption_while_saving_keeps_the_previous_checkpoint(tmp_path, monkeypatch):
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


def test_a_checkpoint_without_a_requested_part(tmp_path):
    path, model = tmp_path / "run.pt", nn.Linear(2, 2)
    save_checkpoint(path, model, epoch=1)
    with pytest.raises(CheckpointError, match="saved without optimizer and history"):
        resume(path, model, make_adam(model.parameters()), History())


def test_a_file_with_weights_only_is_no_checkpoint(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of save_checkpoint"):
        resume(tmp_path / "weights.pt", nn.Linear(2, 2))


def test_another_optimizer_changes_nothing(tmp_path):
    path, model = tmp_path / "run.pt", nn.Linear(2, 2)
    save_checkpoint(path, model, make_adam(model.parameters()), epoch=1)
    other = nn.Linear(2, 2)
    before = other.weight.detach().clone()
    with pytest.raises(CheckpointError, match="belongs to another optimizer"):
        resume(path, other, make_adam([other.weight]))
    assert torch.equal(other.weight, before)


def test_without_a_checkpoint_training_starts_at_epoch_zero(tmp_path):
    assert resume(tmp_path / "run.pt", nn.Linear(2, 2)) == 0
