"""Reads the files of data sets, idx (plain or .gz) and npz, and checks everything in them."""

import gzip
import hashlib
import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from vae_utils.data.errors import DataError

PARTS = ("x_train", "y_train", "x_test", "y_test")
UINT8_CODE = 8  # the third byte of an idx file is the type of its values


def read_idx(path: Path, dims: int) -> np.ndarray:
    """Read an idx file of unsigned bytes, the format of MNIST.

    The file contains four bytes of magic number (0, 0, type, number of dimensions), then each
    dimension as a big-endian 32-bit integer, then the values.

    Args:
        path: The file. It is decompressed if its name ends in .gz.
        dims: The expected number of dimensions: 3 for images, 1 for labels.

    Returns:
        uint8 array with the shape that the file states.

    Raises:
        DataError: The file cannot be read, is truncated, or has another format.
    """
    content = _read_bytes(path)
    header_size = 4 + 4 * dims
    magic = bytes([0, 0, UINT8_CODE, dims])
    if content[:4] != magic or len(content) < header_size:
        raise DataError(
            path,
            found=f"{len(content):,} bytes that begin with {content[:4].hex() or 'nothing'}",
            expected=f"an idx file, which begins with {magic.hex()}",
            todo="Download this file again.",
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", count=dims, offset=4))
    expected_size = header_size + int(np.prod(shape, dtype=object))
    if len(content) != expected_size:
        raise DataError(
            path,
            found=f"{len(content):,} bytes",
            expected=f"{expected_size:,} for the {shape[0]:,} entries that its header states",
            todo="The file is truncated or damaged. Download it again.",
        )
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    try:
        if path.suffix != ".gz":
            return path.read_bytes()
        with gzip.open(path) as file:
            return file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            path,
            found=f"a damaged gzip file ({error})",
            expected="a complete gzip file",
            todo="Download this file again.",
        ) from error
    except OSError as error:
        raise DataError(
            path,
            found=f"no readable file ({error.strerror})",
            expected="an idx file",
            todo="Check the folder and its permissions.",
        ) from error


def read_npz(path: Path, sha256: str = "") -> dict[str, np.ndarray]:
    """Read the arrays x_train, y_train, x_test and y_test of an npz file.

    Args:
        path: The file.
        sha256: Its SHA-256 in hexadecimal. Empty: not checked.

    Returns:
        The four arrays by name.

    Raises:
        DataError: The file cannot be read, its checksum is wrong, or an array is missing.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            path,
            found=f"no readable file ({error.strerror})",
            expected="a data file",
            todo="If the file belongs to vae_utils, install the package again.",
        ) from error
    found = hashlib.sha256(content).hexdigest() if sha256 else ""
    if found != sha256:
        raise DataError(
            path,
            found=f"SHA-256 {found[:12]}… over {len(content):,} bytes",
            expected=f"{sha256[:12]}…",
            todo="The file is damaged or changed: install the package again, or git checkout it.",
        )
    try:
        with np.load(io.BytesIO(content)) as stored:
            return {part: stored[part] for part in PARTS}
    except (KeyError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(
            path,
            found=f"content that cannot be read ({error})",
            expected="an npz file with " + ", ".join(PARTS),
            todo="Create or download this file again.",
        ) from error
