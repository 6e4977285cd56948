"""Positions in the latent space to decode: quantiles of the prior, lines and arcs."""

import numpy as np
from numpy.typing import NDArray

from vae_utils.plots.inputs import ArrayLike, as_points, to_numpy


def normal_quantiles(n: int) -> NDArray[np.float64]:
    """Return the quantiles of N(0, 1) at n evenly spaced probabilities from 0.05 to 0.95.

    Example:
        >>> normal_quantiles(4).round(2)
        array([-1.64, -0.39,  0.39,  1.64])
    """
    from scipy.stats import norm

    return np.asarray(norm.ppf(np.linspace(0.05, 0.95, n)), dtype=np.float64)


def linear_path(a: NDArray[np.float64], b: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return n evenly spaced points `(n, Z)` on the straight line from a to b.

    Example:
        >>> linear_path(np.array([0.0, 0.0]), np.array([2.0, 4.0]), 3).tolist()
        [[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]]
    """
    return np.asarray(np.linspace(a, b, n), dtype=np.float64)


def spherical_path(a: NDArray[np.float64], b: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return n points `(n, Z)` on the arc from a to b (K. Shoemake, 1985, "slerp").

    If no arc is defined (a or b is 0, or they have the same or opposite directions), the points
    are on the straight line.

    Example:
        >>> spherical_path(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 3).round(2).tolist()
        [[1.0, 0.0], [0.71, 0.71], [0.0, 1.0]]
    """
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    angle = np.arccos(np.clip(a @ b / lengths, -1, 1)) if lengths else 0.0
    if np.sin(angle) < 1e-6:
        return linear_path(a, b, n)
    share = np.linspace(0, 1, n)[:, None]
    arc = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)
    return np.asarray(arc, dtype=np.float64)


def one_code(z: ArrayLike, what: str) -> NDArray[np.float64]:
    """Convert one code, `(Z,)` or `(1, Z)`, to the shape `(Z,)`.

    Raises:
        ValueError: There are several codes.

    Example:
        >>> one_code([[1.0, 2.0]], "z").tolist()
        [1.0, 2.0]
    """
    values = code_rows(z, what)
    if len(values) != 1:
        raise ValueError(f"{what} must be a single code, but has {len(values)} codes.")
    return values[0]


def code_pairs(
    starts: ArrayLike, ends: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Convert both ends of P paths to the shape `(P, Z)`.

    Raises:
        ValueError: Their shapes differ.

    Example:
        >>> code_pairs([1.0, 2.0], [3.0, 4.0])[1].tolist()
        [[3.0, 4.0]]
    """
    first, last = code_rows(starts, "starts"), code_rows(ends, "ends")
    if first.shape != last.shape:
        raise ValueError(
            f"starts and ends must have the same shape, but have {first.shape} and {last.shape}."
        )
    return first, last


def code_rows(codes: ArrayLike, what: str) -> NDArray[np.float64]:
    """Convert codes, with or without a batch dimension, to the shape `(N, Z)`.

    Raises:
        ValueError: The shape is another one, or there is NaN or infinity.

    Example:
        >>> code_rows([1.0, 2.0], "starts").shape
        (1, 2)
    """
    array = to_numpy(codes, what)
    if not np.isfinite(array).all():
        raise ValueError(f"{what} must not contain NaN or infinity.")
    return as_points(array[None] if array.ndim == 1 else array, what).values
