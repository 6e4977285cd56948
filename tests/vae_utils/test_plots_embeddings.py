"""Codes projected by PCA, t-SNE and UMAP; the codebook and the use of its vectors."""

import sys
import types

import numpy as np
import pytest
import torch
from reading_figures import title_of

from vae_utils import plot_codebook, plot_embeddings, visualize_embeddings
from vae_utils.plots.embeddings import project, tsne_seconds

RANDOM = np.random.default_rng(5)
LABELS = np.repeat(np.arange(3), 40)
GROUPS = RANDOM.normal(size=(120, 6)) + 12 * np.eye(3, 6)[LABELS]


def test_pca_keeps_the_two_directions_of_largest_variance():
    codes = RANDOM.normal(size=(500, 4)) * [1.0, 9.0, 0.1, 3.0]
    places, labels = project(codes, "pca")
    centred = codes - codes.mean(axis=0)
    assert abs(np.corrcoef(places[:, 0], centred[:, 1])[0, 1]) > 0.999
    assert abs(np.corrcoef(places[:, 1], centred[:, 3])[0, 1]) > 0.999
    principal = np.linalg.svd(centred, compute_uv=False)[:2]
    np.testing.assert_allclose(np.linalg.norm(places, axis=0), principal)  # lengths are kept
    np.testing.assert_allclose(places.mean(axis=0), 0, atol=1e-9)
    share = 100 * centred[:, 1].var() / centred.var(axis=0).sum()
    assert labels[0] == f"PC 1 ({share:.0f} % of variance)"


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_groups_stay_together_and_keep_their_colours(method):
    figure = plot_embeddings(GROUPS, LABELS, method)
    ax = figure.axes[0]
    middles = [points.get_offsets().mean(axis=0) for points in ax.collections]
    for k, points in enumerate(ax.collections):
        assert len(points.get_offsets()) == 40
        distances = [np.linalg.norm(points.get_offsets() - m, axis=1).mean() for m in middles]
        assert np.argmin(distances) == k
    assert len({tuple(points.get_facecolor()[0]) for points in ax.collections}) == 3


def test_of_many_codes_a_selection_with_its_labels_is_plotted():
    codes = np.arange(300)[:, None] * np.ones((1, 3))
    figure = plot_embeddings(codes, np.arange(300) // 150, "pca", max_points=100)
    low, high = (points.get_offsets()[:, 0] for points in figure.axes[0].collections)
    assert len(low) + len(high) == 100
    assert low.max() < high.min() or high.max() < low.min()
    assert "100 of 300" in title_of(figure)


def test_long_waits_are_announced(capsys, monkeypatch):
    monkeypatch.setattr("vae_utils.plots.embeddings.ANNOUNCED_SECONDS", 0.0)
    plot_embeddings(GROUPS, method="tsne")
    output = capsys.readouterr()
    assert output.out.startswith("t-SNE of 120 codes takes about")
    assert output.err == ""


def test_short_waits_are_not_announced_and_the_estimate_grows_faster_than_the_codes(capsys):
    plot_embeddings(GROUPS[:30], method="tsne")
    assert capsys.readouterr().out == ""
    assert tsne_seconds(2000) < 10 < tsne_seconds(4000)
    assert tsne_seconds(8000) > 2 * tsne_seconds(4000)


def test_codes_with_nan_are_skipped_and_counted():
    codes = GROUPS.copy()
    codes[0] = np.nan
    figure = plot_embeddings(codes, LABELS, "pca")
    assert "1 code of 120 with NaN" in title_of(figure)
    assert len(figure.axes[0].collections[0].get_offsets()) == 39


def test_umap_is_used_where_it_is_installed(monkeypatch):
    class UMAP:
        def __init__(self, random_state):
            assert random_state == 7

        def fit_transform(self, values):
            return values[:, :2] * 10

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=UMAP))
    figure = plot_embeddings(GROUPS, method="umap", seed=7)
    np.testing.assert_allclose(figure.axes[0].collections[0].get_offsets(), GROUPS[:, :2] * 10)
    assert "UMAP" in title_of(figure)


