"""Text from outside, made safe to show, and names from outside, made safe to write under."""

import hashlib
import html
import os
import unicodedata

SIGNS = {"passed": "✓", "failed": "✗", "todo": "○", "not_run": "–", "left_out": "–"}
NAME_BYTES = 200
# Control, format (bidirectional marks, zero width), surrogate, private, unassigned, and the
# separators that start a new line.
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def shown(text: str, limit: int | None = None, keep: str = "") -> str:
    r"""Write what a terminal or a page would obey rather than show as backslash escapes.

    Args:
        text: Anything: a name, a message, with escape sequences and lone surrogates in it.
        limit: Longest text to give back, in characters; what is beyond ends in "…".
        keep: Unseen characters that may stay, such as "\n".
    """
    cut = text if limit is None or len(text) <= limit else text[: limit - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(
        c.encode("unicode_escape").decode()
        if unicodedata.category(c) in UNSEEN and c not in keep
        else c
        for c in cut
    )


def file_name(student: str) -> str:
    """Give the file name, without its ending, under which a student's results are written.

    A plain name is itself. One that is too long, holds what is not to be seen, or differs from
    another by its case or its composition alone gets a digest: two students never share a file,
    on whatever file system.
    """
    folded = unicodedata.normalize("NFC", student).casefold()
    raw = os.fsencode(student) if _encodable(student) else student.encode("utf-8", "surrogatepass")
    plain = student == folded and shown(student) == student and not student.startswith(".")
    if plain and student and len(raw) <= NAME_BYTES and not set("/~") & set(student):
        return student
    kept = "".join(c if c.isalnum() and c.isascii() else "-" for c in folded)[:40].strip("-")
    return f"{kept or 'student'}~{hashlib.sha256(raw).hexdigest()[:12]}"


def _encodable(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def marked(text: str) -> str:
    """Escape a text and set its `names` as code."""
    parts = html.escape(text).split("`")
    if len(parts) % 2 == 0:
        return html.escape(text)
    return "".join(p if i % 2 == 0 else f"<code>{p}</code>" for i, p in enumerate(parts))
