"""Finds what a student added to a given cell, such as an import."""

import ast

from autograder.worker.magics import parse_cell

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def added(source: str, given: str) -> str:
    """Return the statements of a changed given cell that the given cell does not contain.

    A statement that gives another value to a name of the given cell is left out: the course's own
    value is used. Imports are kept.

    Args:
        source: The student's text.
        given: The course's text.

    Raises:
        SyntaxError: If the student's text is not valid Python.
    """
    theirs = ast.parse(given).body
    known = {ast.dump(statement) for statement in theirs}
    names = set().union(*(_bound(statement) for statement in theirs))
    kept = [
        statement
        for statement in parse_cell(source, "<given>").body
        if ast.dump(statement) not in known
        and (isinstance(statement, ast.Import | ast.ImportFrom) or not _bound(statement) & names)
    ]
    return ast.unparse(ast.Module(kept, []))


def _bound(statement: ast.stmt) -> set[str]:
    """Return the names that a statement defines."""
    if isinstance(statement, Definition):
        return {statement.name}
    found = {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    if isinstance(statement, ast.Import | ast.ImportFrom):
        found |= {name.asname or name.name.partition(".")[0] for name in statement.names}
    return found
