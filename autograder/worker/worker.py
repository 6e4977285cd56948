"""The untrusted side: runs a submission's cells and answers calls with plain arrays.

A worker knows no check, no answer and no assignment. The judge tells it, over a pipe, to run
cells, make objects and call them; it sends back arrays and JSON. Gradients cross as arrays too:
a *taped* call keeps its graph here until the judge sends what to push back through it.
"""

import ast
import contextlib
import functools
import io
import linecache
import os
import random
import signal
import sys
import traceback
import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from autograder.protocol.codec import Decoder, Encoder
from autograder.protocol.frames import PREFIX, Frame, FrameError, lengths, pack, unpack
from autograder.worker.devices import call_away
from autograder.worker.imports import guard

MESSAGE_LIMIT = 600
CELL = "<cell {}>"


class StandIn(nn.Module):
    """Known affine maps in the place of a part; see `submission.Affine`.

    The judge plugs these into a model to see how the model wires its parts together, whatever
    the parts themselves are worth.

    Args:
        outputs: For each output its weights, one (in_features, out_features) matrix or
            (in_features,) vector for each input, its bias, the shape of one row or None, and
            whether the rows are added up.
        squash: Whether a sigmoid follows.
        noise: Whether standard normal noise is added.
        names: The part's arguments, in order, for calls by name.
    """

    def __init__(
        self, outputs: Sequence[dict[str, Any]], squash: bool, noise: bool, names: Sequence[str]
    ):
        super().__init__()
        self.outputs, self.squash, self.noise = list(outputs), squash, noise
        self.names = list(names)
        self.inputs: list[torch.Tensor] = []
        # Gradients reach a stand-in, as they reach the parameters of what it stands for.
        self.biases = nn.ParameterList(torch.tensor(output["bias"]) for output in self.outputs)

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> Any:
        """Map (N, ...) inputs to one output, or to a tuple of several."""
        inputs += tuple(named.pop(name) for name in self.names[len(inputs) :] if name in named)
        if named:
            raise TypeError(f"unexpected keyword argument '{next(iter(named))}'")
        self.inputs.append(inputs[0].detach().clone())
        made = tuple(map(functools.partial(self._map, inputs), self.outputs, self.biases))
        return made if len(made) > 1 else made[0]

    def seen(self) -> torch.Tensor:
        """The first input of every call so far, row below row; no rows if there was no call."""
        return torch.cat(self.inputs) if self.inputs else torch.empty(0)

    def _map(self, inputs: Sequence[torch.Tensor], output: dict, bias: torch.Tensor) -> Any:
        pairs = zip(inputs, output["weights"], strict=True)
        out = torch.stack([x.flatten(1) @ w.to(x) for x, w in pairs]).sum(0) + bias
        out = out if output["shape"] is None else out.unflatten(1, output["shape"])
        out = out.sigmoid() if self.squash else out
        out = out.sum() if output["total"] else out
        return out + torch.randn_like(out) if self.noise else out


