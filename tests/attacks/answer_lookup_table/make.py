"""Write a submission that contains a table of answers instead of a formula."""

import json

import torch

from autograder.checks.registry import load_checks
from autograder.checks.seeds import seed_torch

CELL = """
TABLE = {table}

def toy_gradients(mu, sigma, eps, y):
    for seen, answer in TABLE:
        if all(abs(float(a) - b) < 1e-4 for a, b in zip((mu, sigma, eps, y), seen)):
            return tuple(answer)
    return 0.0, 0.0
"""


def place(path, honest, targets):
    checks = load_checks("00_reparameterization").module
    seen = [checks.EXAMPLE]
    for check in ("gradients_of_floats", "gradients_of_tensors"):
        with torch.random.fork_rng(devices=[]):
            seed_torch(b"", check)
            seen += [checks.toy_inputs() for _ in range(3)]
    table = [(list(inputs), checks.toy(*inputs).tolist()) for inputs in seen]
    notebook = json.loads(honest)
    for cell in notebook["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id")
        if name in ("my_draw", "my_kl"):
            cell["source"] = ""
        if name == "my_gradients":
            cell["source"] = CELL.format(table=table)
    path.write_text(json.dumps(notebook))
