"""The operators of mutation testing: which small changes a piece of code allows.

Each operator is a generator of changes of one syntax node. A change names its operator, the node
whose text is replaced, and the new text.
"""

import ast
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Change(NamedTuple):
    """One change.

    Attributes:
        operator: The operator's name.
        node: The node whose text is replaced.
        new: The new text.
        says: The change in words; "" to show the old and the new text.
    """

    operator: str
    node: ast.AST
    new: str
    says: str = ""


Parents = Sequence[ast.AST]

# Names of modules: `torch.exp(x)` is a function of x, `x.exp()` a method of it.
MODULES = {"torch", "F", "nn", "math", "np", "transforms", "stats"}
SWAPPED = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Pow: "*"}
SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
COMPARED = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Is: "is not",
    ast.IsNot: "is",
}
REDUCTIONS = {
    "sum": "mean",
    "mean": "sum",
    "max": "min",
    "min": "max",
    "argmin": "argmax",
    "argmax": "argmin",
}
REDUCED = {"sum": ("mean", "none"), "mean": ("sum", "none"), "none": ("sum", "mean")}
LAYERS = {
    "ReLU": ("Identity",),
    "LeakyReLU": ("Identity",),
    "Sigmoid": ("Identity", "Tanh", "ReLU"),
    "Tanh": ("Identity", "Sigmoid"),
}
FUNCTIONS = {
    "relu": ("sigmoid",),
    "sigmoid": ("tanh", "relu"),
    "exp": ("square",),
    "log": ("sqrt",),
    "sqrt": ("square",),
    "randn_like": ("rand_like", "zeros_like", "ones_like"),
    "randn": ("rand", "zeros"),
    "zeros_like": ("ones_like",),
    "zeros": ("ones",),
}
# Calls whose integer arguments are axes.
OF_AXES = {"flatten", "sum", "mean", "cat", "stack", "argmin", "unsqueeze", "permute", "unflatten"}
# Calls of numbers and shapes: their arguments have no gradients.
WITHOUT_GRADIENTS = {"len", "range", "zip", "int", "float"}


def changes(node: ast.AST, parents: Parents) -> Iterator[Change]:
    """Yield every change of one node."""
    match node:
        case ast.BinOp():
            yield from _arithmetic(node)
        case ast.UnaryOp(op=ast.USub()):
            yield Change("arithmetic", node, _code(node.operand))
        case ast.UnaryOp(op=ast.Not()):
            yield Change("condition", node, _code(node.operand))
        case ast.Constant():
            yield from _constants(node, parents[-1])
        case ast.Call():
            yield from _arguments(node)
            yield from _replaced_calls(node)
            yield from _dropped_calls(node, parents[-1])
        case ast.Compare():
            yield from _comparisons(node)
        case ast.If() | ast.IfExp() | ast.While():
            for new in (f"not ({_code(node.test)})", "True", "False"):
                yield Change("condition", node.test, new)
        case ast.Return(value=ast.Tuple()):
            yield from _returns(node.value)  # type: ignore[arg-type]
        case ast.With():
            context = node.items[0].context_expr
            if "grad" in _code(context) or "inference" in _code(context):
                yield Change("detach", context, "torch.enable_grad()")
        case ast.Name():
            yield from _names(node, parents)
    if isinstance(node, ast.stmt):
        yield from _statements(node)
    if isinstance(node, ast.Name | ast.Call | ast.BinOp):
        yield from _detached(node, parents)


def _code(node: ast.AST) -> str:
    return ast.unparse(node)


def _called(node: ast.AST) -> str:
    """Return the name of the called function or method; "" for other nodes."""
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _arithmetic(node: ast.BinOp) -> Iterator[Change]:
    left, right = (
        f"({_code(side)})" if isinstance(side, ast.BinOp) else _code(side)
        for side in (node.left, node.right)
    )
    other, sign = SWAPPED.get(type(node.op)), SIGNS.get(type(node.op))
    if other:
        yield Change("arithmetic", node, f"({left} {other} {right})")
    if sign:
        yield Change("dropped term", node, f"({left})")
        yield Change("dropped term", node, f"(-{right})" if sign == "-" else f"({right})")
    if sign in ("-", "/"):
        yield Change("argument order", node, f"({right} {sign} {left})")


def _constants(node: ast.Constant, parent: ast.AST) -> Iterator[Change]:
    value = node.value
    keyword = parent.arg if isinstance(parent, ast.keyword) else ""
    is_axis = keyword == "dim" or _called(parent) in OF_AXES
    new: list[int | float] = []
    if isinstance(value, bool):
        yield Change("constant", node, str(not value))
    elif isinstance(value, int):
        new = [value + 1, value - 1] if is_axis else [value + 1]
    elif isinstance(value, float):
        new = [value * 2, -value] if value else [0.5]
    elif keyword == "reduction":
        for other in REDUCED.get(str(value), ()):
            yield Change("reduction", node, repr(other))
    for number in new:
        text = f"({number})" if number < 0 else str(number)
        yield Change("dim" if is_axis else "constant", node, text)


def _comparisons(node: ast.Compare) -> Iterator[Change]:
    sign = COMPARED.get(type(node.ops[0])) if len(node.ops) == 1 else None
    if sign:
        yield Change("comparison", node, f"{_code(node.left)} {sign} {_code(node.comparators[0])}")


