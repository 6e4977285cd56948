"""Write a notebook with missing, duplicate, renamed, retyped or edited cells."""

import copy
import json

from attacks.catalog import A

from autograder.build.notebooks import starter, to_text


def place(path, honest, targets):
    body = json.loads(honest)
    by_id = {c["metadata"].get("nbgrader", {}).get("grade_id"): c for c in body["cells"]}
    kl, test = by_id["my_kl"], by_id["kl_divergence"]
    match VARIANT:  # noqa: F821 - set by catalog.place
        case "missing":
            body["cells"].remove(test)
        case "twice":
            body["cells"].insert(body["cells"].index(kl), copy.deepcopy(kl))
            body["cells"].append(copy.deepcopy(test))
        case "renamed":
            kl["metadata"]["nbgrader"]["grade_id"] = "my_own_kl"
        case "retyped":
            kl["cell_type"] = "markdown"
        case "edited":
            test["source"] = "90.0"
        case "emptied":
            body = json.loads(to_text(starter(A)))
            for cell in body["cells"]:
                if cell["source"] and "".join(cell["source"]).startswith("check("):
                    cell["source"] = "90.0"
        case "lost":
            body["cells"].remove(kl)
        case "format_3":
            body = {"nbformat": 3, "metadata": {}, "worksheets": [{"cells": body["cells"]}]}
        case "format_5":
            body["nbformat"] = 5
    path.write_text(json.dumps(body))
