"""The straight line from one code to another, and known mistakes in it."""

import torch

from autograder.checks.vocabulary import Mistake


def line(a: torch.Tensor, b: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return the points at the given fractions of the line from a to b."""
    return a + share[:, None] * (b - a)


LINE_MISTAKES = (
    Mistake(
        "ends_missing",
        "Both ends are missing. The first point should be z1, and the last z2.",
        lambda a, b, n: line(a, b, torch.linspace(0, 1, n + 2)[1:-1]),
    ),
    Mistake(
        "end_missing",
        "The last point is before z2. n points with both ends have n − 1 steps.",
        lambda a, b, n: line(a, b, torch.arange(n) / n),
    ),
    Mistake(
        "end_missing",
        "The first point is one step after z1. n points with both ends have n − 1 steps.",
        lambda a, b, n: line(a, b, torch.arange(1, n + 1) / n),
    ),
    Mistake(
        "reversed",
        "The line is reversed. It should start at z1.",
        lambda a, b, n: line(a, b, torch.linspace(1, 0, n)),
    ),
    Mistake(
        "not_from_z1",
        "The points start at 0, not at z1.",
        lambda a, b, n: line(torch.zeros_like(a), b - a, torch.linspace(0, 1, n)),
    ),
    Mistake(
        "difference_dropped",
        "The steps are multiples of z2. They should go from z1 to z2.",
        lambda a, b, n: line(a, a + b, torch.linspace(0, 1, n)),
    ),
)