def _returns(node: ast.Tuple) -> Iterator[Change]:
    parts = [_code(part) for part in node.elts]
    for i in range(len(parts) - 1):
        yield Change("returns", node, ", ".join(_swapped(parts, i)))
    for i in range(len(parts)):
        yield Change("returns", node, f"({', '.join(_without(parts, i))},)")


def _swapped(parts: Sequence[str], i: int) -> list[str]:
    return [*parts[:i], parts[i + 1], parts[i], *parts[i + 2 :]]


def _without(parts: Sequence[str], i: int) -> list[str]:
    return [*parts[:i], *parts[i + 1 :]]


def _arguments(node: ast.Call) -> Iterator[Change]:
    name, function = _called(node), _code(node.func)
    arguments, keywords = [_code(a) for a in node.args], [_code(k) for k in node.keywords]

    def call(args: Sequence[str], named: Sequence[str] = keywords) -> str:
        return f"{function}({', '.join([*args, *named])})"

    for i in range(len(keywords)):
        says = f"{name}(…) without {keywords[i]}"
        yield Change("dropped keyword", node, call(arguments, _without(keywords, i)), says)
    if name in ("Sequential", "ModuleList"):
        for i in range(len(arguments)):
            says = f"without entry {i}: {arguments[i]}"
            yield Change("layer", node, call(_without(arguments, i)), says)
    elif not name[:1].isupper():  # a layer without one of its sizes cannot be made
        for i in range(len(arguments) - 1):
            yield Change("argument order", node, call(_swapped(arguments, i)))
        if len(arguments) > 1 or name in (*REDUCTIONS, "flatten"):
            for i in range(len(arguments)):
                says = f"{name}(…) without {arguments[i]}"
                yield Change("dropped argument", node, call(_without(arguments, i)), says)


def _replaced_calls(node: ast.Call) -> Iterator[Change]:
    name, function = _called(node), _code(node.func)
    prefix = function[: len(function) - len(name)]
    given = ", ".join(map(_code, [*node.args, *node.keywords]))
    if name in REDUCTIONS:
        yield Change("reduction", node, f"{prefix}{REDUCTIONS[name]}({given})")
    for other in FUNCTIONS.get(name, ()):
        yield Change("activation", node, f"{prefix}{other}({given})")
    for other in LAYERS.get(name, ()):
        yield Change("activation", node, f"{prefix}{other}()")


def _dropped_calls(node: ast.Call, parent: ast.AST) -> Iterator[Change]:
    """Replace `f(x)` and `x.f()` by `x`."""
    if not isinstance(node.func, ast.Attribute) or isinstance(parent, ast.Expr):
        return
    root: ast.AST = node.func.value
    while isinstance(root, ast.Attribute):
        root = root.value
    name = root.id if isinstance(root, ast.Name) else ""
    if name not in (*MODULES, "self"):
        yield Change("dropped call", node, _code(node.func.value))
    elif node.args and (name in ("torch", "F") or (name == "self" and len(node.args) == 1)):
        yield Change("dropped call", node, _code(node.args[0]))


def _statements(node: ast.stmt) -> Iterator[Change]:
    droppable = ast.Expr | ast.AugAssign | ast.Assign | ast.Return | ast.If | ast.For | ast.With
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    if isinstance(node, droppable) and not text:
        yield Change("statement", node, "pass")
    if isinstance(node, ast.AugAssign):
        yield Change("statement", node, f"{_code(node.target)} = {_code(node.value)}")


def _function(parents: Parents) -> ast.FunctionDef | None:
    functions = [p for p in parents if isinstance(p, ast.FunctionDef)]
    return functions[-1] if functions else None


def _detached(node: ast.Name | ast.Call | ast.BinOp, parents: Parents) -> Iterator[Change]:
    """Remove `.detach()`, or add it where a tensor is passed on, stored or returned."""
    if isinstance(node, ast.Call) and _called(node) == "detach":
        yield Change("detach", node, _code(node.func.value))  # type: ignore[attr-defined]
        return
    function, parent = _function(parents), parents[-1]
    named = node.id if isinstance(node, ast.Name) else ""
    if function is None or function.name == "__init__":
        return
    if named in (*MODULES, "self") or named[:1].isupper():
        return
    passed = isinstance(parent, ast.Call) and node in parent.args
    # A stored name is detached where it is used.
    stored = isinstance(parent, ast.Assign | ast.Return) and parent.value is node and not named
    part = isinstance(parent, ast.Tuple | ast.List) and isinstance(parent.ctx, ast.Load)
    if (passed or stored or part) and _called(parent) not in WITHOUT_GRADIENTS:
        yield Change("detach", node, f"({_code(node)}).detach()")


def _names(node: ast.Name, parents: Parents) -> Iterator[Change]:
    """Replace an argument of the function by its next argument."""
    function = _function(parents)
    if not function or not isinstance(node.ctx, ast.Load) or isinstance(parents[-1], ast.Attribute):
        return
    names = [a.arg for a in function.args.args if a.arg != "self"]
    if node.id in names and len(names) > 1:
        yield Change("name", node, names[(names.index(node.id) + 1) % len(names)])
