"""Make untrusted text safe to display, and untrusted names safe to use as file names."""

import hashlib
import html
import os
import unicodedata

from autograder.records.results import DIGEST_DIGITS, GRADER_ERROR, SKIPPED

SIGNS = {"passed": "✓", "failed": "✗", "todo": "○", "not_run": "–", SKIPPED: "–", GRADER_ERROR: "!"}
NAME_BYTES = 200
# Unicode categories: control, format (bidirectional marks, zero width), surrogate, private use,
# unassigned, line separator, paragraph separator.
UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str, limit: int | None = None, keep: str = "") -> str:
    r"""Return `text` with every unprintable character written as a backslash escape.

    A terminal or a browser would obey such characters instead of displaying them.

    Args:
        text: Any text, for example a name or a message. It may contain escape sequences and lone
            surrogates.
        limit: Maximum number of characters before escaping, or None for no limit. A longer text
            is cut and ends in "…".
        keep: Unprintable characters that are not escaped, such as "\n".

    Returns:
        The escaped text.
    """
    cut = text if limit is None or len(text) <= limit else text[: limit - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(
        c.encode("unicode_escape").decode()
        if unicodedata.category(c) in UNPRINTABLE and c not in keep
        else c
        for c in cut
    )


def sentence(text: str) -> str:
    """Return `text` with a full stop at its end, unless it ends in a mark already."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def counted(number: int, noun: str) -> str:
    """Return a number and a noun, such as "1 pair" or "2 pairs"."""
    return f"{number} {noun}{'s' * (number != 1)}"


def file_name(student: str) -> str:
    """Return the file name, without its extension, of a student's result and feedback.

    A plain name is returned unchanged. A name gets a digest if it is too long, contains
    unprintable characters, or could differ from another name only by case or by Unicode
    composition. So two students never share a file, on any file system.

    Args:
        student: The name of the student's folder.

    Returns:
        The file name, at most `NAME_BYTES` bytes long.
    """
    folded = unicodedata.normalize("NFC", student).casefold()
    raw = os.fsencode(student) if _encodable(student) else student.encode("utf-8", "surrogatepass")
    plain = student == folded and printable(student) == student and not student.startswith(".")
    if plain and student and len(raw) <= NAME_BYTES and not set("/~") & set(student):
        return student
    ascii_part = "".join(c if c.isalnum() and c.isascii() else "-" for c in folded)[:40].strip("-")
    return f"{ascii_part or 'student'}~{hashlib.sha256(raw).hexdigest()[:DIGEST_DIGITS]}"


def _encodable(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def marked(text: str) -> str:
    """Return `text` as HTML: escaped, with each `name` between backticks as code."""
    pieces = html.escape(text).split("`")
    if len(pieces) % 2 == 0:  # an unpaired backtick
        return html.escape(text)
    return "".join(p if i % 2 == 0 else f"<code>{p}</code>" for i, p in enumerate(pieces))
