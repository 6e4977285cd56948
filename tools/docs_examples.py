"""A Griffe extension: show a docstring's "Example:" as code, as its parser does "Examples:"."""

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Rename the section in what Griffe has read; the source stays as it is."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section in one docstring."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
