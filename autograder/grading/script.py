"""Write a recorded check as one Python script that needs PyTorch only."""

import base64
import textwrap
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from autograder.checks.vocabulary import Comparison
from autograder.grading import embedded
from autograder.grading.closure import Closure
from autograder.grading.notebook import ToRun
from autograder.grading.recording import Exchange, Recording, same, tensors_of
from autograder.records.text import printable
from autograder.worker.stubs import by_class

INLINE = 16  # longer arrays are written as base64 text
NUMBERS = 5
WIDTH = 96
WARNING = """\
WARNING: this script runs the student's code WITHOUT A SANDBOX. The code can do what you can do:
read and delete your files, and use the network. Read the cells below before you run it."""
FUNCTIONS = (
    embedded.run_cells,
    embedded.seed,
    embedded.array,
    embedded.bare,
    embedded.leaf,
    embedded.gradients,
    embedded.expect_error,
    embedded.show,
    embedded.compare,
)
# The requests that the script states as plain calls. `Worker` answers all others.
PLAIN = ("object", "new", "get", "hold", "call", "backward")
REPLACES = ("set", "set_stub")  # the requests that replace a part of a model


class NotWritable(Exception):  # noqa: N818 - a limit, not an error
    """The check cannot be written as a script; the message gives the reason."""


@dataclass(frozen=True)
class Call:
    """One request as Python source.

    Attributes:
        inputs: The new tensors that it needs, by name.
        code: The call.
        name: The name of what it returns; "" if it returns nothing of interest.
        seed: The seed of the random number generators.
        exchange: The request and its answer.
    """

    inputs: dict[str, np.ndarray]
    code: str
    name: str
    seed: int
    exchange: Exchange


@dataclass
class Calls:
    """Converts the requests of a recording to Python source, in order.

    Attributes:
        known: Arrays, the expressions that stand for them, and the number of the request, the
            oldest first.
        worker: The names of requests that the script's `Worker` must answer.
    """

    known: list[tuple[np.ndarray, str, int]] = field(default_factory=list)
    worker: set[str] = field(default_factory=set)
    _tapes: dict[int, int] = field(default_factory=dict)
    _objects: set[int] = field(default_factory=set)
    _new: dict[str, np.ndarray] = field(default_factory=dict)

    def of(self, exchanges: Sequence[Exchange]) -> Iterator[Call]:
        """Yield each request as a call.

        Raises:
            NotWritable: If one uses an object that another check has made.
        """
        for number, exchange in enumerate(exchanges, 1):
            self._new = {}
            body = exchange.request.body
            name = f"answer_{number}"
            code = self._code(body["do"], body["with"], exchange, number)
            answer = exchange.answer.body.get("ok") if exchange.answer else None
            arrays = exchange.answer.arrays if exchange.answer else ()
            match answer:
                case {"$dict": {"$ref": int(reference)}}:
                    name = f"object_{reference}"
                    self._objects.add(reference)
                case {"tape": int(tape), "value": value}:
                    self._tapes[tape] = number
                    self._learn(value, arrays, name, number)
                case _:
                    self._learn(answer, arrays, name, number)
            quiet = body["do"] in REPLACES
            yield Call(self._new, code, "" if quiet else name, body["seed"], exchange)

    def expression(self, array: np.ndarray, latest: int | None = None) -> str:
        """Return an expression for an array: a known name, or a new constant.

        Args:
            array: The array.
            latest: Only this request and earlier ones count; None for all.
        """
        for other, name, number in reversed(self.known):
            if (latest is None or number <= latest) and same(array, other):
                return name
        return literal(array)

    def _code(self, do: str, given: dict[str, Any], exchange: Exchange, number: int) -> str:
        arrays = exchange.request.arrays

        def value(body: Any) -> str:
            return self._value(body, arrays, number)

        if do not in PLAIN:
            self.worker.add(do)
            return f"worker.do_{do}({', '.join(f'{k}={value(v)}' for k, v in given.items())})"
        if do == "object":
            return f"student[{given['name']!r}]"
        if do == "new":
            made = f"student[{given['name']!r}]"
            return f"bare({made})" if given["bare"] else f"{made}({self._arguments(given, value)})"
        if do == "hold":
            return value(given["value"]) + (".numpy()" if given["as_array"] else "")
        if do == "backward":
            taped = self._tapes[given["tape"]]
            return f"gradients(answer_{taped}, leaves_{taped}, {value(given['grads'])})"
        target = self._object(given["ref"])
        for name in filter(None, given["path"].split(".")):
            target = f"{target}.{name}" if name.isidentifier() else f"getattr({target}, {name!r})"
        return f"{target}({self._arguments(given, value)})" if do == "call" else target

    def _arguments(self, given: dict[str, Any], value: Any) -> str:
        named = (f"{name}={value(item)}" for name, item in given["kwargs"]["$dict"].items())
        return ", ".join([*map(value, given["args"]), *named])

    def _object(self, reference: int) -> str:
        if reference not in self._objects:
            raise NotWritable("It uses a model that was trained or made by an earlier check.")
        return f"object_{reference}"

    def _value(self, body: Any, arrays: Sequence[np.ndarray], number: int) -> str:
        """Return the Python source of an encoded value; see `protocol.codec`."""
        match body:
            case list():
                return f"[{', '.join(self._value(item, arrays, number) for item in body)}]"
            case {"$array": int(index)}:
                name = self._tensor(arrays[index], number)
                return f"leaf({name}, leaves_{number})" if body.get("grad") else name
            case {"$float": str(text)}:
                return text if text.lstrip("-")[:1].isdigit() else f'float("{text}")'
            case {"$dict": dict(items)}:
                pairs = (f"{k!r}: {self._value(v, arrays, number)}" for k, v in items.items())
                return f"{{{', '.join(pairs)}}}"
            case {"$ref": int(reference)}:
                return self._object(reference)
        return repr(body)

    def _tensor(self, array: np.ndarray, number: int) -> str:
        expression = self.expression(array)
        if len(expression) <= WIDTH // 2:
            return expression
        name = f"input_{1 + sum(name.startswith('input_') for _, name, _ in self.known)}"
        self._new[name] = array
        self.known.append((array, name, number))
        return name

    def _learn(self, body: Any, arrays: Sequence[np.ndarray], expression: str, number: int) -> None:
        """Remember by which expression the script can reach each array of an answer."""
        match body:
            case list():
                for index, item in enumerate(body):
                    self._learn(item, arrays, f"{expression}[{index}]", number)
            case {"$dict": dict(items)}:
                for key, item in items.items():
                    self._learn(item, arrays, f"{expression}[{key!r}]", number)
            case {"$array": int(index)} if 0 <= index < len(arrays):
                if arrays[index].size > 1 or arrays[index].any():
                    self.known.append((arrays[index], expression, number))


