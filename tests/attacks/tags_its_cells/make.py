"""Writes the reference with every cell tagged."""

import json


def place(path, honest, bait):
    body = json.loads(honest)
    for cell in body["cells"]:
        cell["metadata"]["tags"] = ["skip-execution", "remove_cell", "raises-exception"]
        cell["metadata"]["deletable"] = False
    path.write_text(json.dumps(body))
