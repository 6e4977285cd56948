"""Options that several commands share, and the choice of the sandbox."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autograder.course.locate import use_course

if TYPE_CHECKING:
    from autograder.sandbox.tiers import Sandbox

NoSandbox = Annotated[
    bool,
    typer.Option(
        "--no-sandbox", help="Run submissions without a sandbox. Only for authors whom you trust."
    ),
]
Names = Annotated[list[str] | None, typer.Argument(help="Assignments. Default: all.")]
Jobs = Annotated[int, typer.Option(help="Number of submissions graded at the same time.", min=1)]
CORES = os.cpu_count() or 1
Graded = Annotated[
    Path | None,
    typer.Option(help="The folder of the graded submissions. Default: `submissions` beside OUT."),
]


def _use(folder: Path | None) -> None:
    if folder:
        use_course(folder)


CourseDir = Annotated[
    Path | None,
    typer.Option(
        "--course",
        metavar="DIR",
        callback=_use,
        is_eager=True,
        help="The course's folder. Default: the course that contains the current folder, else the "
        "installed course.",
    ),
]


def sandbox_for(unconfined: bool = False, *, own: bool = False) -> "Sandbox":
    """Choose the sandbox of the submissions and print its tier.

    Args:
        unconfined: True to run without a sandbox.
        own: True for the course's own submissions. They also run if no sandbox works here.

    Raises:
        SandboxError: If no sandbox works here and the submissions are not the course's own.
    """
    from autograder.sandbox.inside.system import SandboxError
    from autograder.sandbox.tiers import TIERS, Sandbox

    try:
        chosen = Sandbox("C" if unconfined else "").resolved()
    except SandboxError as reason:
        if not own:
            raise
        typer.echo(str(reason), err=True)
        chosen = Sandbox("C")
    if chosen.tier == "C":
        typer.secho(
            "WARNING: submissions run WITHOUT A SANDBOX (tier C). Each one can do what you can do: "
            "read and\ndelete your files, change grades, use the network, and leave processes "
            "running after grading.",
            fg="red",
            bold=True,
            err=True,
        )
    else:
        typer.echo(f"Submissions are {TIERS[chosen.tier]} (tier {chosen.tier}).")
    return chosen


def login() -> str:
    """Return the name in Git's settings, or the login."""
    import getpass
    import subprocess

    with contextlib.suppress(OSError):
        words = ["git", "config", "--get", "user.name"]
        found = subprocess.run(words, capture_output=True, text=True).stdout.strip()
        if found:
            return found
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # the user has no name
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
