"""DataError: the error for every problem with data."""

from pathlib import Path


class DataError(Exception):
    """Data that cannot be loaded, or that is not as expected.

    Args:
        what: The file, folder, variable or argument with the problem.
        found: What was found.
        expected: What was expected.
        todo: What the reader can do about it, as a full sentence.

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
        # pickle passes one argument by default. With this the error can cross a process boundary.
        return (DataError, (self.what, self.found, self.expected, self.todo))
