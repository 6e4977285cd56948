"""Create a link, FIFO, device or socket in the place of the notebook."""

import os
import shutil
import socket


def place(path, honest, targets):
    other = targets / "submitted" / "ada"
    if os.path.lexists(path):
        path.unlink()
    match VARIANT:  # noqa: F821 - set by catalog.place
        case "link":
            path.symlink_to(other / "work.ipynb")
        case "folder":
            shutil.rmtree(path.parent)
            (other / path.name).write_bytes(honest)
            path.parent.symlink_to(other)
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "socket":
            here = os.getcwd()
            os.chdir(path.parent)  # the path of a Unix socket must be short
            try:
                with socket.socket(socket.AF_UNIX) as one:
                    one.bind(path.name)
            finally:
                os.chdir(here)
