"""The solution regions of a cell, and the placeholders that a starter has instead.

A region is between `### BEGIN SOLUTION` and `### END SOLUTION`. If it only assigns names, the
starter contains `name = ...` for each name. Otherwise it raises NotImplementedError.
"""

import ast
import re
import textwrap

from autograder.course.sources import Cell

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
REGION = re.compile(rf"^( *){BEGIN}\n(.*?)^ *{END}\n?", re.MULTILINE | re.DOTALL)
YOUR_ANSWER = "*Write your answer here.*"


def solved(cell: Cell) -> str:
    """Return a cell's text with its solutions and without their markers."""
    return REGION.sub(lambda match: match[2], cell.source).rstrip("\n")


def without_solution(cell: Cell) -> str:
    """Return a cell's text as in the starter: with a placeholder for each solution."""
    if cell.role == "answer":
        return YOUR_ANSWER
    return REGION.sub(lambda m: _placeholder(m, cell.source), cell.source).rstrip("\n")


def _placeholder(match: re.Match[str], source: str) -> str:
    """Return the placeholder for a solution region."""
    indent, code = match[1], textwrap.dedent(match[2])
    body = ast.parse(f"def wrapped():\n{textwrap.indent(code, '    ')}").body[0].body  # type: ignore[attr-defined]
    if all(isinstance(statement, ast.Assign) for statement in body):
        names = [ast.unparse(target) for statement in body for target in statement.targets]
        return "".join(f"{indent}{name} = ...\n" for name in dict.fromkeys(names))
    comments = re.findall(r"# TODO ([\w, ]+)", source[: match.start()])
    what = comments[-1].strip() if comments else "fill this in"
    return f'{indent}raise NotImplementedError("TODO: {what}")\n'
