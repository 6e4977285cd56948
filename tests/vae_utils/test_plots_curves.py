"""Loss curves: correct numbers at each epoch, and NaNs are visible."""

import numpy as np
import pytest
import torch
from reading_figures import title_of

from vae_utils import History, plot_losses


def curves(figure):
    """Return every line by the first word of its legend text."""
    return {
        line.get_label().split(",")[0]: line
        for line in figure.axes[0].lines
        if not line.get_label().startswith("_")
    }


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    "history", [[5.0, 3.0, 2.0], np.array([5.0, 3.0, 2.0]), torch.tensor([5.0, 3.0, 2.0])]
)
def test_a_plain_list_is_one_curve_from_epoch_one(history):
    (line,) = curves(plot_losses(history)).values()
    assert line.get_xdata().tolist() == [1, 2, 3]
    assert line.get_ydata().tolist() == [5, 3, 2]


def test_training_and_validation_of_a_term_share_their_colour():
    history = History({"val_kl": [3.0, 3.5], "kl": [2.0, 4.0], "bce": [90.0, 80.0]})
    figure = plot_losses(history)
    lines = curves(figure)
    assert lines["kl"].get_color() == lines["val kl"].get_color() != lines["bce"].get_color()
    assert [lines[n].get_linestyle() for n in ("kl", "bce", "val kl")] == ["-", "-", "--"]
    assert lines["val kl"].get_ydata().tolist() == [3, 3.5]
    assert legend_texts(figure) == ["kl, last 4", "bce, last 80", "val kl, last 3.5"]


@pytest.mark.parametrize(
    "names", [("loss", "val_loss"), ("train", "test"), ("loss_train", "validation loss")]
)
def test_the_usual_names_of_splits_are_recognised(names):
    figure = plot_losses({name: [2.0, 1.0] for name in names})
    styles = [(line.get_linestyle(), line.get_color()) for line in figure.axes[0].lines]
    assert styles[0][0] == "-"
    assert styles[1][0] == "--"
    assert styles[0][1] == styles[1][1]


def test_the_threshold_is_a_line_and_the_first_epoch_below_it_is_marked():
    figure = plot_losses(
        {"val_loss": [110.0] * 4, "loss": [150.0, 120.0, 119.0, 118.0]}, threshold=120
    )
    line = curves(figure)["threshold 120"]
    assert line.get_ydata() == [120, 120]
    assert "threshold 120, below in epoch 3" in legend_texts(figure)
    ring = next(line for line in figure.axes[0].lines if line.get_markersize() == 11)
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (3, 119.0)


def test_a_loss_at_the_threshold_has_not_reached_it():
    assert "threshold 1, not reached" in legend_texts(plot_losses([2.0, 1.0], threshold=1))


def test_nan_epochs_are_gaps_marked_and_counted():
    figure = plot_losses([5.0, float("nan"), 3.0, float("inf"), 2.0])
    lines = curves(figure)
    np.testing.assert_array_equal(lines["loss"].get_ydata(), [5, np.nan, 3, np.nan, 2])
    assert list(lines["NaN or infinite"].get_xdata()) == [2, 4]
    assert "2 losses are NaN or infinite" in title_of(figure)


def test_a_single_epoch_is_visible():
    assert curves(plot_losses([3.0]))["loss"].get_marker() == "o"


def test_axes_are_named_and_can_be_logarithmic():
    ax = plot_losses([3.0, 1.0], y_label="nats", log=True).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("epoch", "nats", "log")


@pytest.mark.parametrize("history", [[], {}, {"loss": []}])
def test_no_losses_are_refused(history):
    with pytest.raises(ValueError, match="at least one loss"):
        plot_losses(history)


@pytest.mark.parametrize("history", [[[1.0, 2.0]], {"kl": np.zeros((2, 2))}, 3.0])
def test_losses_must_be_one_number_per_epoch(history):
    with pytest.raises(ValueError, match="one number per epoch"):
        plot_losses(history)