def test_without_umap_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match="pip install umap-learn"):
        plot_embeddings(GROUPS, method="umap")


@pytest.mark.parametrize(
    ("codes", "labels", "method", "sentence"),
    [
        (GROUPS, None, "mds", "'pca', 'tsne' or 'umap'"),
        (GROUPS[:2], None, "pca", "at least 3 codes"),
        (GROUPS[:, :1], None, "pca", "at least 2 dimensions"),
        (GROUPS, LABELS[:50], "pca", "labels must have shape"),
        (GROUPS[:, 0], None, "pca", r"\(N, Z\)"),
    ],
)
def test_what_cannot_be_projected_is_refused(codes, labels, method, sentence):
    with pytest.raises(ValueError, match=sentence):
        plot_embeddings(codes, labels, method)


def test_labels_of_another_number_are_refused_before_the_projection(monkeypatch):
    monkeypatch.setattr("vae_utils.plots.embeddings.project", None)
    with pytest.raises(ValueError, match=r"labels must have shape \(120,\)"):
        plot_embeddings(GROUPS, LABELS[:50], "tsne", max_points=100)


def test_visualize_embeddings_shows_the_means_not_the_sigmas():
    vae = types.SimpleNamespace(encoder=lambda x: (x, torch.zeros_like(x)))
    x = torch.tensor(GROUPS)
    figure = visualize_embeddings(vae, x, torch.tensor(LABELS), method="pca")
    expected, _ = project(GROUPS.astype(np.float32).astype(np.float64), "pca")
    drawn = np.concatenate([points.get_offsets() for points in figure.axes[0].collections])
    np.testing.assert_allclose(drawn, expected, atol=1e-4)


CODEBOOK = RANDOM.normal(size=(8, 2)) * [3, 1]
INDICES = np.array([[0, 0, 0, 0], [1, 1, 5, 5]])


def parts(figure):
    return {c.get_label(): c for c in figure.axes[0].collections}


@pytest.mark.parametrize("indices", [INDICES, torch.tensor(INDICES), np.eye(8)[INDICES.ravel()]])
def test_vectors_are_coloured_by_use_and_the_unused_are_hollow(indices):
    drawn = parts(plot_codebook(CODEBOOK, indices))
    places, _ = project(CODEBOOK, "pca")
    np.testing.assert_allclose(drawn["used"].get_offsets(), places[[0, 1, 5]])
    np.testing.assert_array_equal(drawn["used"].get_array(), [4, 2, 2])
    np.testing.assert_allclose(drawn["never used"].get_offsets(), places[[2, 3, 4, 6, 7]])
    assert drawn["never used"].get_facecolor().size == 0


def test_the_title_has_use_and_perplexity():
    title = title_of(plot_codebook(CODEBOOK, INDICES))
    perplexity = np.exp(-(0.5 * np.log(0.5) + 2 * 0.25 * np.log(0.25)))
    assert f"3 of 8 vectors used, perplexity {perplexity:.1f}" in title


def test_outputs_are_plotted_in_the_same_projection():
    outputs = torch.tensor(CODEBOOK[:4].reshape(1, 2, 2, 2)).movedim(-1, 1)
    drawn = parts(plot_codebook(CODEBOOK, INDICES, outputs=outputs))
    behind = drawn["encoder's outputs"].get_offsets()
    every = np.concatenate([drawn["used"].get_offsets(), drawn["never used"].get_offsets()])
    for place in behind:  # each output equals a code vector
        assert np.linalg.norm(every - place, axis=1).min() < 1e-9


def test_a_codebook_without_indices_is_plotted():
    assert len(parts(plot_codebook(CODEBOOK))["code vector"].get_offsets()) == 8


@pytest.mark.parametrize("indices", [[8], [-1], [0.5]])
def test_indices_that_are_not_in_the_codebook_are_refused(indices):
    with pytest.raises(ValueError, match="from 0 to 7"):
        plot_codebook(CODEBOOK, indices)


def test_outputs_of_another_dimension_are_refused():
    with pytest.raises(ValueError, match=r"outputs must have shape \(N, 2\)"):
        plot_codebook(CODEBOOK, outputs=torch.zeros(5, 3))
