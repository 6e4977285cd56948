import contextlib
from pathlib import Path

for name in ("results/ada.json", "results/mallory.json", "gradebook.db", "feedback/ada.html"):
    with contextlib.suppress(OSError):
        Path("@TARGETS@", name).parent.mkdir(parents=True, exist_ok=True)
        Path("@TARGETS@", name).write_text('{"student": "mallory", "score": 90.0}')
