"""The style: distinguishable colours, no side effects, each figure shown once."""

import itertools
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from reading_figures import readable, tile, title_of

from vae_utils import explore_latent_space, plot_losses, plot_samples
from vae_utils.plots import widgets
from vae_utils.plots.mosaic import font_that_fits, mosaic_figure, tiles
from vae_utils.plots.style import MARKERS, PALETTE, class_style, new_figure, set_title

# Machado, Oliveira & Fernandes (2009): linear RGB as seen with each kind of colour blindness.
SEEN_BY = {
    "all cones": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def cielab(colour, seen_by):
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(seen_by) @ linear, 0, 1)
    x, y, z = np.cbrt(TO_XYZ @ seen / [0.95047, 1.0, 1.08883])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", SEEN_BY)
def test_any_two_classes_differ_in_colour_with_every_vision(kind):
    places = [cielab(colour, SEEN_BY[kind]) for colour in PALETTE]
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(places, 2))
    assert nearest > 15  # a difference of 2 is barely visible


def test_ten_classes_have_ten_markers_and_twenty_have_twenty_pairs():
    assert len(set(MARKERS)) == 10
    assert len({tuple(class_style(k).values()) for k in range(100)}) == 100


def test_plotting_does_not_change_matplotlib_and_pyplot():
    code = (
        "import matplotlib as mpl; before = mpl.rcParams.copy(); import vae_utils, sys;"
        "f = vae_utils.plot_losses([2.0, 1.0]); f.savefig('/dev/null', format='png');"
        "assert 'matplotlib.pyplot' not in sys.modules;"
        "assert 'seaborn' not in sys.modules and 'sklearn' not in sys.modules;"
        "assert 'scipy' not in sys.modules and 'ipywidgets' not in sys.modules;"
        # Reading rcParams["backend"] selects a backend, and loads pyplot, if none is set.
        "assert all(mpl.rcParams[k] == before[k] for k in before if k != 'backend')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_users_settings_do_not_change():
    with mpl.rc_context({"font.size": 3, "axes.titlesize": 3}):
        figure = plot_losses([2.0, 1.0])
        assert mpl.rcParams["font.size"] == 3
    assert figure.axes[0].title.get_fontsize() == 12


def test_a_figure_shows_itself_as_png():
    assert plot_losses([2.0, 1.0])._repr_png_().startswith(b"\x89PNG")


def test_a_notebook_shows_a_figure_once_and_only_as_a_cells_value():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    cells = [
        "from vae_utils import plot_losses\nplot_losses([2.0, 1.0])",
        "figure = plot_losses([2.0, 1.0])",
        "import matplotlib.pyplot as plt\nplot_losses([2.0, 1.0])",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [[output.get("data", {}).keys() for output in cell.outputs] for cell in notebook.cells]
    assert [len(outputs) for outputs in shown] == [1, 0, 1]
    assert all("image/png" in keys for outputs in shown for keys in outputs)


def test_long_titles_are_wrapped():
    figure, axes = new_figure()
    set_title(axes[0, 0], "word " * 40, ["note " * 40])
    assert max(len(line) for line in title_of(figure).split("\n")) <= 78


def text_boxes(figure):
    """Return the boxes of all tick labels, titles and texts, in pixels."""
    figure.draw_without_rendering()
    ax = figure.axes[0]
    texts = [*ax.get_xticklabels(), *ax.get_yticklabels(), *ax.texts]
    texts += [ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label]
    return [t.get_window_extent() for t in texts if t.get_text()]


@pytest.mark.parametrize("columns", [1, 5, 10, 20])
def test_texts_of_a_mosaic_do_not_overlap(columns):
    image = np.zeros((28, 28, 3))
    names = [f"Ankle boot {c}" for c in range(columns)]
    figure = mosaic_figure(
        [[image] * columns] * 2,
        "A title",
        ["a note"],
        row_labels=["reconstruction", "input"],
        column_labels=names,
        captions=[names] * 2,
        x_label="x",
    )
    for a, b in itertools.combinations(text_boxes(figure), 2):
        assert not (a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 - 1 and b.y0 < a.y1 - 1)


def test_longer_texts_get_a_smaller_font():
    assert font_that_fits(["0"], 0.7) > font_that_fits(["Ankle boot"], 0.5)


def test_tiles_of_different_size_are_refused():
    with pytest.raises(ValueError, match="4×4, 5×5"):
        tiles([[np.zeros((4, 4, 3)), np.zeros((5, 5, 3))]])


def test_headless_exploring_returns_a_figure():
    start = torch.tensor([1.0, -1.0, 0.0])
    figure = explore_latent_space(readable, 3, dims=[1], start=start, span=2.0)
    assert isinstance(figure, Figure)
    np.testing.assert_allclose(tile(figure, 0, 0, (4, 4))[0, 1, 0], -2 / 16 + 0.5, atol=1e-6)


def test_live_exploring_returns_sliders_that_redraw(monkeypatch):
    monkeypatch.setattr(widgets, "is_live_notebook", lambda: True)
    seen = []

    def decode(z):
        seen.append(z[0].tolist())
        return readable(z)

    box = explore_latent_space(decode, 3, dims=[0, 2], start=[0.0, 0.5, 0.0])
    sliders, picture = box.children
    before = bytes(picture.value)
    assert before.startswith(b"\x89PNG")
    sliders.children[1].value = 1.5
    assert seen[-1] == [0.0, 0.5, 1.5]
    assert bytes(picture.value) != before


@pytest.mark.parametrize(
    ("start", "dims"), [([0.0, 0.0], None), (None, [3]), ([[0.0] * 3] * 2, None)]
)
def test_invalid_arguments_of_exploring_are_refused(start, dims):
    with pytest.raises(ValueError, match=r"must have 3 numbers|no latent 3|single code"):
        explore_latent_space(readable, 3, dims, start=start)


def test_figures_fit_a_notebooks_column():
    figure = plot_samples(torch.rand(500, 784), n=500)
    width, height = figure.get_size_inches()
    assert width == 7.2
    assert height < 8.5
