"""Styles: rewrite a cell's code so that it computes the same in another form.

A style changes how code is organised, not what it computes: type hints, static methods, functions
outside the class, other names of local variables. Each style takes any code and leaves what it
cannot rewrite. So one style serves every way to write a part, in every assignment.
"""

import ast
import copy
import functools
import random
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Function = ast.FunctionDef


@dataclass
class Code:
    """The code of one solution cell.

    Attributes:
        tree: The cell.
        before: Sources of cells before it.
        after: Sources of cells after it.
        random: The source of the style's choices.
        contract: The reference's methods: the names of the arguments, by the method's name.
    """

    tree: ast.Module
    before: list[str]
    after: list[str]
    random: random.Random
    contract: dict[str, list[str]]

    def classes(self) -> list[ast.ClassDef]:
        """Return the classes of the cell."""
        return [node for node in self.tree.body if isinstance(node, ast.ClassDef)]

    def functions(self) -> Iterator[Function]:
        """Yield every function and method, also nested ones."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))


# Changes the code in place; returns False if there is nothing that it can rewrite.
Style = Callable[[Code], bool]


def _methods(found: ast.ClassDef) -> list[Function]:
    """Return the ordinary methods of a class: not decorated, and no `__init__` or `__call__`."""
    methods = [node for node in found.body if isinstance(node, Function)]
    return [node for node in methods if not node.name.startswith("__") and not node.decorator_list]


def _uses(node: ast.AST, *names: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id in names for n in ast.walk(node))


def _needs_no_self(method: Function) -> bool:
    body = ast.Module(method.body, [])
    return bool(method.args.args) and not _uses(body, "self", "super", "__class__")


def _replace(found: ast.ClassDef, old: ast.stmt, new: list[ast.stmt]) -> None:
    place = found.body.index(old)
    found.body[place : place + 1] = new or ([ast.Pass()] if len(found.body) == 1 else [])


def _statements(source: str) -> list[ast.stmt]:
    return ast.parse(source).body


def _source(*nodes: ast.stmt) -> str:
    return ast.unparse(ast.fix_missing_locations(ast.Module(list(nodes), []))) + "\n"


WHOLE_NUMBERS = ("n", "k", "dim", "c1", "c2", "lat", "size", "in_channels")


def type_hints(code: Code) -> bool:
    """Annotate the arguments."""
    found = False
    for function in code.functions():
        for argument in function.args.args:
            if argument.arg == "self" or argument.annotation:
                continue
            name = argument.arg
            whole = name in WHOLE_NUMBERS or name.startswith("num_") or name.endswith("_dim")
            hint = "int" if whole else "'torch.Tensor'"
            argument.annotation = ast.parse(hint, mode="eval").body
            found = True
        if function.name == "__init__":
            function.returns = ast.Constant(None)
    return found


def static_methods(code: Code) -> bool:
    """Make each method that does not use `self` a static method."""
    found = False
    for one in code.classes():
        for method in filter(_needs_no_self, _methods(one)):
            del method.args.args[0]
            method.decorator_list = [ast.Name("staticmethod", ast.Load())]
            found = True
    return found


def functions_outside(code: Code) -> bool:
    """Move the body of each method that does not use `self` into a function in another cell."""
    found = False
    for one in code.classes():
        for method in filter(_needs_no_self, _methods(one)):
            outside = copy.deepcopy(method)
            outside.name = f"{method.name}_of_{one.name.lower()}"
            del outside.args.args[0]
            code.before.append(_source(outside))
            names = ", ".join(argument.arg for argument in outside.args.args)
            method.body = _statements(f"return {outside.name}({names})")
            found = True
    return found


def attached_methods(code: Code) -> bool:
    """Define some methods after their class, and attach them to it."""
    found = False
    for one in code.classes():
        for method in _methods(one):
            if _uses(method, "super") or method.name == "forward" or code.random.random() < 0.5:
                continue
            _replace(one, method, [])
            outside = copy.deepcopy(method)
            outside.name = f"_{method.name}"
            attach = _statements(f"{one.name}.{method.name} = {outside.name}")
            place = code.tree.body.index(one) + 1
            code.tree.body[place:place] = [outside, *attach]
            found = True
    return found


def mixin(code: Code) -> bool:
    """Move methods into a base class in another cell."""
    found = False
    for one in code.classes():
        moved = [method for method in _methods(one) if not _uses(method, "super")]
        moved = [method for method in moved if code.random.random() < 0.6]
        if not moved or not one.bases:
            continue
        name = f"{one.name}Methods"
        code.before.append(f"class {name}:\n" + textwrap.indent(_source(*moved), "    "))
        for method in moved:
            _replace(one, method, [])
        one.bases.insert(0, ast.Name(name, ast.Load()))
        found = True
    return found


def old_super(code: Code) -> bool:
    """Write `super(Class, self)` with its arguments."""
    found = False
    for one in code.classes():
        for node in ast.walk(one):
            if isinstance(node, ast.Call) and ast.unparse(node) == "super()":
                node.args = [ast.Name(one.name, ast.Load()), ast.Name("self", ast.Load())]
                found = True
    return found


def parts_behind_properties(code: Code) -> bool:
    """Store the parts that `__init__` makes under other names, and give them by properties."""
    found = False
    for one in code.classes():
        made = [n for n in one.body if isinstance(n, Function) and n.name == "__init__"]
        for statement in made[0].body if made else ():
            name = _part(statement)
            if not name or _stored(one, name) != 1:
                continue
            for node in ast.walk(made[0]):
                if isinstance(node, ast.Attribute) and ast.unparse(node) == f"self.{name}":
                    node.attr = f"_{name}"
            one.body += _statements(f"@property\ndef {name}(self):\n    return self._{name}")
            found = True
    return found


def _part(statement: ast.stmt) -> str:
    """Return NAME of `self.NAME = <a call of nn or of a class>`, or ""."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return ""
    target, value = statement.targets[0], statement.value
    made = isinstance(value, ast.Call) and (_uses(value.func, "nn") or _class_call(value))
    if isinstance(target, ast.Attribute) and made and not target.attr.startswith("_"):
        return target.attr
    return ""


