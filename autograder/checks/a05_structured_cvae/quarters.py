"""The lower left quarter of an image, and the known mistakes in it."""

import torch

from autograder.checks.vocabulary import Mistake


def quarter(x: torch.Tensor) -> torch.Tensor:
    """Return the lower left quarter of images (N, 1, H, W), row by row, (N, H·W/4)."""
    height, width = x.shape[-2:]
    return x[:, 0, height // 2 :, : width // 2].flatten(1)


QUARTER_MISTAKES = (
    Mistake(
        "wrong_quarter",
        "This is the upper left quarter: row 0 is at the top of a picture.",
        lambda x: _block(x, 0, 0).flatten(1),
    ),
    Mistake(
        "wrong_quarter",
        "This is the lower right quarter.",
        lambda x: _block(x, 1, 1).flatten(1),
    ),
    Mistake(
        "wrong_quarter",
        "This is the upper right quarter.",
        lambda x: _block(x, 0, 1).flatten(1),
    ),
    Mistake(
        "columns_first",
        "The quarter is read column by column. Read it row by row, as `flatten` does.",
        lambda x: _block(x, 1, 0).transpose(1, 2).flatten(1),
    ),
    Mistake(
        "upside_down",
        "The quarter is upside down: its rows are in the order from bottom to top.",
        lambda x: _block(x, 1, 0).flip(1).flatten(1),
    ),
    *(
        Mistake(
            "quarter_shifted",
            f"The quarter begins {says}. Compare its first row and its first column with H/2 and "
            "0.",
            lambda x, rows=rows, columns=columns: _shifted(x, rows, columns),
        )
        for rows, columns, says in (
            (-1, 0, "one row too high"),
            (0, 1, "one column too far right"),
            (-1, 1, "one row too high and one column too far right"),
        )
    ),
)


def _block(x: torch.Tensor, row: int, column: int) -> torch.Tensor:
    """Return one of the four quarters, (N, H/2, W/2)."""
    height, width = (side // 2 for side in x.shape[-2:])
    rows = slice(row * height, (row + 1) * height)
    return x[:, 0, rows, column * width : (column + 1) * width]


def _shifted(x: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Return the lower left quarter moved down and to the right by so many pixels, (N, H·W/4)."""
    height, width = (side // 2 for side in x.shape[-2:])
    top = height + rows
    return x[:, 0, top : top + height, columns : columns + width].flatten(1)
