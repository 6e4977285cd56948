"""The demo class: submissions of fifteen students, made from the reference."""

import shutil
from pathlib import Path

from autograder.build.notebooks import reference, starter
from autograder.quality.corpus import load_corpus, make, with_cell_twice, without_cell, write

ASSIGNMENT = "03_fc_vae"
# The corpus submission that each of these students hands in.
CORPUS = {
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
TRUNCATED = '{"cells": [{"cell_type": "code", "source": ["import torch'


def make_class(folder: Path, few: bool = False) -> Path:
    """Write the submissions of the demo class, in nbgrader's layout.

    Args:
        folder: The folder for the students' folders. An existing one is replaced.
        few: Whether to leave out the students in `CORPUS`.

    Returns:
        The folder.
    """
    if folder.exists():
        shutil.rmtree(folder)
    complete = reference(ASSIGNMENT)
    notebooks = {
        "ada": complete,
        "blaise": starter(ASSIGNMENT),
        "noor": without_cell(complete, "kl_divergence"),
        "olga": with_cell_twice(complete, "kl_divergence"),
    }
    corpus = load_corpus(ASSIGNMENT)
    if not few:
        notebooks |= {student: make(ASSIGNMENT, corpus[name]) for student, name in CORPUS.items()}
    for student, notebook in sorted(notebooks.items()):
        write(notebook, folder, student, ASSIGNMENT)
    unreadable = write(complete, folder, "pierre", ASSIGNMENT)
    unreadable.write_text(TRUNCATED, encoding="utf-8")
    return folder
