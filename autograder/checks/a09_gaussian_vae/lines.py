"""The straight line from one code to another, and known mistakes in it."""

import torch

from autograder.checks.vocabulary import Mistake, expect


def line(a: torch.Tensor, b: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return the points at the given fractions of the line from a to b."""
    return a + share[:, None] * (b - a)


def sphere(a: torch.Tensor, b: torch.Tensor, n: int) -> torch.Tensor:
    """Return n points of the arc from a to b (spherical interpolation, Shoemake 1985)."""
    share = torch.linspace(0, 1, n)[:, None]
    angle = torch.arccos(torch.cosine_similarity(a, b, 0))
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)


def unit(a: torch.Tensor) -> torch.Tensor:
    """Return a vector of length 1 in the direction of each row."""
    return a / a.norm(dim=-1, keepdim=True)


ARC = (
    "sphere_for_line",
    "Your points are on an arc around 0 (a spherical interpolation). Use the straight line.",
)
LINE_MISTAKES = (
    Mistake(*ARC, sphere),
    Mistake(*ARC, lambda a, b, n: sphere(unit(a), unit(b), n)),
    Mistake(*ARC, lambda a, b, n: unit(line(a, b, torch.linspace(0, 1, n)))),
    Mistake(
        *ARC,
        lambda a, b, n: (
            unit(line(a, b, torch.linspace(0, 1, n)))
            * line(a.norm()[None], b.norm()[None], torch.linspace(0, 1, n))
        ),
    ),
    Mistake(
        *ARC,
        lambda a, b, n: (
            torch.linspace(1, 0, n).sqrt()[:, None] * a
            + torch.linspace(0, 1, n).sqrt()[:, None] * b
        ),
    ),
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


def expect_on_line(points: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    """Expect points (n, Z) on the straight line through a and b; say where they leave it.

    Raises:
        CheckFailed: If they are not on it, or on it with unequal steps.
    """
    step = (b - a).double()
    away = points.double() - a.double()
    share = away @ step / (step @ step)
    off = (away - share[:, None] * step).norm(dim=1) / step.norm()
    place = int(off.argmax())
    expect(
        float(off.max()) < 1e-4,
        f"Your points are not all on the straight line from z1 to z2: point {place + 1} of "
        f"{len(points)} is {float(off.max()):.3g} times their distance away from it.",
        "not_on_line",
    )
    steps = share.diff()
    if bool(((steps - steps.mean()).abs() < 1e-3 * steps.abs().mean()).all()):
        first, last = (float(end) for end in (share[0], share[-1]))
        where = f"{first:.3g} and ends at {last:.3g}"
        expect(
            float(steps.mean()) > 0,
            "Your points go in the direction from z2 to z1. In shares of the way from z1 to z2, "
            f"your line starts at {where}. Expected: from 0 to 1. Check a sign.",
            "wrong_direction",
        )
        expect(
            False,
            "Your points are evenly spaced, but their ends are not z1 and z2: in shares of the "
            f"way from z1 to z2, your line starts at {where}. Expected: from 0 to 1.",
            "wrong_ends",
        )
    shown = ", ".join(f"{float(s):.3g}" for s in share[:4])
    expect(
        False,
        "Your points are on the straight line through z1 and z2, but not evenly spaced from z1 to "
        f"z2: the first ones are at {shown} of the way.",
        "uneven_steps",
    )