def _class_call(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id[:1].isupper()


def _stored(one: ast.ClassDef, name: str) -> int:
    """Return how often a class stores or deletes an attribute of this name."""
    attributes = (n for n in ast.walk(one) if isinstance(n, ast.Attribute) and n.attr == name)
    return sum(not isinstance(n.ctx, ast.Load) for n in attributes)


def named_arguments(code: Code) -> bool:
    """Call methods that the contract states with named arguments."""
    found = False
    for one in code.classes():
        methods = {method.name: method for method in _methods(one)}
        for call in [node for node in ast.walk(one) if isinstance(node, ast.Call)]:
            func = call.func
            if not isinstance(func, ast.Attribute) or not isinstance(func.value, ast.Name):
                continue
            method = methods.get(func.attr)
            plain = not call.keywords and not any(isinstance(a, ast.Starred) for a in call.args)
            if func.value.id != "self" or method is None or not call.args or not plain:
                continue
            names = [argument.arg for argument in method.args.args[1:]]
            if code.contract.get(func.attr) != names or len(names) < len(call.args):
                continue
            call.keywords = [ast.keyword(n, v) for n, v in zip(names, call.args, strict=False)]
            call.args = []
            found = True
    return found


def renamed_locals(code: Code) -> bool:
    """Give local variables other names."""
    found = False
    for function in code.tree.body + [m for one in code.classes() for m in one.body]:
        if isinstance(function, Function):
            found |= _rename(function, code.random.choice(("my_{}", "{}_", "the_{}", "{}_1")))
    return found


def _rename(function: Function, form: str) -> bool:
    inside = list(ast.walk(function))
    arguments = {node.arg for node in inside if isinstance(node, ast.arg)}
    fixed = {
        n for node in inside if isinstance(node, ast.Global | ast.Nonlocal) for n in node.names
    }
    fixed |= {node.name for node in inside if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    fixed |= {
        (alias.asname or alias.name).partition(".")[0]
        for node in inside
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    stored = {n.id for n in inside if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    renamed = stored - arguments - fixed - {"_"}
    if _uses(function, "locals"):
        return False
    for node in inside:
        if isinstance(node, ast.Name) and node.id in renamed:
            node.id = form.format(node.id)
    return bool(renamed)


def docstrings(code: Code) -> bool:
    """Replace the docstrings by other ones, or add some."""
    for node in ast.walk(code.tree):
        if isinstance(node, ast.ClassDef | Function):
            text = ast.Expr(
                ast.Constant(f"My {node.name}.\n\n    See the lecture's notes: 'μ, σ'.")
            )
            first = node.body[0]
            has = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            node.body[: int(has)] = [text]
    return True


COUNTED = '''
def counted(function):
    """Count the calls of a function."""
    def inner(*args, **kwargs):
        inner.calls += 1
        return function(*args, **kwargs)
    inner.calls = 0
    inner.__name__, inner.__doc__ = function.__name__, function.__doc__
    return inner
'''


def decorated(code: Code) -> bool:
    """Put a decorator of an earlier cell around functions and methods."""
    functions = [n for n in code.tree.body if isinstance(n, Function) and not n.decorator_list]
    functions += [m for one in code.classes() for m in _methods(one)]
    functions = [f for f in functions if not f.name.startswith("__")]
    for function in functions:
        function.decorator_list = [ast.Name("counted", ast.Load())]
    if functions:
        code.before.append(COUNTED)
    return bool(functions)


def prints(code: Code) -> bool:
    """Print in `__init__`, as one does to find an error."""
    found = False
    for one in code.classes():
        for method in one.body:
            if isinstance(method, Function) and method.name == "__init__":
                method.body += _statements("print('made a', type(self).__name__)")
                found = True
    return found


BEFORE = (
    "DEBUG = False\nTWO_PI = 6.283185307179586\n",
    "def show(*tensors):\n    for one in tensors:\n        print(tuple(one.shape), one.dtype)\n\n\n"
    "show(torch.zeros(2, 3))\n",
    "torch.manual_seed(42)\nscratch = torch.randn(4, 5)\nprint(scratch.mean().item())\n",
    "a = torch.ones(3)\nb = a.exp().log()\nassert torch.allclose(a, b)\na, b\n",
)
AFTER = (
    "print('the cell above runs')\n",
    "check_me = torch.rand(2, 3)\nprint(check_me.shape, check_me.dtype)\n",
    "# Things that I tried before:\n# z = mu + logvar * eps   (wrong)\n",
    "history = {'loss': [], 'epoch': []}\n",
)


def own_cells(code: Code) -> bool:
    """Add cells of the student's own before and after the cell."""
    code.before.append(code.random.choice(BEFORE))
    code.after.append(code.random.choice(AFTER))
    return True


STYLES: dict[str, Style] = {
    style.__name__: style
    for style in (
        functions_outside,
        static_methods,
        attached_methods,
        mixin,
        parts_behind_properties,
        named_arguments,
        old_super,
        renamed_locals,
        type_hints,
        docstrings,
        decorated,
        prints,
        own_cells,
    )
}


def restyled(
    source: str, names: list[str], seed: str, reference: str
) -> tuple[str, list[str], list[str], list[str]]:
    """Apply styles to a cell's source.

    Args:
        source: The cell.
        names: The styles, in any order.
        seed: Decides the choices that a style has.
        reference: The reference's source of this cell.

    Returns:
        The tuple (source, before, after, applied): the new source, sources of cells before and
        after it, and the styles that had something to rewrite.
    """
    code = Code(ast.parse(source), [], [], random.Random(seed), _contract(reference))
    applied = [name for name in STYLES if name in names and STYLES[name](code)]
    if not set(applied) - {"own_cells"}:
        return source, code.before, code.after, applied
    return _source(*code.tree.body), code.before, code.after, applied


@functools.cache
def _contract(reference: str) -> dict[str, list[str]]:
    functions = (node for node in ast.walk(ast.parse(reference)) if isinstance(node, Function))
    return {f.name: [argument.arg for argument in f.args.args[1:]] for f in functions}
