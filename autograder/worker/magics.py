"""Translates a notebook cell with lines for IPython or for a shell into plain Python.

Some commands of IPython, such as `%%time`, run Python code in the notebook. This code is kept. All
other commands are left out.
"""

import ast
import re

# Cell magics whose body runs in the notebook. All others, such as `%%bash`, do something else with
# it.
RUNS_BODY = ("time", "timeit", "capture", "prun", "debug", "memit", "pyinstrument", "wandb")
# Line magics that run one statement in the notebook.
RUNS_LINE = ("time", "prun", "memit", "debug")
CELL_MAGIC = re.compile(r"\s*%%(\w*)[^\n]*\n?")
ASSIGNED = re.compile(r"(\s*[A-Za-z_][\w.]*\s*=\s*)([%!])(.*)$")
# Each one needs one more call of the parser.
MAX_SINGLE = 40


def parse_cell(source: str, filename: str) -> ast.Module:
    """Parse a notebook cell; commands of IPython and of a shell are translated or left out.

    The line numbers stay those of the cell.

    Raises:
        SyntaxError: If the rest is not valid Python.
    """
    if skipped_magic(source):
        return ast.parse("", filename)
    lines = _without_cell_magics(source).split("\n")
    for _ in range(MAX_SINGLE):
        try:
            return ast.parse("\n".join(lines), filename)
        except SyntaxError as error:
            number = (error.lineno or 0) - 1
            # Only lines that are not Python: a line of an expression may begin with `%` too.
            if not (0 <= number < len(lines) and _is_command(lines[number])):
                break
            _translate(lines, number)
    for number, line in enumerate(lines):
        if _is_command(line):
            _translate(lines, number)
    return ast.parse("\n".join(lines), filename)


def skipped_magic(source: str) -> str:
    """Return the cell magic, as "%%bash", whose body does not run in the notebook; "" for none."""
    for name in _cell_magics(source):
        if name not in RUNS_BODY:
            return f"%%{name}"
    return ""


def _cell_magics(source: str) -> list[str]:
    """Return the names of the cell magics at the beginning of a cell."""
    names, place = [], 0
    while found := CELL_MAGIC.match(source, place):
        names.append(found[1])
        place = found.end()
    return names


def _without_cell_magics(source: str) -> str:
    """Replace the cell magics at the beginning of a cell by empty lines."""
    place = 0
    while found := CELL_MAGIC.match(source, place):
        place = found.end()
    return "\n" * source.count("\n", 0, place) + source[place:]


def _is_command(line: str) -> bool:
    """Return whether a line can be for IPython or a shell: it begins so, or asks for help."""
    text = line.strip()
    asks = text.endswith("?") and not text.startswith("#")
    return asks or text[:1] in ("%", "!", "?") or bool(ASSIGNED.match(line))


def _translate(lines: list[str], number: int) -> None:
    """Replace a command by Python; the lines that a backslash joins to it become empty."""
    line = lines[number]
    lines[number] = _as_python(line)
    while line.endswith("\\") and number + 1 < len(lines):
        number += 1
        line = lines[number]
        lines[number] = ""


def _as_python(line: str) -> str:
    """Return the Python of a command; `pass` if it runs none in the notebook."""
    indent = line[: len(line) - len(line.lstrip())]
    if found := ASSIGNED.match(line):
        target, sign, rest = found.groups()
        statement = _statement(rest) if sign == "%" else ""
        # The output of a shell is a list of lines.
        return target + (statement or ("[]" if sign == "!" else "None"))
    text = line.strip()
    return indent + ((_statement(text[1:]) if text.startswith("%") else "") or "pass")


def _statement(command: str) -> str:
    """Return the statement that a line magic runs in the notebook; "" for none."""
    name, _, statement = command.strip().partition(" ")
    if name not in RUNS_LINE:
        return ""
    try:
        ast.parse(statement.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    return statement.strip()
