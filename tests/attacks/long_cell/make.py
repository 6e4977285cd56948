"""Write a correct submission with a comment of many characters outside ASCII."""

import json


def place(path, honest, targets):
    body = json.loads(honest)
    for cell in body["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "my_kl":
            cell["source"] = ["# ", "\U0001f600" * 100_000, "\n", *cell["source"]]
    path.write_text(json.dumps(body))
