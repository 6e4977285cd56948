"""The latent plane: positions of points and images, and equal axes in both figures."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from reading_figures import SIDE, mosaic_of, read_code, readable, title_of

from vae_utils import latent_extent, plot_latent_space, plot_latent_space_images
from vae_utils.plots.scatter import mass_level, push_apart
from vae_utils.plots.style import PALETTE

CODES = torch.randn(300, 2, generator=torch.Generator().manual_seed(3))
LABELS = torch.arange(300) % 10


def scatters(figure):
    return {c.get_label(): c for c in figure.axes[0].collections if c.get_label() in "0123456789"}


def test_each_class_has_its_own_points_colour_and_marker():
    drawn = scatters(plot_latent_space(CODES, LABELS))
    assert len(drawn) == 10
    for name, points in drawn.items():
        np.testing.assert_allclose(points.get_offsets(), CODES[int(name) == LABELS], atol=1e-6)
        assert tuple(points.get_facecolor()[0][:3]) == to_rgba(PALETTE[int(name)])[:3]
    shapes = {tuple(map(tuple, p.get_paths()[0].vertices.round(3))) for p in drawn.values()}
    assert len(shapes) == 10


def test_a_class_looks_the_same_when_others_are_missing():
    three = scatters(plot_latent_space(CODES[:4], torch.tensor([3, 7, 3, 7])))
    assert tuple(three["3"].get_facecolor()[0][:3]) == to_rgba(PALETTE[3])[:3]


def test_a_class_is_named_at_its_median():
    codes = torch.cat([torch.randn(50, 2) + 8, torch.randn(50, 2) - 8])
    figure = plot_latent_space(codes, torch.arange(100) // 50)
    for text, half in zip(figure.axes[0].texts, codes.split(50), strict=True):
        np.testing.assert_allclose(text.get_position(), np.median(half, axis=0), atol=1e-5)


def test_names_that_would_overlap_are_moved_apart():
    moved = push_apart(np.zeros((4, 2)), distance=1.0)
    gaps = np.linalg.norm(moved[:, None] - moved[None], axis=-1)[np.triu_indices(4, 1)]
    assert gaps.min() > 0.95


def test_codes_with_nan_are_counted_and_keep_others_with_their_labels():
    codes = CODES.clone()
    codes[5] = torch.nan
    figure = plot_latent_space(codes, LABELS)
    assert "1 code of 300 with NaN" in title_of(figure)
    kept = (LABELS == 6) & (torch.arange(300) != 5)
    np.testing.assert_allclose(scatters(figure)["6"].get_offsets(), CODES[kept], atol=1e-6)
    assert len(scatters(figure)["5"].get_offsets()) == 29


def test_by_default_all_codes_are_inside_a_square():
    left, right, bottom, top = latent_extent(CODES * torch.tensor([1.0, 4.0]))
    assert right - left == pytest.approx(top - bottom)
    ax = plot_latent_space(CODES * torch.tensor([1.0, 4.0])).axes[0]
    assert (*ax.get_xlim(), *ax.get_ylim()) == (left, right, bottom, top)
    assert ax.get_aspect() == 1


def test_codes_outside_the_axes_are_counted():
    codes = torch.cat([torch.zeros(10, 2), torch.full((3, 2), 9.0)])
    assert "3 codes are outside" in title_of(plot_latent_space(codes, extent=(-3, 3, -3, 3)))


def test_outlines_contain_the_stated_share_of_codes():
    density = np.random.default_rng(0).random((40, 40)) ** 4
    for share in (0.5, 0.9):
        inside = density[density >= mass_level(density, share)].sum() / density.sum()
        assert inside == pytest.approx(share, abs=0.01)
    assert "outlines" in title_of(plot_latent_space(CODES))
    assert "outlines" not in title_of(plot_latent_space(CODES, density=False))


def test_outlines_are_at_the_codes_and_not_mirrored():
    """Codes along x at y = 5: their outline must be wide, flat and at y = 5."""
    codes = torch.randn(2000, 2) * torch.tensor([3.0, 0.3]) + torch.tensor([0.0, 5.0])
    ax = plot_latent_space(codes, extent=(-10, 10, -10, 10)).axes[0]
    contour = ax.collections[-1]
    outline = np.concatenate([path.vertices for path in contour.get_paths() if len(path)])
    assert np.abs(outline[:, 1] - 5).max() < 2
    assert np.ptp(outline[:, 0]) > 5


def test_equal_codes_are_plotted():
    ax = plot_latent_space(torch.zeros(100, 2)).axes[0]
    assert len(ax.collections[0].get_offsets()) == 100


def test_a_narrow_cloud_has_a_narrow_outline():
    codes = torch.randn(2000, 2) * torch.tensor([0.1, 10.0])
    contour = plot_latent_space(codes).axes[0].collections[-1]
    outline = np.concatenate([path.vertices for path in contour.get_paths() if len(path)])
    assert np.abs(outline[:, 0]).max() < 0.4


@pytest.mark.parametrize("codes", [torch.zeros(5, 3), torch.zeros(5), torch.zeros(0, 2)])
def test_codes_must_be_two_dimensional(codes):
    with pytest.raises(ValueError, match=r"codes must have shape \(N, 2\)"):
        plot_latent_space(codes)


def test_each_cell_shows_the_image_of_its_centre():
    """The cell that the axes put at (x, y) must show decode((x, y)), in all four corners."""
    extent, n = (-6.0, 2.0, -1.0, 7.0), 4
    figure = plot_latent_space_images(readable, extent, n=n)
    image = figure.axes[0].images[0]
    left, right, bottom, top = image.get_extent()
    assert (left, right, bottom, top) == extent
    pixels, cell = mosaic_of(figure), (right - left) / n
    for row in range(n):
        for column in range(n):
            shown = pixels[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
            middle = (left + cell * (column + 0.5), top - cell * (row + 0.5))
            np.testing.assert_allclose(read_code(shown, 2), middle, atol=1e-5)
    assert image.origin == "upper"  # so that the first row is the highest latent 1


def test_both_figures_of_the_plane_have_the_same_axes():
    extent = latent_extent(CODES)
    scatter = plot_latent_space(CODES, LABELS).axes[0]
    images = plot_latent_space_images(readable, extent).axes[0]
    assert scatter.get_xlim() == images.get_xlim()
    assert scatter.get_ylim() == images.get_ylim()
    for ax in (scatter, images):
        ax.figure.draw_without_rendering()
    np.testing.assert_allclose(scatter.get_position().bounds, images.get_position().bounds)
    assert scatter.get_xlabel() == images.get_xlabel() == "latent 0"
    assert scatter.get_ylabel() == images.get_ylabel() == "latent 1"
