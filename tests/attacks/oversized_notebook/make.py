"""Write an honest notebook with 65 MiB of spaces, or a ZIP archive of 100 MiB of spaces."""

import io
import zipfile


def place(path, honest, targets):
    if VARIANT == "padded":  # noqa: F821 - set by catalog.place
        path.write_bytes(honest + b" " * (65 << 20))
        return
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("work.ipynb", b" " * (100 << 20))
    path.write_bytes(raw.getvalue())
