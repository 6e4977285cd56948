"""Write a notebook with shell commands or for another language."""

import json


def place(path, honest, targets):
    body = json.loads(honest)
    match VARIANT:  # noqa: F821 - set by catalog.place
        case "bash":
            cell = {
                "cell_type": "code",
                "metadata": {},
                "source": "%%bash\necho owned",
                "outputs": [],
            }
            body["cells"].insert(0, cell)
        case "pip":
            for cell in body["cells"]:
                if cell["metadata"].get("nbgrader", {}).get("grade_id") == "my_draw":
                    cell["source"] = [
                        "!pip install torch\n",
                        "%matplotlib inline\n",
                        *cell["source"],
                    ]
        case "kernel":
            body["metadata"]["kernelspec"] = {"name": "ir", "language": "R", "display_name": "R"}
            body["metadata"]["language_info"] = {"name": "R"}
    path.write_text(json.dumps(body))
