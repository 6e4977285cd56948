"""Puts something else where a notebook should be."""

import os
import shutil
import socket


def place(path, honest, targets):
    theirs = targets / "submitted" / "ada"
    if os.path.lexists(path):
        path.unlink()
    match VARIANT:  # noqa: F821 - set by the catalogue
        case "link":
            path.symlink_to(theirs / "work.ipynb")
        case "folder":
            shutil.rmtree(path.parent)
            (theirs / path.name).write_bytes(honest)
            path.parent.symlink_to(theirs)
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "socket":
            here = os.getcwd()
            os.chdir(path.parent)  # a socket's path must be short
            try:
                with socket.socket(socket.AF_UNIX) as one:
                    one.bind(path.name)
            finally:
                os.chdir(here)
