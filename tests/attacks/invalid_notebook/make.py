"""Write a file that is not a valid notebook."""


def place(path, honest, targets):
    path.write_bytes(
        {
            "invalid": honest[: len(honest) // 2],
            "deep": b'{"cells": ' + b"[" * 500_000,
            "digits": b'{"cells": [], "nbformat": ' + b"9" * 100_000 + b"}",
            "utf16": honest.decode().encode("utf-16"),
            "mark": b"\xef\xbb\xbf" + honest,
        }[VARIANT]  # noqa: F821 - set by catalog.place
    )
