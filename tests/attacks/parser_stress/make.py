"""Write a submission whose last solution cell overloads the parser."""

import json


def place(path, honest, targets):
    body = json.loads(honest)
    for cell in body["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "my_kl":
            cell["source"] = {
                "minuses": "x = " + "-" * 100_000 + "1",
                "null": "x = 1\0",
                "attributes": "x" + ".a" * 70_000,
            }[VARIANT]  # noqa: F821 - set by catalog.place
    path.write_text(json.dumps(body))