def literal(array: np.ndarray) -> str:
    """Return the source of a tensor with these values, exact to the last bit."""
    dtype = f"torch.{array.dtype.name}"
    if same(array, np.zeros(array.shape, np.float32)):
        return f"torch.zeros({array.shape})"
    if array.size <= INLINE and np.isfinite(array).all():
        return f"torch.tensor({array.tolist()}, dtype={dtype})" + (
            "" if array.size else f".reshape({array.shape})"
        )
    first = array.flat[0]
    if np.isfinite(first) and same(array, np.full(array.shape, first)):
        return f"torch.full({array.shape}, {first.item()!r}, dtype={dtype})"
    text = base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 9)).decode()
    return f'array("{text}", {dtype}, {", ".join(map(str, array.shape))})'


class Computation:
    """Writes the judge's own arithmetic: how a tensor follows from the answers.

    Args:
        recording: The recording.
        calls: The calls, already converted.
    """

    def __init__(self, recording: Recording, calls: Calls):
        self.operations, self.calls = recording.operations, calls
        self.lines: list[str] = []
        self._names: dict[int, str] = {}
        self.from_answers = False

    def expression(self, tensor: torch.Tensor, before: int | None = None) -> str:
        """Return the name of a tensor; the lines that compute it are added to `lines`.

        Args:
            tensor: A tensor of the recording.
            before: Only operations before this one count.
        """
        array = tensor.detach().numpy()
        found = self.calls.expression(array, self._first_used(tensor))
        if array.size > 1 and "answer_" in found:
            self.from_answers = True
            return found
        for index in reversed(range(len(self.operations) if before is None else before)):
            operation = self.operations[index]
            changed = operation.args[:1] if operation.function._schema.is_mutable else ()
            if any(other is tensor for other in tensors_of((operation.result, changed))):
                if torch.Tag.nondeterministic_seeded in operation.function.tags:
                    break
                return self._of(index, tensor)
        self.from_answers |= "answer_" in found
        return found

    def _first_used(self, tensor: torch.Tensor) -> int | None:
        """Return how many requests were made before the first operation on a tensor."""
        uses = (o for o in self.operations if any(t is tensor for t in tensors_of(o.args)))
        return next((operation.after for operation in uses), None)

    def _of(self, index: int, tensor: torch.Tensor) -> str:
        operation = self.operations[index]
        if index not in self._names:
            args = [self._source(value, index) for value in operation.args]
            named = {k: self._source(v, index) for k, v in operation.kwargs.items()}
            name = operation.function.overloadpacket.__name__
            if name == "lift_fresh":  # it returns its argument
                return args[0]
            if name == "_to_copy" and list(named) == ["dtype"]:
                call = f"{args[0]}.to({named['dtype']})"
            else:
                given = ", ".join([*args, *(f"{k}={value}" for k, value in named.items())])
                call = f"{_function(operation.function)}({given})"
            self._names[index] = f"step_{len(self._names) + 1}"
            self.lines.append(f"{self._names[index]} = {call}")
        if isinstance(operation.result, list | tuple):
            place = next(i for i, other in enumerate(operation.result) if other is tensor)
            return f"{self._names[index]}[{place}]"
        return self._names[index]

    def _source(self, value: Any, before: int) -> str:
        if isinstance(value, torch.Tensor):
            return self.expression(value, before)
        if isinstance(value, list | tuple):
            return f"[{', '.join(self._source(item, before) for item in value)}]"
        if isinstance(value, torch.device):
            return f'torch.device("{value}")'
        return repr(value)


