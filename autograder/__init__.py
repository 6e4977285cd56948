"""The autograder: builds the notebooks, checks work in them, and grades submissions.

Data flows one way: source → starter → submission → judge ⇄ worker → result → reports.
Only `notebook_checks` is meant for notebooks; all else is reached through the `vaelab` command.
"""

from typing import Any

__all__ = ["notebook_checks"]


def __getattr__(name: str) -> Any:
    """Load what notebooks need when it is asked for, so that importing the package is free."""
    if name == "notebook_checks":
        from autograder.student.check import notebook_checks

        return notebook_checks
    raise AttributeError(f"module 'autograder' has no attribute {name!r}")
