"""History: means over images, lists of equal length, NaN is reported."""

import pytest
import torch

from vae_utils import History


def test_an_epoch_is_the_mean_over_images_not_over_batches():
    history = History()
    history.step(128, loss=1.0)
    history.step(2, loss=66.0)
    history.add()
    assert history["loss"] == [2.0]


def test_epochs_are_separate():
    history = History()
    for epoch in range(2):
        history.step(10, loss=torch.tensor(float(epoch)), kl=3.0)
        history.add(val_loss=epoch + 0.5)
    assert history == {"loss": [0.0, 1.0], "kl": [3.0, 3.0], "val_loss": [0.5, 1.5]}


def test_batches_hold_no_graph():
    weight = torch.ones(1, requires_grad=True)
    history = History()
    history.step(1, loss=(2 * weight).sum())
    assert not any(getattr(total, "requires_grad", False) for total in history._sums.values())
    history.add(val_loss=weight)
    assert history == {"val_loss": [1.0], "loss": [2.0]}


def test_every_epoch_needs_the_same_names():
    history = History({"loss": [1.0], "val_loss": [2.0]})
    with pytest.raises(ValueError, match=r"'val_loss'\], this epoch \['loss'\]"):
        history.add(loss=0.5)
    assert history == {"loss": [1.0], "val_loss": [2.0]}


def test_nan_is_recorded_and_printed(capsys):
    history = History()
    history.step(4, loss=torch.tensor(float("nan")))
    history.add(kl=1.0)
    assert capsys.readouterr().out == "Epoch 1: loss is nan\n"


def test_vectors_and_empty_batches_are_refused():
    with pytest.raises(ValueError, match=r"loss has shape \(3,\)"):
        History().step(3, loss=torch.zeros(3))
    with pytest.raises(ValueError, match="expected 1 or more, got 0"):
        History().step(0, loss=1.0)


def test_it_is_a_dict_of_lists():
    losses = {"loss": [2.0, 1.0]}
    history = History(losses)
    history.add(loss=0.5)
    assert losses == {"loss": [2.0, 1.0]}
    assert isinstance(history, dict)
    assert dict(history) == {"loss": [2.0, 1.0, 0.5]}
