"""Python files that a student uses beside the notebook: each becomes a cell that defines it."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from autograder.grading.files import open_regular

MAX_HELPERS = 20
WRITEFILE = re.compile(r"\s*%%(?:writefile|file)[ \t]+(?:\./)?([A-Za-z_]\w*)\.py[ \t]*\n")
# Both alternatives take a time that is linear in the length of the text.
STATEMENT = re.compile(
    r"\bfrom[ \t]+([A-Za-z_]\w*)(?:\.[\w.]*)?[ \t]+import\b[^\n\"]*"
    r"|\bimport[ \t]+([\w.][\w., \t]*)"
)
WORD = re.compile(r"[\w.]+")
DEFINE = """\
import sys, types
def _define(name, text):
    module = types.ModuleType(name)
    exec(compile(text, name + ".py", "exec"), module.__dict__)
    sys.modules[name] = module
_define({name!r}, {text!r})
del _define
"""


def read_helpers(
    path: Path, raw: bytes, most: int, given: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Read the Python files that a notebook imports: the course's, and those beside it.

    Args:
        path: The notebook.
        raw: Its bytes.
        most: Files with more characters than this are left out.
        given: The texts of the course's files, by the names of their modules. A file beside the
            notebook does not replace one of them.

    Returns:
        The text of each file, by the name of its module. A file that another one imports comes
        first.
    """
    found = dict(given)
    for file in sorted(path.parent.glob("*.py"))[: 5 * MAX_HELPERS]:
        possible = file.stem.isidentifier() and file.stem not in given
        if possible and (text := _read(file, most)) is not None:
            found[file.stem] = text
    used = used_modules(raw.decode("utf-8", "ignore"), found)
    return {name: found[name] for name in used[:MAX_HELPERS]}


def _read(file: Path, most: int) -> str | None:
    """Return a regular file's text; None if it is a link, too long, or not UTF-8."""
    try:
        with open_regular(file) as opened:
            # A character has at most four bytes: a text that is cut here is too long.
            text = opened.read(4 * most + 4).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    return text if len(text) <= most else None


def used_modules(text: str, files: Mapping[str, str]) -> list[str]:
    """Return the modules that a text imports, and those that they import, the innermost first.

    Args:
        text: The text of a notebook's file.
        files: The texts of the modules, by their names.
    """
    found: list[str] = []
    waiting, seen = [(name, False) for name in _imported(text, files)], set()
    while waiting:
        name, expanded = waiting.pop()
        if expanded:
            found.append(name)
        elif name not in seen:
            seen.add(name)
            waiting.append((name, True))
            waiting += [(inner, False) for inner in _imported(files[name], files)]
    return found


def _imported(text: str, names: Iterable[str]) -> list[str]:
    """Return the names that an import statement in a text may mean; prose may contain them too.

    The text is read once, whatever the number of names: it can be long.
    """
    # In a notebook's file, the end of a line is written as a backslash and an n.
    lines = text.replace("\\n", "\n")
    found = set[str]()
    for module, modules in STATEMENT.findall(lines):
        found.update(part.split(".")[0] for part in WORD.findall(module or modules))
    return [name for name in names if name in found]


def defining(name: str, text: str) -> str:
    """Return the text of a cell that defines a module, for a script."""
    return DEFINE.format(name=name, text=text)


def written_file(source: str) -> tuple[str, str] | None:
    """Return the module and its text of a cell that begins with `%%writefile name.py`, or None."""
    found = WRITEFILE.match(source)
    return (found[1], source[found.end() :]) if found else None


def digest_of(raw: bytes, helpers: Mapping[str, str]) -> str:
    """Return a digest of a notebook's bytes and of the files that it uses."""
    digest = hashlib.sha256(raw)
    for name, text in helpers.items():
        digest.update(f"\0{name}.py\0{text}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