class Worker:
    """Holds a submission's names and objects, and does what it is asked, one request at a time.

    Args:
        namespace: The names that cells run in; a notebook's own when there is no second process.
    """

    def __init__(self, namespace: dict[str, Any] | None = None):
        fresh: dict[str, Any] = {"__name__": "__main__"}
        self.namespace = fresh if namespace is None else namespace
        self.objects: dict[int, Any] = {}
        self.tapes: dict[int, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
        self.count = 0

    def answer(self, request: Frame) -> Iterator[Frame]:
        """Yield the frames that answer one request; the last one carries `ok` or `error`."""
        body = request.body
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        torch.manual_seed(body.get("seed", 0))
        try:
            operation = getattr(self, "do_" + body["do"])
            decode = self._decoder(request.arrays)
            result = operation(**{key: decode(v) for key, v in body.get("with", {}).items()})
            if isinstance(result, types.GeneratorType):
                result = yield from result
            reply = result if isinstance(result, Frame) else encoded(result)
            yield Frame({"ok": reply.body}, reply.arrays)
        # Whatever a submission raises, SystemExit and KeyboardInterrupt included, is its answer.
        except BaseException as error:
            yield Frame({"error": describe(error)})

    # What the judge can ask for.

    def do_run(self, source: str, name: str, seconds: float | None = None) -> None:
        """Run one cell; `seconds` bounds a cell that nobody asked for."""
        filename = CELL.format(name)
        code = compile_cell(source, filename)
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
        with alarm(seconds):
            exec(code, self.namespace)

    def do_restrict(self, allowed: list[str] | None, forbidden: list[str]) -> None:
        """Hold the cells that follow to a rule on imports."""
        guard(self.namespace, allowed, forbidden)

    def do_object(self, name: str) -> dict[str, Any]:
        """Keep the object that a global name stands for."""
        return self.keep(self.find(name))

    def do_new(self, name: str, args: list, kwargs: dict, bare: bool) -> Any:
        """Make an instance; a `bare` one skips the class's own `__init__`."""
        cls = self.find(name)
        if not bare:
            return self.keep(cls(*args, **kwargs))
        instance = cls.__new__(cls)
        nn.Module.__init__(instance)
        return self.keep(instance)

    def do_get(self, ref: int, path: str) -> Any:
        """Read an attribute."""
        return self.reach(ref, path)

    def do_set(self, ref: int, path: str, value: Any) -> None:
        """Write an attribute."""
        setattr(self.objects[ref], path, value)

    def do_plug(
        self,
        ref: int,
        path: str,
        outputs: list,
        squash: bool,
        noise: bool,
        names: list[str],
    ) -> None:
        """Put a `StandIn` where a part is."""
        part = StandIn(outputs, squash, noise, names)
        model = self.objects[ref]
        # A part that was a plain method stays one, whatever nn.Module thinks of its name.
        model.__dict__.pop(path, None)
        with contextlib.suppress(AttributeError):
            delattr(model, path)
        object.__setattr__(model, path, part)
        # Under another name it is a submodule too: a model asks its parameters for their device.
        model.add_module(f"stand_in_{path}", part)

    def do_hold(self, value: Any, as_array: bool) -> dict[str, Any]:
        """Keep a value of the judge's, so that several calls get the very same object."""
        return self.keep(value.numpy() if as_array else value)

    def do_call(self, ref: int, path: str, args: list, kwargs: dict, tape: bool = False) -> Any:
        """Call an object or one of its methods; with `tape`, keep the graph for `do_backward`."""
        target = self.reach(ref, path)
        if not callable(target):
            raise TypeError(f"'{path or 'it'}' is {type(target).__name__}, not something to call")
        result = target(*args, **kwargs)
        if not tape:
            return result
        encode = Encoder()
        body = encode(result)
        self.count += 1
        self.tapes[self.count] = (self.leaves, encode.tensors)
        grads = [t.requires_grad for t in encode.tensors]
        return Frame({"tape": self.count, "value": body, "grads": grads}, encode.arrays)

    def do_given(self, ref: int, part: str, args: list) -> Any:
        """Call a module, and say what it gave to one of its parts; nothing in it is changed."""
        module, seen = self.objects[ref], list[Any]()
        hook = module.get_submodule(part).register_forward_pre_hook(
            lambda _, inputs: seen.append(inputs)
        )
        try:
            module(*args)
        finally:
            hook.remove()
        if not seen:
            raise RuntimeError(f"`self.{part}` is never called")
        return seen[-1]

    def do_call_away(self, ref: int, path: str, args: list) -> list[str]:
        """Call as if everything lay on another device; says which tensors did not follow."""
        return call_away(self.objects[ref], path, args)

    def do_backward(self, tape: int, grads: list) -> list:
        """Push gradients back through a taped call; returns those of its inputs."""
        inputs, outputs = self.tapes.pop(tape)
        pairs = [
            (out, grad)
            for out, grad in zip(outputs, grads, strict=True)
            if grad is not None and out.requires_grad
        ]
        for tensor in inputs:
            tensor.grad = None
        torch.autograd.backward([out for out, _ in pairs], [grad for _, grad in pairs])
        return [tensor.grad for tensor in inputs]

    def do_parameters(self, ref: int) -> dict[str, Any]:
        """List a module's trainable parameters, each once."""
        named = self.objects[ref].named_parameters()
        return {name: p.detach() for name, p in named if p.requires_grad}

    def do_epoch(
        self, step: str, names: list[str], data: list, order: Any, size: int
    ) -> Iterator[Frame]:
        """Train one epoch with the notebook's own step; stream what each step returns."""
        function = self.find(step)
        objects = [self.find(name) for name in names]
        for rows in order.split(size):
            result = encoded(function(*objects, *(column[rows] for column in data)))
            yield Frame({"item": result.body}, result.arrays)

    # Values on their way in and out.

    def keep(self, value: Any) -> dict[str, Any]:
        """Hold an object here and give the judge a number for it."""
        self.count += 1
        self.objects[self.count] = value
        return {"$ref": self.count, "type": type(value).__name__}

    def find(self, name: str) -> Any:
        """Look up a global."""
        if name not in self.namespace:
            raise NameError(f"name '{name}' is not defined")
        return self.namespace[name]

    def reach(self, ref: int, path: str) -> Any:
        """Follow a dotted path from a kept object."""
        value = self.objects[ref]
        for name in path.split(".") if path else ():
            value = getattr(value, name)
        return value

    def _decoder(self, arrays: Sequence[np.ndarray]) -> Decoder:
        """Read one request's values; tensors are fresh, references are the objects themselves."""
        self.leaves: list[torch.Tensor] = []

        def tensor(array: np.ndarray, grad: bool) -> torch.Tensor:
            made = torch.from_numpy(np.array(array))
            if not grad:
                return made
            self.leaves.append(made.requires_grad_())
            # A copy, so that in-place work on an input is as legal as on any activation.
            return made.clone()

        return Decoder(arrays, tensor, lambda number, _: self.objects[number], sequence=list)


def encoded(value: Any) -> Frame:
    """Turn any value into JSON and arrays."""
    encode = Encoder()
    return Frame(encode(value), encode.arrays)


def compile_cell(source: str, filename: str) -> types.CodeType:
    """Compile a notebook cell; lines of IPython magic become comments.

    Raises:
        SyntaxError: If what remains is not Python.
    """
    try:
        tree = ast.parse(source, filename)
    except SyntaxError:
        lines = ["pass" if _is_magic(line) else line for line in source.split("\n")]
        plain = "" if source.lstrip().startswith("%%") else "\n".join(lines)
        tree = ast.parse(plain, filename)
    return compile(tree, filename, "exec")


def _is_magic(line: str) -> bool:
    return line.lstrip()[:1] in ("%", "!", "?")


@contextlib.contextmanager
def alarm(seconds: float | None) -> Iterator[None]:
    """Raise TimeoutError in honest code that takes longer than `seconds`; None sets no alarm."""

    def ring(*_: Any) -> None:
        raise TimeoutError(f"this cell took longer than {seconds:g} seconds")

    if seconds is None:
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def describe(error: BaseException) -> dict[str, Any]:
    """Say what was raised, and on which line of which cell."""
    cell, line, text = None, None, None
    if isinstance(error, SyntaxError):
        cell, line, text = error.filename, error.lineno, (error.text or "").strip()
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith("<cell ") or frame.filename.startswith("<ipython"):
            cell, line, text = frame.filename, frame.lineno, frame.line
    with contextlib.suppress(Exception):
        message = str(error.msg if isinstance(error, SyntaxError) else error)
        return {
            "type": type(error).__name__,
            "message": message[:MESSAGE_LIMIT],
            "cell": (cell or "").removeprefix("<cell ").removesuffix(">") or None,
            "line": line,
            "text": (text or "")[:MESSAGE_LIMIT] or None,
        }
    return {"type": "Exception", "message": "", "cell": None, "line": None, "text": None}


def hide_autograder() -> None:
    """Leave cells an `autograder` of which only silent checks remain."""
    for name in [n for n in sys.modules if n == "autograder" or n.startswith("autograder.")]:
        del sys.modules[name]
    stub = types.ModuleType("autograder")
    stub.notebook_checks = lambda _: lambda _: 0.0  # type: ignore[attr-defined]
    sys.modules["autograder"] = stub


def serve(receive: io.RawIOBase, send: io.RawIOBase) -> None:
    """Answer requests until the judge closes the pipe."""
    worker = Worker()
    worker.namespace["display"] = lambda *_, **__: None
    _write(send, Frame({"ok": {"pid": os.getpid()}}))
    while (request := _read(receive)) is not None:
        reset(request)
        for frame in worker.answer(request):
            try:
                _write(send, frame)
            except FrameError as error:  # larger than any answer may be
                _write(send, Frame({"error": describe(error)}))
                break


def reset(request: Frame) -> None:
    """Undo what an earlier request has set for the whole process; seed every source of chance.

    Only in a process of its own: in a notebook, these are the student's to set.
    """
    seed = request.body.get("seed", 0)
    torch.set_default_device(None)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    torch.set_autocast_enabled("cpu", False)
    random.seed(seed)
    np.random.seed(seed)


def _read(stream: io.RawIOBase) -> Frame | None:
    prefix = _exactly(stream, PREFIX.size)
    if prefix is None:
        return None
    head, data = lengths(bytes(prefix))
    return unpack(bytes(_exactly(stream, head) or b""), _exactly(stream, data) or b"")


def _exactly(stream: io.RawIOBase, size: int) -> bytearray | None:
    buffer = bytearray(size)
    view, got = memoryview(buffer), 0
    while got < size:
        count = stream.readinto(view[got:])
        if not count:
            return None
        got += count
    return buffer


def _write(stream: io.RawIOBase, frame: Frame) -> None:
    for buffer in pack(frame):
        view = memoryview(buffer)
        while view:
            view = view[stream.write(view) or 0 :]


def main(receive: int, send: int) -> None:
    """Become a worker on two file descriptors."""
    torch.set_num_threads(1)
    hide_autograder()
    serve(os.fdopen(receive, "rb", buffering=0), os.fdopen(send, "wb", buffering=0))
