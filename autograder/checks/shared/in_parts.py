"""Call a method of which several tasks test one part each; an exception stops its own part only.

An exception in the computation of one of several results would cost the points of all of them. So
the judge writes the method again, from the student's own text: a statement that raises an exception
is skipped, and so are those that need its result. What is still computed can be tested. A result
that is missing is replaced by the exception, which the check of this result raises.
"""

import ast
import contextlib
import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch

from autograder.protocol.remote import Raised, RemoteObject, Submission

NAME = "_in_parts"
# `_value_of` is called with each of the returned values alone.
HELPER = """
def _value_of(call):
    try:
        return call()
    except Exception:
        return None
"""


def call_in_parts(
    model: RemoteObject,
    class_name: str,
    method: str,
    x: torch.Tensor,
    known: Mapping[str, Any] | None = None,
) -> Any:
    """Call a method of a model; if it raises an exception, compute what it still can.

    In a student's notebook, and for work that has not been started, the exception is raised.

    Args:
        model: The model.
        class_name: The class that defines the method.
        method: The method. It returns several values.
        x: Its argument.
        known: Right values by the names of local variables, for statements that raise.

    Returns:
        What the method returns. In a tuple, a value that it cannot compute is the exception.

    Raises:
        Raised: If the method raises an exception and its text is not known, or if it can still
            compute all values, or none of them.
    """
    try:
        return model(x) if method == "forward" else getattr(model, method)(x)
    except Raised as error:
        if error.kind == "NotImplementedError" or not _define(model, class_name, method, error):
            raise
        model.submission.kept.setdefault(raised_key(class_name, method), error)
        try:
            got = getattr(model, NAME)(x, dict(known or {}), False)
        except Raised:
            raise error from None
        values = got if isinstance(got, tuple) else (got,)
        missing = sum(value is None for value in values)
        if missing == len(values) or not (missing or known):
            raise
        return tuple(error if value is None else value for value in values)


def call_with_known(
    model: RemoteObject,
    class_name: str,
    method: str,
    x: torch.Tensor,
    known: Mapping[str, Any],
) -> Any:
    """Call a method with right values in the place of what it computes for local variables.

    So an incorrect value costs the points of its own task only.

    Args:
        model: The model.
        class_name: The class that defines the method.
        method: The method.
        x: Its argument.
        known: The right values by the names of the variables.

    Raises:
        Raised: If a value that is returned cannot be computed, or the method's text is not known.
    """
    error = Raised({"type": "RuntimeError", "message": f"`{method}` computes no values"})
    if not _define(model, class_name, method, error):
        raise error
    got = getattr(model, NAME)(x, dict(known), True)
    if not isinstance(got, tuple) or any(value is None for value in got):
        raise error
    return got


def _define(model: RemoteObject, class_name: str, method: str, error: Raised) -> bool:
    """Give a class the method that skips, once; return whether it has it."""
    submission = model.submission
    key = kept_key(class_name, method)
    if key not in submission.kept:
        submission.kept[key] = None
        source = _written_in_parts(tuple(submission.sources.values()), class_name, method)
        if source is not None:
            with contextlib.suppress(Raised):  # a text that cannot be compiled again
                submission.run(source, "in_parts")
                submission.kept[key] = error
    return submission.kept[key] is not None


def names_before(
    submission: Submission, class_name: str, method: str, ends: Collection[str]
) -> tuple[str, ...]:
    """Return the names that a method assigns to before it assigns one of `ends`.

    Args:
        submission: The submission.
        class_name: The class that defines the method.
        method: The method.
        ends: Names of local variables.

    Returns:
        The other names; () if the method is not found, or assigns none of `ends`.
    """
    found = _found(tuple(submission.sources.values()), class_name, method)
    before: dict[str, None] = {}
    for statement in _statements(found.body if found is not None else ()):
        assigned = _assigned(statement)
        if set(ends) & set(assigned):
            return tuple(before)
        before.update(dict.fromkeys(assigned))
    return ()


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, and those of a `with` block in its place."""
    for statement in body:
        if isinstance(statement, ast.With):
            yield from _statements(statement.body)
        else:
            yield statement


def raised_key(class_name: str, method: str) -> str:
    """Return the key in `Submission.kept` of the exception that the method itself has raised."""
    return f"{class_name}.{method} raised"


def kept_key(class_name: str, method: str) -> str:
    """Return the key in `Submission.kept` that says whether a method can run in parts."""
    return f"{class_name}.{method} in parts"


def _written_in_parts(sources: Sequence[str], class_name: str, method: str) -> str | None:
    """Return a cell that gives a class the method that skips; None if it cannot be written.

    A student's text can be valid and yet too deep or too long for `ast`, `copy` and `unparse`.
    """
    try:
        return _rewritten(sources, class_name, method)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _rewritten(sources: Sequence[str], class_name: str, method: str) -> str | None:
    found = _found(sources, class_name, method)
    if found is None or len(found.args.args) != 2:
        return None
    made = copy.deepcopy(found)
    made.name, made.decorator_list, made.returns = NAME, [], None
    made.args.args += [ast.arg("_known"), ast.arg("_replace")]
    made.args.defaults = []
    made.body = _skipping(made.body)
    text = ast.unparse(ast.fix_missing_locations(made))
    return f"{HELPER}\n{text}\n{class_name}.{NAME} = {NAME}\n"


def _found(sources: Sequence[str], class_name: str, method: str) -> ast.FunctionDef | None:
    """Return the definition of a method; None if there is none."""
    found = None
    for source in sources:
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == class_name:
                own = [f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == method]
                found = own[-1] if own else None
    return found


def _skipping(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Return statements each of which is skipped if it raises an exception."""
    made: list[ast.stmt] = []
    for statement in body:
        if isinstance(statement, ast.With):
            statement.body = _skipping(statement.body)
            made.append(statement)
        elif isinstance(statement, ast.Return) and isinstance(statement.value, ast.Tuple):
            values = [ast.unparse(value) for value in statement.value.elts]
            parts = ", ".join(f"_value_of(lambda: ({value}))" for value in values)
            made += ast.parse(f"def _():\n    return ({parts},)").body[0].body  # type: ignore[attr-defined]
        else:
            assigned = _assigned(statement)
            known = [_from_known(name) for name in assigned]
            text = "\n".join(["try:", "    pass", "except Exception:", *(known or ["    pass"])])
            tried = ast.parse(text).body[0]
            assert isinstance(tried, ast.Try)
            tried.body = [statement]
            made += [tried, *ast.parse("\n".join(["if _replace:", *known]) if known else "").body]
    return made


def _from_known(name: str) -> str:
    """Return a statement that gives a variable its known value, if there is one."""
    return f"    if {name!r} in _known:\n        {name} = _known[{name!r}]"


def _assigned(statement: ast.stmt) -> list[str]:
    """Return the names that a statement assigns to."""
    names = (n for n in ast.walk(statement) if isinstance(n, ast.Name))
    return sorted({n.id for n in names if isinstance(n.ctx, ast.Store)})
