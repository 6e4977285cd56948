"""The demo class: fifteen students, made from the reference, in nbgrader's layout."""

import shutil
from pathlib import Path

from autograder.build.notebooks import reference, starter
from autograder.quality.bank import load_bank, make, with_cell_twice, without_cell, write

ASSIGNMENT = "03_fc_vae"
BANKED = {
    "claude": "unusual_but_right",
    "emmy": "kl_without_half",
    "felix": "kl_without_half",
    "grace": "kl_not_averaged",
    "henri": "kl_logvar_as_log_sigma",
    "ida": "no_sampling",
    "jun": "no_sigmoid",
    "katherine": "over_budget",
    "leonhard": "bce_swapped",
    "maryam": "endless",
}
CUT_SHORT = '{"cells": [{"cell_type": "code", "source": ["import torch'


def make_class(folder: Path) -> Path:
    """Write the demo class anew.

    Args:
        folder: Where the students' folders go; replaced if it is there.

    Returns:
        The folder.
    """
    if folder.exists():
        shutil.rmtree(folder)
    whole = reference(ASSIGNMENT)
    class_of = {
        "ada": whole,
        "blaise": starter(ASSIGNMENT),
        "noor": without_cell(whole, "kl_divergence"),
        "olga": with_cell_twice(whole, "kl_divergence"),
    }
    bank = load_bank(ASSIGNMENT)
    class_of |= {student: make(ASSIGNMENT, bank[name]) for student, name in BANKED.items()}
    for student, notebook in sorted(class_of.items()):
        write(notebook, folder, student, ASSIGNMENT)
    unreadable = write(whole, folder, "pierre", ASSIGNMENT)
    unreadable.write_text(CUT_SHORT, encoding="utf-8")
    return folder
