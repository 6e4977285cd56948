"""The one error that anything about data ends in."""

from pathlib import Path


class DataError(Exception):
    """Data that can't be had, or isn't what it should be.

    Args:
        what: the file, folder, variable or argument that is at fault.
        found: what is there.
        expected: what should have been there.
        todo: what the reader can do about it, as a whole sentence.

    Example:
        >>> raise DataError("a.gz", "3 bytes", "16", "Delete it and load again.")
        Traceback (most recent call last):
        ...
        vae_utils.data.errors.DataError: a.gz: found 3 bytes, expected 16. Delete it and load again.
    """

    def __init__(self, what: str | Path, found: str, expected: str, todo: str) -> None:
        self.what = str(what)
        self.found = found
        self.expected = expected
        self.todo = todo
        super().__init__(f"{what}: found {found}, expected {expected}. {todo}")

    def __reduce__(self) -> tuple[type["DataError"], tuple[str, str, str, str]]:
        # Without this the error could not cross a process boundary: pickle passes one argument.
        return (DataError, (self.what, self.found, self.expected, self.todo))