def _function(function: Any) -> str:
    """Return the name of an operation: `torch.exp` where there is one, else `torch.ops.aten.…`."""
    name = function.overloadpacket.__name__
    plain = not name.startswith("_") and hasattr(torch, name)
    return f"torch.{name}" if plain else f"torch.ops.{function}"


def write_script(
    about: Sequence[str],
    cells: Sequence[ToRun],
    packages: Sequence[str],
    calls: Calls,
    made: Sequence[Call],
    end: str,
) -> str:
    """Return the whole script.

    Args:
        about: Lines for its head: assignment, student, check, message.
        cells: The cells that the grader ran.
        packages: The packages that may be missing; stubs then replace them.
        calls: The converter that made `made`.
        made: The calls of the check.
        end: The source of the comparison; see `comparison` and `numbers`.
    """
    closure = Closure()
    for function in FUNCTIONS:
        closure.add(function)
    if calls.worker:
        closure.add_worker(calls.worker)
        closure.add(by_class)
    head = [f"# {printable(line)}".rstrip() for text in about for line in text.splitlines() or [""]]
    sources = "".join(f"    ({cell.name!r}, {_text(cell.source)}),\n" for cell in cells)
    parts = (
        "\n".join(head),
        "from __future__ import annotations",
        f"# The cells of the notebook, as they were graded.\n\nCELLS = [\n{sources}]",
        "# The functions that this script needs. They are copied from the grader.",
        closure.text(),
        "# What the grader called.",
        f"student = run_cells(CELLS, {list(packages)!r})"
        + ("\nworker = Worker()" if calls.worker else ""),
        *(_lines_of(call, bool(calls.worker)) for call in made),
        end,
    )
    return "\n\n".join(parts) + "\n"


def comparison(computation: Computation, compared: Comparison) -> str:
    """Return the source that compares the values of this run with the expected ones."""
    got = computation.expression(compared.got)
    graded, expected = (literal(v.detach().numpy()) for v in (compared.got, compared.expected))
    note = "# How the compared values follow from the answers."
    if not computation.from_answers:
        note = "# The compared values could not be traced to the answers: `got` is a constant."
    what = printable(compared.what)
    shown = f"compare({what!r}, got, expected, graded, tolerance={compared.tolerance!r})"
    lines = (note, *computation.lines, f"got = {got}", f"expected = {expected}")
    return "\n".join([*lines, f"graded = {graded}", shown])


def numbers(computation: Computation, recording: Recording) -> str:
    """Return the source that computes the last numbers that a check read from tensors."""
    shown = []
    for tensor, number in recording.numbers[-NUMBERS:]:
        expression = computation.expression(tensor)
        shown.append(
            f"print('computed here:', float({expression}.detach()), 'when graded:', {number!r})"
        )
    if not shown:
        return "# The check compared no numbers."
    return "\n".join(["# The last numbers that the check computed.", *computation.lines, *shown])


def _lines_of(call: Call, worker: bool) -> str:
    body = call.exchange.request.body
    number = call.name.removeprefix("answer_")
    lines = [f"{name} = {literal(array)}" for name, array in call.inputs.items()]
    lines.append(f"seed({call.seed})")
    if body["do"] == "call" and body["with"].get("tape"):
        lines.append(f"leaves_{number} = []")
    line = f"{call.name} = {call.code}" if call.name else call.code
    if worker and body["do"] == "call":  # calls through the class reach the stubs too
        line = f"with by_class(list(worker.objects.values())):\n    {line}"
    if call.exchange.error is not None:
        shown, raised = f"print({call.code!r})", textwrap.indent(line, "    ")
        return "\n".join([*lines, shown, f"with expect_error():\n{raised}"])
    lines.append(line)
    if worker and call.name.startswith("object_"):
        lines.append(f"worker.objects[{call.name.removeprefix('object_')}] = {call.name}")
    if call.name.startswith("answer_"):
        lines.append(f"show({call.name + ' = ' + call.code!r}, {call.name})")
    return "\n".join(lines)


def _text(source: str) -> str:
    """Return a literal of a cell's text; over several lines where that is exact."""
    lines = source.split("\n")
    if "'''" in source or not all(line.replace("\t", "").isprintable() for line in lines):
        return repr(source)
    escaped = source.replace("\\", "\\\\").replace("\t", "\\t")
    return f"'''\\\n{escaped}\n'''"
