"""The worker: runs a submission's cells and answers the judge's requests with arrays and JSON.

A worker has no checks, no reference values and no assignment. Over a pipe, the judge asks it to
run cells, create objects and call them. Gradients are sent as arrays too: after a call with `tape`,
the worker keeps the autograd graph until the judge sends the gradients of the outputs.
"""

import ast
import contextlib
import io
import linecache
import os
import random
import signal
import sys
import traceback
import types
from collections.abc import Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from autograder.protocol.codec import Decoder, Encoder
from autograder.protocol.frames import PREFIX, Frame, FrameError, lengths, pack, unpack
from autograder.protocol.fused import fuse
from autograder.worker.additions import added
from autograder.worker.devices import call_on_meta_device, chooses_device
from autograder.worker.imports import guard
from autograder.worker.magics import parse_cell
from autograder.worker.missing import about_gpu, leave_out, use_no_gpu
from autograder.worker.placeholders import use_placeholders
from autograder.worker.stubs import by_class, override, set_stub
from autograder.worker.updates import updates_of

MESSAGE_LIMIT = 600
CELL = "<cell {}>"


def seed_generators(seed: int) -> None:
    """Seed PyTorch's generators, as `torch.manual_seed` does.

    For each kind of accelerator that is not in use, `torch.manual_seed` formats the whole stack,
    which takes longer than most requests.
    """
    if torch.cuda.is_initialized() or torch.backends.mps.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


