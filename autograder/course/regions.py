"""The regions of a solution cell: with the solution in place, or with what is left to do.

Between `### BEGIN SOLUTION` and `### END SOLUTION` a starter holds what is left to do: names that
the solution assigns become `name = ...`, anything else raises NotImplementedError.
"""

import ast
import re
import textwrap

from autograder.course.sources import Cell

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
REGION = re.compile(rf"^( *){BEGIN}\n(.*?)^ *{END}\n?", re.MULTILINE | re.DOTALL)
YOUR_ANSWER = "*Write your answer here.*"


def solved(cell: Cell) -> str:
    """A cell with its solution in place."""
    return REGION.sub(lambda match: match[2], cell.source).rstrip("\n")


def left_to_do(cell: Cell) -> str:
    """A cell as the student gets it."""
    if cell.role == "answer":
        return YOUR_ANSWER
    return REGION.sub(lambda m: _stub(m, cell.source), cell.source).rstrip("\n")


def _stub(match: re.Match[str], source: str) -> str:
    """Say what is to be done where a solution stood."""
    indent, code = match[1], textwrap.dedent(match[2])
    body = ast.parse(f"def wrapped():\n{textwrap.indent(code, '    ')}").body[0].body  # type: ignore[attr-defined]
    if all(isinstance(statement, ast.Assign) for statement in body):
        names = [ast.unparse(target) for statement in body for target in statement.targets]
        return "".join(f"{indent}{name} = ...\n" for name in dict.fromkeys(names))
    comments = re.findall(r"# TODO ([\w, ]+)", source[: match.start()])
    what = comments[-1].strip() if comments else "fill this in"
    return f'{indent}raise NotImplementedError("TODO: {what}")\n'
