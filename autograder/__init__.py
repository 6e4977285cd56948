"""The autograder: builds notebooks, checks the work in them, and grades submissions.

Data flows in one direction: source → starter → submission → judge ⇄ worker → result → reports.
Notebooks use `notebook_checks` only. Everything else is used through the `vaelab` command.
"""

from typing import Any

__all__ = ["notebook_checks"]


def __getattr__(name: str) -> Any:
    """Import `notebook_checks` on first use, so that importing the package costs no time."""
    if name == "notebook_checks":
        from autograder.student.check import notebook_checks

        return notebook_checks
    raise AttributeError(f"module 'autograder' has no attribute {name!r}")
