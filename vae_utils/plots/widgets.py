"""Sliders for the latent space in a live notebook; elsewhere the same images as a figure."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray

from vae_utils import progress_bar
from vae_utils.plots.decoding import Decode, decoded
from vae_utils.plots.paths import one_code
from vae_utils.plots.traversals import plot_dimension_traversals

ENLARGED = 10  # screen pixels for one pixel of the image
MOST_SLIDERS = 8


def explore_latent_space(
    decode: Decode,
    latent_dim: int,
    dims: Sequence[int] | None = None,
    *,
    start: Any = None,
    span: float = 3.0,
) -> Any:
    """Show sliders that change the latents of a decoded image; headless, return a figure instead.

    Args:
        decode: Maps latents `(N, Z)` to N images.
        latent_dim: Z.
        dims: The latents that get a slider, from 0. By default the first eight.
        start: `(Z,)`, the code to start from. By default 0.
        span: Each slider goes from -span to span.

    Returns:
        An ipywidgets box in a live notebook. Elsewhere (nbconvert, a script) the figure of
        `plot_dimension_traversals`, one row for each slider.

    Raises:
        ValueError: `start` is not one code of Z numbers, or there is no such latent.

    Example:
        >>> import torch
        >>> w = torch.randn(4, 784)
        >>> figure = explore_latent_space(lambda z: torch.sigmoid(z @ w), latent_dim=4)
        >>> len(figure.axes[0].get_yticklabels())
        4
    """
    code = np.zeros(latent_dim) if start is None else one_code(start, "start")
    if len(code) != latent_dim:
        raise ValueError(f"start must have {latent_dim} numbers, but has {len(code)}.")
    chosen = list(dims) if dims is not None else list(range(min(MOST_SLIDERS, latent_dim)))
    strip: Figure = plot_dimension_traversals(decode, code, chosen, span=span)
    return slider_box(decode, code, chosen, span) if is_live_notebook() else strip


def is_live_notebook() -> bool:
    """Return whether this is a live notebook, in which a user can move sliders.

    Example:
        >>> is_live_notebook()
        False
    """
    return progress_bar.output_place() == "notebook"


def slider_box(decode: Decode, code: NDArray[np.float64], dims: Sequence[int], span: float) -> Any:
    """Create the box: a slider for each latent, and the decoded image beside them.

    Example:
        >>> import torch
        >>> box = slider_box(lambda z: torch.sigmoid(z @ torch.ones(2, 784)), np.zeros(2), [0], 3.0)
        >>> len(box.children)
        2
    """
    import ipywidgets

    sliders = [
        ipywidgets.FloatSlider(
            value=float(np.clip(code[dim], -span, span)),
            min=-span,
            max=span,
            step=0.1,
            description=f"latent {dim}",
        )
        for dim in dims
    ]
    picture = ipywidgets.Image(format="png")

    def redraw(_change: Any = None) -> None:
        moved = code.copy()
        moved[list(dims)] = [slider.value for slider in sliders]
        picture.value = _png(decoded(decode, moved[None]).pixels[0])

    for slider in sliders:
        slider.observe(redraw, names="value")
    redraw()
    return ipywidgets.HBox([ipywidgets.VBox(sliders), picture])


def _png(pixels: NDArray[np.float64]) -> bytes:
    """Write one image as PNG, enlarged without smoothing."""
    buffer = io.BytesIO()
    large = pixels.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
    imsave(buffer, np.ascontiguousarray(large), format="png")
    return buffer.getvalue()
