"""A program that grades submissions one after another, as the judge of a batch does."""

import json
import resource
import sys
from pathlib import Path

import psutil
import torch

from attacks.catalog import A
from autograder.grading import batch, judge
from autograder.grading.batch import Entry
from autograder.records.results import to_json
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox


def main(tier: str) -> None:
    """Read lines of JSON [folder, notebook, student, limits]; print a result for each.

    Args:
        tier: The tier of the sandbox.
    """
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        folder, path, student, limits = json.loads(line)
        entry = Entry(student, Path(path), Path(folder))
        result = batch._grade_one(entry, judge.grade, A, Limits(**limits), Sandbox(tier))
        memory = psutil.Process().memory_info().rss
        print(json.dumps({"result": to_json(result), "memory": memory}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
