"""Expect that a method calls the parts of its model through `self`."""

import contextlib

from autograder.checks.vocabulary import expect
from autograder.protocol.remote import Raised, RemoteObject


def expect_called(model: RemoteObject, parts: tuple[str, ...], method: str) -> None:
    """Expect that every part, of which each is a stub, has been called.

    Args:
        model: The model.
        parts: The names of its parts.
        method: The method that should call them, for the message.

    Raises:
        CheckFailed: If one of them has not been called.
    """
    for part in parts:
        with contextlib.suppress(Raised):
            expect(
                len(getattr(model, part).seen()) > 0,
                f"`{method}` does not call `self.{part}`. Call each part through `self`. Then each "
                "part can be tested alone.",
                "part_not_called",
            )