class Worker:
    """Holds a submission's names and objects, and answers one request at a time.

    Args:
        namespace: The namespace in which cells run; a live notebook's own if there is no second
            process.
    """

    def __init__(self, namespace: dict[str, Any] | None = None):
        empty: dict[str, Any] = {"__name__": "__main__"}
        self.namespace = empty if namespace is None else namespace
        self.sources: list[str] = []
        self.objects: dict[int, Any] = {}
        self.tapes: dict[int, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
        self.count = 0
        self.seeds: set[int] = set()

    def answer(self, request: Frame) -> Iterator[Frame]:
        """Yield the frames that answer one request; the last one has `ok` or `error`."""
        body = request.body
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        seed_generators(body.get("seed", 0))
        try:
            operation = getattr(self, "do_" + body["do"])
            decode = self._decoder(request.arrays)
            result = operation(**{key: decode(v) for key, v in body.get("with", {}).items()})
            if isinstance(result, types.GeneratorType):
                result = yield from result
            reply = result if isinstance(result, Frame) else encoded(result)
            seen = {"seeded": self.seeded(body.get("seed", 0)), "changed": self.changed()}
            told = {key: True for key, value in seen.items() if value}
            yield Frame({"ok": reply.body} | told, reply.arrays)
        # Every exception of a submission is an answer, including SystemExit and KeyboardInterrupt.
        except BaseException as error:
            yield Frame({"error": describe(error)})

    # The requests.

    def do_run(
        self,
        source: str,
        name: str,
        seconds: float | None = None,
        given: str | None = None,
        module: str = "",
    ) -> None:
        """Run one cell.

        Args:
            source: The text of the cell.
            name: Its name.
            seconds: The limit of the student's cells, in CPU seconds.
            given: The text of a given cell, of which only the student's additions are run.
            module: The name of the module that the text defines; "" for a cell.
        """
        filename = CELL.format(name)
        if given is not None:
            source = added(source, given)
        self.sources.append(source)
        code = compile_cell(source, filename)
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
        with alarm(seconds):
            if not module:
                exec(code, self.namespace)
                return
            made = types.ModuleType(module)
            rule = self.namespace.get("__builtins__", __builtins__)  # an import rule holds here too
            vars(made)["__builtins__"] = rule
            exec(code, vars(made))
            sys.modules[module] = made

    def do_restrict(self, allowed: list[str] | None, forbidden: list[str]) -> None:
        """Apply an import rule to the cells that follow; see `imports.guard`."""
        guard(self.namespace, allowed, forbidden)

    def do_place(self, name: str, raw: torch.Tensor) -> None:
        """Write a file into the current folder."""
        Path(name).write_bytes(raw.numpy().tobytes())

    def do_leave_out(self, package: str) -> None:
        """Let a package be imported that is not installed; see `missing.leave_out`."""
        leave_out(package)

    def do_object(self, name: str) -> dict[str, Any]:
        """Keep the object with a global name; return its reference."""
        return self.keep(self.find(name))

    def do_length(self, name: str) -> int | None:
        """Return the length of the object with a global name; None if it has no length."""
        value = self.namespace.get(name)
        return len(value) if isinstance(value, Sized) else None

    def do_fuse(self, name: str) -> None:
        """Let an optimizer take the fused form of its steps; see `fuse`."""
        fuse(self.find(name))

    def do_updates(self, name: str) -> int:
        """Return how often an optimizer has updated a model, in a live notebook."""
        return updates_of(self.find(name))

    def do_new(self, name: str, args: list, kwargs: dict, bare: bool) -> Any:
        """Create an instance; with `bare`, call `nn.Module.__init__` instead of its own."""
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
        """Make an attribute return a value, even if it is a property or a method."""
        override(self.objects[ref], path, value)

    def do_set_stub(
        self,
        ref: int,
        path: str,
        outputs: list,
        squash: bool,
        noise: bool,
        names: list[str],
        takes: list[list[int]],
    ) -> None:
        """Replace a part of a model by a `Stub`."""
        set_stub(self.objects[ref], path, outputs, squash, noise, names, takes)

    def do_hold(self, value: Any, as_array: bool) -> dict[str, Any]:
        """Keep a value that the judge sends, so that several calls get the same object."""
        return self.keep(value.numpy() if as_array else value)

    def do_call(self, ref: int, path: str, args: list, kwargs: dict, tape: bool = False) -> Any:
        """Call an object or one of its methods; with `tape`, keep the graph for `do_backward`.

        Raises:
            TypeError: If it cannot be called.
        """
        target = self.reach(ref, path)
        if not callable(target):
            what = f"`{path}`" if path else "the object"
            raise TypeError(
                f"{what} has type {type(target).__name__}, which cannot be called; expected a "
                "function or a method"
            )
        with by_class([self.objects[ref], *args]):
            result = target(*args, **kwargs)
        if not tape:
            return result
        encode = Encoder()
        body = encode(result)
        self.count += 1
        self.tapes[self.count] = (self.leaves, encode.tensors)
        grads = [t.requires_grad for t in encode.tensors]
        return Frame({"tape": self.count, "value": body, "grads": grads}, encode.arrays)

    def do_repeat(self, ref: int, path: str, args: list) -> list:
        """Call three times; return the results and what is sampled after the last two calls."""
        target, results, drawn = self.reach(ref, path), [], []
        for number in range(3):
            copies = [a.clone() if isinstance(a, torch.Tensor) else a for a in args]
            with by_class([self.objects[ref], *args]):
                results.append(target(*copies))
            if number:
                drawn.append(torch.rand(4))
        return [results, drawn]

    def do_given(self, ref: int, part: str, args: list) -> Any:
        """Call a module; return the inputs of the last call of one of its parts.

        Calls with keyword arguments count, and so do calls of the part's `forward`, which no hook
        of PyTorch sees.

        Raises:
            RuntimeError: If the part is not called.
        """
        module, seen = self.objects[ref], list[Any]()
        called = module.get_submodule(part)
        before, own = called.forward, "forward" in vars(called)

        def recorded(*inputs: Any, **named: Any) -> Any:
            seen.append((*inputs, *named.values()))
            return before(*inputs, **named)

        called.forward = recorded
        try:
            module(*args)
        finally:
            del called.forward
            if own:
                called.forward = before
        if not seen:
            raise RuntimeError(f"`self.{part}` is never called; expected at least one call")
        return seen[-1]

    def do_entered(self, ref: int, path: str, part: str, args: list) -> torch.Tensor:
        """Call an object or one of its methods; return what enters one of its parts, (N, ...).

        The part may be called under any name, and so may one of its layers: the inputs of that
        module count that is called first. An exception after that call is ignored.

        Raises:
            RuntimeError: If neither the part nor one of its layers is called with a tensor.
        """
        target, depth = self.reach(ref, path), 0
        modules = list(self.objects[ref].get_submodule(part).modules())
        own = {module: vars(module)["forward"] for module in modules if "forward" in vars(module)}
        seen: list[tuple[Any, torch.Tensor]] = []

        def recording(module: Any, before: Any) -> Any:
            def recorded(*inputs: Any, **named: Any) -> Any:
                nonlocal depth
                first = next((v for v in (*inputs, *named.values()) if torch.is_tensor(v)), None)
                if not depth and first is not None and (not seen or seen[0][0] is module):
                    seen.append((module, first.detach().clone()))
                depth += 1
                try:
                    return before(*inputs, **named)
                finally:
                    depth -= 1

            return recorded

        for module in modules:
            module.forward = recording(module, module.forward)
        try:
            with by_class([self.objects[ref], *args]):
                target(*args)
        except Exception:
            if not seen:
                raise
        finally:
            for module in modules:
                del module.forward
                if module in own:
                    module.forward = own[module]
        if not seen:
            raise RuntimeError(f"`self.{part}` is never called; expected at least one call")
        return torch.cat([rows for _, rows in seen])

    def do_call_on_meta_device(self, ref: int, path: str, args: list) -> list[str]:
        """Call with all inputs on the meta device; see `devices.call_on_meta_device`.

        Code that asks which devices exist does not only run on the CPU: nothing is tested.
        """
        if chooses_device(self.sources, self.namespace):
            return []
        return call_on_meta_device(self.objects[ref], path, args)

    def do_backward(self, tape: int, grads: list) -> list:
        """Backpropagate through a taped call; return the gradients of its inputs."""
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

    def do_parameters(self, ref: int, path: str = "") -> dict[str, Any] | None:
        """Return a module's trainable parameters by name, each once.

        For a method, a function, or a module without parameters, it returns None: such a part uses
        parameters of the model. For a value that cannot be called it returns {}.
        """
        part = self.reach(ref, path)
        if not isinstance(part, nn.Module):
            return None if callable(part) else {}
        every = dict(part.named_parameters())
        found = {name: p for name, p in every.items() if p.requires_grad and not is_lazy(p)}
        return {name: p.detach() for name, p in found.items()} if every else None

    def do_lazy(self, ref: int, path: str = "") -> list[str]:
        """Return the names of the parameters and buffers that get their sizes at the first call."""
        part = self.reach(ref, path)
        if not isinstance(part, nn.Module):
            return []
        every = (*part.named_parameters(), *part.named_buffers())
        return [name for name, value in every if is_lazy(value)]

    def do_used_parameters(self, ref: int, path: str, args: list) -> dict[str, Any]:
        """Return the trainable parameters of a model that a call of one of its parts uses."""
        total = self.reach(ref, path)(*args).sum()
        # After the call, which sets the sizes of the part's lazy layers; those of others stay open.
        every = self.objects[ref].named_parameters()
        named = {n: p for n, p in every if p.requires_grad and not is_lazy(p)}
        grads = torch.autograd.grad(total, list(named.values()), allow_unused=True)
        used = (n for n, g in zip(named, grads, strict=True) if g is not None)
        return {name: named[name].detach() for name in used}

    def do_state(self, ref: int) -> dict[str, Any]:
        """Return the values of a module's parameters and buffers by name, each name once."""
        state = nn.Module.state_dict(self.objects[ref])
        return {
            name: value.detach()
            for name, value in state.items()
            if isinstance(value, torch.Tensor) and not nn.parameter.is_lazy(value)
        }

    def do_load_state(self, ref: int, state: dict[str, torch.Tensor], strict: bool) -> None:
        """Copy values into a module's parameters and buffers; with `strict`, into all of them."""
        self.objects[ref].load_state_dict(state, strict=strict)

    def do_epoch(
        self, step: str, names: list[str], data: list, order: Any, size: int, every: int
    ) -> Iterator[Frame]:
        """Train one epoch with the notebook's own step; yield an item for each step.

        The items of the first step and of each `every`-th step after it have its result.
        """
        function = self.find(step)
        objects = [self.find(name) for name in names]
        for number, rows in enumerate(order.split(size)):
            returned = function(*objects, *(column[rows] for column in data))
            result = encoded(None if number % every else returned)
            yield Frame({"item": result.body}, result.arrays)

    # Values and references.

    def seeded(self, seed: int) -> bool:
        """Return whether this request left a seed other than its own, as an earlier one did."""
        found = torch.initial_seed()
        if found == seed:
            return False
        again = found in self.seeds
        self.seeds.add(found)
        return again

    def changed(self) -> bool:
        """Return whether a tensor of this request, or a view of it, was changed in place."""
        return any(tensor._version for tensor in self.given)

    def keep(self, value: Any) -> dict[str, Any]:
        """Keep an object and return its reference for the judge."""
        self.count += 1
        self.objects[self.count] = value
        return {"$ref": self.count, "type": type(value).__name__}

    def find(self, name: str) -> Any:
        """Return the object with a global name.

        Raises:
            NameError: If the name is not defined.
        """
        if name not in self.namespace:
            raise NameError(f"name '{name}' is not defined")
        return self.namespace[name]

    def reach(self, ref: int, path: str) -> Any:
        """Return the attribute at a dotted path of a kept object."""
        value = self.objects[ref]
        for name in path.split(".") if path else ():
            value = getattr(value, name)
        return value

    def _decoder(self, arrays: Sequence[np.ndarray]) -> Decoder:
        """Return a decoder for one request: it creates new tensors, and looks references up."""
        self.leaves: list[torch.Tensor] = []
        self.given: list[torch.Tensor] = []

        def tensor(array: np.ndarray, grad: bool) -> torch.Tensor:
            leaf = torch.from_numpy(np.array(array))
            if grad:
                self.leaves.append(leaf.requires_grad_())
            # PyTorch forbids in-place operations on a leaf, but allows them on its copy.
            self.given.append(leaf.clone() if grad else leaf)
            return self.given[-1]

        return Decoder(arrays, tensor, lambda number, _: self.objects[number], sequence=list)


def encoded(value: Any) -> Frame:
    """Encode a value as a frame of JSON and arrays."""
    encode = Encoder()
    return Frame(encode(value), encode.arrays)


def compile_cell(source: str, filename: str) -> types.CodeType:
    """Compile a notebook cell; see `magics` for lines that are no Python.

    Raises:
        SyntaxError: If the rest is not valid Python.
    """
    try:
        tree = ast.parse(source, filename)
    except SyntaxError:
        tree = parse_cell(source, filename)
    return compile(tree, filename, "exec")


@contextlib.contextmanager
def alarm(seconds: float | None) -> Iterator[None]:
    """Limit the CPU seconds of the code inside; None for no limit. Code can switch the alarm off.

    On Windows, which has no such alarm, there is no limit.

    Raises:
        TimeoutError: If the code takes longer.
    """

    def ring(*_: Any) -> None:
        raise TimeoutError(
            f"this cell computed for more than {seconds:g} seconds, the grader's limit for such a "
            "cell"
        )

    if seconds is None or not hasattr(signal, "setitimer"):
        yield
        return
    # The time of the clock would depend on what else the machine does.
    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def describe(error: BaseException) -> dict[str, Any]:
    """Describe an exception: type, message, cell id, line number, text of the line."""
    cell, line, text = None, None, None
    if isinstance(error, SyntaxError):
        cell, line, text = error.filename, error.lineno, (error.text or "").strip()
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame, told in zip(frames, traceback.extract_tb(error.__traceback__), strict=True):
        # A notebook's kernel chooses other file names, so the module tells what is a cell.
        if told.filename.startswith("<cell ") or frame.f_globals.get("__name__") == "__main__":
            cell, line, text = told.filename, told.lineno, told.line
    with contextlib.suppress(Exception):
        message = about_gpu(error) or str(error.msg if isinstance(error, SyntaxError) else error)
        return {
            "type": type(error).__name__,
            "message": message[:MESSAGE_LIMIT],
            "cell": (cell or "").removeprefix("<cell ").removesuffix(">") or None,
            "line": line,
            "text": (text or "")[:MESSAGE_LIMIT] or None,
        }
    return {"type": "Exception", "message": "", "cell": None, "line": None, "text": None}


def hide_autograder() -> None:
    """Replace the package `autograder` by one whose `check` does nothing and returns 0.0."""
    for name in [n for n in sys.modules if n == "autograder" or n.startswith("autograder.")]:
        del sys.modules[name]
    stub = types.ModuleType("autograder")
    stub.notebook_checks = lambda _: lambda _: 0.0  # type: ignore[attr-defined]
    sys.modules["autograder"] = stub


class NoShell:
    """The IPython shell that `get_ipython()` returns: each of its methods does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


def serve(receive: io.BufferedIOBase, send: io.RawIOBase) -> None:
    """Answer requests until the judge closes the pipe."""
    worker = Worker()
    worker.namespace["display"] = lambda *_, **__: None
    worker.namespace["get_ipython"] = NoShell
    write_frame(send, Frame({"ok": {"pid": os.getpid()}}))
    while (request := read_frame(receive)) is not None:
        reset(request)
        for frame in worker.answer(request):
            try:
                write_frame(send, frame)
            except FrameError as error:  # the answer is larger than the limit
                write_frame(send, Frame({"error": describe(error)}))
                break


def reset(request: Frame) -> None:
    """Reset process-wide settings of earlier requests; seed all random number generators.

    Only a worker process does this. In a live notebook, the student's settings stay.
    """
    seed = request.body.get("seed", 0)
    torch.set_default_device(None)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    torch.set_autocast_enabled("cpu", False)
    random.seed(seed)
    np.random.seed(seed)


def read_frame(stream: io.BufferedIOBase | io.RawIOBase) -> Frame | None:
    """Read one frame; None at the end of the stream.

    Raises:
        FrameError: If it is no whole frame.
    """
    prefix = _exactly(stream, PREFIX.size)
    if prefix is None:
        return None
    head, data = lengths(bytes(prefix))
    return unpack(bytes(_exactly(stream, head) or b""), _exactly(stream, data) or b"")


def _exactly(stream: io.BufferedIOBase | io.RawIOBase, size: int) -> bytearray | None:
    buffer = bytearray(size)
    view, got = memoryview(buffer), 0
    while got < size:
        count = stream.readinto(view[got:])
        if not count:
            return None
        got += count
    return buffer


def write_frame(stream: io.RawIOBase, frame: Frame) -> None:
    """Write one frame."""
    for buffer in pack(frame):
        view = memoryview(buffer)
        while view:
            view = view[stream.write(view) or 0 :]


def main(receive: int, send: int) -> None:
    """Be a worker.

    Args:
        receive: File descriptor of the requests.
        send: File descriptor of the answers.
    """
    torch.set_num_threads(1)
    use_placeholders()
    use_no_gpu()
    hide_autograder()
    serve(os.fdopen(receive, "rb"), os.fdopen(send, "wb", buffering=0))
