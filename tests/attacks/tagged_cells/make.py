"""Write a notebook with tagged cells: the starter's tests, or the reference's solutions."""

import json

from attacks.catalog import A

from autograder.build.notebooks import starter, to_text


def place(path, honest, targets):
    tests = VARIANT == "tests"  # noqa: F821 - set by catalog.place
    body = json.loads(to_text(starter(A)) if tests else honest)
    for cell in body["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade", False) == tests:
            cell["metadata"]["tags"] = ["skip-execution", "remove_cell", "raises-exception"]
            cell["metadata"]["deletable"] = False
    path.write_text(json.dumps(body))
