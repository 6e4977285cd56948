"""The straight line from one code to another, and the walks that are mistaken for it."""

import torch

from autograder.checks.vocabulary import Mistake


def line(a: torch.Tensor, b: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Points at the given shares of the way from a to b."""
    return a + share[:, None] * (b - a)


LINE_MISTAKES = (
    Mistake(
        "ends_missing",
        "Neither end is there: the first point is z1, and the last is z2.",
        lambda a, b, n: line(a, b, torch.linspace(0, 1, n + 2)[1:-1]),
    ),
    Mistake(
        "end_missing",
        "The last point falls short of z2: n points with both ends leave n − 1 steps.",
        lambda a, b, n: line(a, b, torch.arange(n) / n),
    ),
    Mistake(
        "end_missing",
        "The first point is a step past z1: n points with both ends leave n − 1 steps.",
        lambda a, b, n: line(a, b, torch.arange(1, n + 1) / n),
    ),
    Mistake(
        "reversed",
        "The line runs backwards: it starts at z1.",
        lambda a, b, n: line(a, b, torch.linspace(1, 0, n)),
    ),
    Mistake(
        "not_from_z1",
        "The points start at 0, not at z1.",
        lambda a, b, n: line(torch.zeros_like(a), b - a, torch.linspace(0, 1, n)),
    ),
    Mistake(
        "difference_dropped",
        "The steps go along z2, not from z1 to z2.",
        lambda a, b, n: line(a, a + b, torch.linspace(0, 1, n)),
    ),
)
