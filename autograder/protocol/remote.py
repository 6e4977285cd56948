"""A submission as checks use it: look up names, call objects, exchange tensors.

Calls look like plain PyTorch calls, and `torch.autograd` works through them. The submission runs in
a worker process or in the live notebook:

    vae = submission.new("myVAE", 32, 5)
    z = vae.reparameterize(mu, logvar)
    torch.autograd.grad(z.sum(), mu)
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from autograder.protocol.codec import CodecError, Decoder, Encoder
from autograder.protocol.codec import Other as Other
from autograder.protocol.frames import Frame, FrameError
from autograder.records.text import printable

MESSAGE_LIMIT, CODE_LIMIT = 600, 200
FUNCTION = "function"
INVALID_ANSWER = {"type": "an invalid answer"}
Ask = Callable[[Frame, float | None], Iterator[Frame]]


class Raised(Exception):  # noqa: N818 - an error in the submission, not in the judge
    """The submission's code raised an exception, or its worker sent an invalid answer.

    Args:
        error: The worker's description of the exception; see `worker.describe`.

    Attributes:
        kind: The name of the exception's type, such as "NotImplementedError".
        text: Its message.
        cell: The id of the cell that raised it, or None.
        line: The line number in that cell, or None.
        code: The text of that line, or None.
    """

    def __init__(self, error: Any):
        reported = error if isinstance(error, dict) else INVALID_ANSWER

        def text(key: str, limit: int) -> str | None:
            return printable(reported[key], limit) if isinstance(reported.get(key), str) else None

        self.kind = text("type", 80) or "an exception"
        self.text = text("message", MESSAGE_LIMIT) or ""
        self.cell, self.code = text("cell", 80), text("text", CODE_LIMIT)
        self.line = reported["line"] if type(reported.get("line")) is int else None
        super().__init__(self.kind, self.text)

    def __str__(self) -> str:
        where = f", on line {self.line} of its cell (`{self.code}`)" if self.code else ""
        return f"{self.kind}: {self.text}{where}" if self.text else f"{self.kind}{where}"


class Submission:
    """A submission, with its global names.

    Args:
        ask: A function that sends one request and yields the answering frames.
        assignment: The name of the assignment.
        in_notebook: True if this is the student's own live notebook.
        train: False to skip the checks that train.
        key: The key of the random inputs of its checks; see `checks.seeds`.
        fresh: Starts another worker that runs the same cells. The judge ends it with the first.

    Attributes:
        failed: Ids of the tasks that have failed so far.
        cell_errors: The exceptions that the submission's cells raised, by cell id.
        sources: The text of the submission's cells, by cell id; {} in a notebook.
        repaired: The arguments of `repair`, for further workers.
        facts: Measured values for the report.
        remarks: Messages for the student that cost no points.
        device_counts: True if a tensor on another device than the input costs points.
        calls: The smallest call of each function and method so far, by name.
        tested: Those whose device has been tested.
        cell: The name of the cell that ran last.
        kept: Values that a check stores for later checks, by name.
        seeded: True if a call of this check left a seed of its own (self-reported).
        changed: True if a call of this check changed a tensor that it was given (self-reported).
    """

    def __init__(
        self,
        ask: Ask,
        assignment: str,
        *,
        in_notebook: bool = False,
        train: bool = True,
        key: bytes = b"",
        fresh: "Callable[[], Submission] | None" = None,
    ):
        self.key = key
        self._fresh = fresh
        self._ask = ask
        self._unread: Iterator[Frame] = iter(())
        self._calls = 0
        self.assignment = assignment
        self.in_notebook = in_notebook
        self.train = train
        self.failed: set[str] = set()
        self.cell_errors: dict[str, Raised] = {}
        self.sources: dict[str, str] = {}
        self.repaired: list[tuple[str, str]] = []
        self.facts: dict[str, Any] = {}
        self.remarks: list[str] = []
        self.device_counts = False
        self.calls: dict[str, Called] = {}
        self.tested: set[str] = set()
        self.kept: dict[str, Any] = {}
        self.seeded = self.changed = False
        self.cell = ""
        self._functions: dict[str, RemoteObject] = {}

    def fresh(self) -> "Submission":
        """Start a worker that has seen no input yet, and run the same cells in it.

        Raises:
            RuntimeError: If there are no worker processes, as in a live notebook.
        """
        if self._fresh is None:
            raise RuntimeError("There are no worker processes here.")
        another = self._fresh()
        for source, cell in self.repaired:
            another.repair(source, cell)
        return another

    def run(
        self,
        source: str,
        name: str,
        seconds: float | None = None,
        given: str | None = None,
        module: str = "",
    ) -> None:
        """Run a cell.

        Args:
            source: The text of the cell.
            name: The id of the cell, for error messages.
            seconds: The limit of the cell, in CPU seconds; None for no limit of its own.
            given: The text of a given cell, of which only the student's additions are run; None
                to run the whole cell.
            module: The name of the module that the text defines; "" for a cell.

        Raises:
            Raised: If the cell raises an exception.
        """
        self.cell = name
        self._functions.clear()
        more = {"module": module} if module else {}
        self.request("run", source=source, name=name, seconds=seconds, given=given, **more)

    def repair(self, source: str, cell: str) -> None:
        """Define names that a cell needs, then run it again, here and in every further worker."""
        self.repaired.append((source, cell))
        self.run(source, "stand_ins")
        with contextlib.suppress(Raised):
            self.rerun(cell)

    def rerun(self, name: str) -> None:
        """Run a cell of the submission again, with the names that are defined now.

        Raises:
            Raised: If the cell raises an exception.
        """
        if name in self.sources:
            self.run(self.sources[name], name)
            self.cell_errors.pop(name, None)

    def hold(self, value: Any, *, as_array: bool = False) -> "RemoteObject":
        """Send a value once, so that several calls get the same object.

        Args:
            value: The value.
            as_array: Whether a tensor becomes a NumPy array in the worker.
        """
        return self._kept(self.request("hold", value=value, as_array=as_array))

    def restrict(self, allowed: Sequence[str] | None, forbidden: Sequence[str]) -> None:
        """Apply an import rule to the cells that follow; see `worker.imports.guard`."""
        self.request("restrict", allowed=allowed, forbidden=list(forbidden))

    def place(self, name: str, raw: bytes) -> None:
        """Write a file into the folder in which the cells run."""
        values = np.frombuffer(bytearray(raw), np.uint8)
        self.request("place", name=name, raw=torch.from_numpy(values))

    def leave_out(self, package: str) -> None:
        """Let cells import a package that is not installed; using it raises."""
        self.request("leave_out", package=package)

    def value(self, name: str) -> Any:
        """Return the value of a global: a number, a string, a tensor, or a list or dict of them."""
        return self.object(name).value()

    def length(self, name: str) -> int | None:
        """Return the length of a global; None if it does not exist or has no length."""
        found = self.request("length", name=name)
        return found if type(found) is int else None

    def fuse(self, name: str) -> None:
        """Let an optimizer take the fused form of its steps; see `autograder.protocol.fused`."""
        self.request("fuse", name=name)

    def updates(self, name: str) -> int:
        """Return how often an optimizer has updated a global model, in a live notebook."""
        found = self.request("updates", name=name)
        return found if type(found) is int else 0

    def object(self, name: str) -> "RemoteObject":
        """Return the object with a global name; a check asks for a function once."""
        if name in self._functions:
            return self._functions[name]
        found = self._kept(self.request("object", name=name), name)
        if found.kind == FUNCTION:
            self._functions[name] = found
        return found

    def start_check(self) -> None:
        """Forget what belongs to the check before."""
        self.seeded = self.changed = False
        self._functions.clear()

    def remark(self, text: str) -> None:
        """Add a message for the student that costs no points, unless it has been added before."""
        if text not in self.remarks:
            self.remarks.append(text)

    def new(self, name: str, *args: Any, **kwargs: Any) -> "RemoteObject":
        """Create an instance of one of the submission's classes."""
        return self._new(name, args, kwargs, bare=False)

    def bare(self, name: str, **attributes: Any) -> "RemoteObject":
        """Create an `nn.Module` instance without its own `__init__`, to test a single method.

        Args:
            name: The name of the class.
            attributes: Attributes that are set on the instance.
        """
        instance = self._new(name, (), {}, bare=True)
        for path, value in attributes.items():
            self.request("set", ref=instance.ref, path=path, value=value)
        return instance

    def _new(self, name: str, args: Sequence[Any], kwargs: Any, bare: bool) -> "RemoteObject":
        return self._kept(self.request("new", name=name, args=list(args), kwargs=kwargs, bare=bare))

    def _kept(self, reply: Any, name: str = "") -> "RemoteObject":
        match reply:
            case {"$ref": int(ref), "type": str(kind)}:
                return RemoteObject(self, ref, kind=kind, name=name if kind == FUNCTION else kind)
        raise Raised(INVALID_ANSWER)

    def epoch(
        self,
        step: str,
        names: list[str],
        data: list[torch.Tensor],
        order: torch.Tensor,
        size: int,
        every: int = 1,
    ) -> Iterator[Any]:
        """Train one epoch in the worker with the submission's own step function.

        Args:
            step: The name of the step function.
            names: Names of the globals that are its first arguments.
            data: Tensors whose rows are its further arguments, each of shape (N, ...).
            order: The order of the rows, int64 of shape (N,).
            size: The number of rows in a batch.
            every: Of this many steps, the first one's result is sent.

        Yields:
            The results of the first step and of each `every`-th step after it.

        Raises:
            Raised: If a step raises an exception.
        """
        encode = _encoder()
        arguments = {"step": step, "names": names, "data": data, "order": order, "size": size}
        packed = {key: encode(value) for key, value in arguments.items()} | {"every": every}
        steps = missing = len(order.split(size))
        for frame in self._answers("epoch", packed, encode.arrays):
            body = frame.body if isinstance(frame.body, dict) else {"error": INVALID_ANSWER}
            if "error" in body:
                raise Raised(body["error"])
            if ("item" in body) != (missing > 0):
                raise Raised(
                    INVALID_ANSWER | {"message": "each batch must have exactly one step result"}
                )
            if missing:
                if (steps - missing) % every == 0:
                    yield _decode(body["item"], frame.arrays)
                missing -= 1
        if missing:
            raise Raised(INVALID_ANSWER)

    def request(self, do: str, **arguments: Any) -> Any:
        """Send one request and return its answer.

        Args:
            do: The name of the request; see the methods `do_…` of `worker.Worker`.
            arguments: The arguments of the request.

        Raises:
            Raised: If the submission's code raises an exception, or the answer is invalid.
        """
        encode = _encoder()
        packed = {key: encode(value) for key, value in arguments.items()}
        body, received = self.one_answer(do, packed, encode.arrays)
        return _decode(body, received)

    def one_answer(
        self, do: str, packed: dict[str, Any], arrays: list[np.ndarray]
    ) -> tuple[Any, Sequence[np.ndarray]]:
        """Send an encoded request; return its answer, still encoded, and the answer's arrays.

        Raises:
            Raised: If the submission's code raises an exception, or the answer is invalid.
        """
        frames = list(itertools.islice(self._answers(do, packed, arrays), 2))
        body = frames[0].body if len(frames) == 1 else None
        if not isinstance(body, dict) or "ok" not in body:
            raise Raised(body.get("error") if isinstance(body, dict) else INVALID_ANSWER)
        if do in ("call", "repeat"):
            self.seeded |= body.get("seeded") is True
            self.changed |= body.get("changed") is True
        return body["ok"], frames[0].arrays

    def _answers(
        self, do: str, packed: dict[str, Any], arrays: list[np.ndarray]
    ) -> Iterator[Frame]:
        # Skip unread frames of the previous answer.
        for _ in self._unread:
            pass
        # A new seed for each request: two calls differ, but two gradings are equal.
        self._calls += 1
        frame = Frame({"do": do, "with": packed, "seed": self._calls}, arrays)
        self._unread = _sent(self._ask(frame, None))
        return self._unread


class RemoteObject:
    """An object in the submission; its attributes are methods to call or values to read.

    Args:
        submission: The submission.
        ref: The number of the object in the worker.
        path: The attribute path from that object to this one.
        kind: The name of its type; self-reported by the worker.
        name: The name of the function, or of the class of the object in the worker.
    """

    def __init__(
        self, submission: Submission, ref: int, path: str = "", kind: str = "", name: str = ""
    ):
        self.kind, self.name = kind, name
        self.submission = submission
        self.ref = ref
        self.path = path

    def __getattr__(self, name: str) -> "RemoteObject":
        if name.startswith("__"):
            raise AttributeError(name)
        path = f"{self.path}.{name}".lstrip(".")
        return RemoteObject(self.submission, self.ref, path, name=self.name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it; autograd works through tensor arguments that require gradients."""
        if torch.is_grad_enabled() and any(_wants_grad(arg) for arg in args):
            return self.trace(*args)
        return self._call(args, kwargs)

    def _call(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        result = self.submission.request(
            "call", ref=self.ref, path=self.path, args=list(args), kwargs=kwargs
        )
        self._note(args)
        return result

    def _note(self, args: Sequence[Any]) -> None:
        """Keep the smallest call of each function that gets a device with its inputs."""
        # Numbers have no device, so tensors that a function makes from them alone are right.
        has_device = any(isinstance(arg, torch.Tensor | RemoteObject) for arg in args)
        if self.kind == FUNCTION and not has_device:
            return
        size = sum(arg.numel() for arg in args if isinstance(arg, torch.Tensor))
        key, calls = f"{self.name}.{self.path}", self.submission.calls
        if args and (key not in calls or size < calls[key].size):
            calls[key] = Called(self, tuple(args), size)

    def trace(self, *args: Any) -> Any:
        """Call it so that `backward` reaches its parameters and its inputs."""
        anchor = torch.zeros((), requires_grad=True)
        shape: list[Any] = []
        flat = _Taped.apply(self, shape, args, anchor, *(a for a in args if _wants_grad(a)))
        self._note(args)
        return _fill(shape[0], flat)

    def repeated(self, *args: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Call it three times in one request; return the results and two samples of the judge.

        The samples are made after the second and the third call, with PyTorch's random numbers.
        """
        got = self.submission.request("repeat", ref=self.ref, path=self.path, args=list(args))
        match got:
            case (tuple(results), (torch.Tensor() as first, torch.Tensor() as second)):
                if len(results) == 3:
                    return results, (first, second)
        raise Raised(INVALID_ANSWER)

    def value(self) -> Any:
        """Return its value."""
        return self.submission.request("get", ref=self.ref, path=self.path)

    def given(self, part: str, *args: Any) -> Any:
        """Call this module; return the inputs of the last call of one of its parts."""
        return self.submission.request("given", ref=self.ref, part=part, args=list(args))

    def entered(self, part: str, *args: Any) -> torch.Tensor:
        """Call it; return what enters a part of its object, also if the part has another name.

        Raises:
            Raised: If neither the part nor one of its layers is called.
        """
        got = self.submission.request(
            "entered", ref=self.ref, path=self.path, part=part, args=list(args)
        )
        if not isinstance(got, torch.Tensor) or got.dim() == 0:
            raise Raised(INVALID_ANSWER)
        return got

    def call_on_meta_device(self, *args: Any) -> Any:
        """Call it on the meta device; return the devices of result tensors that are elsewhere.

        See `worker.devices.call_on_meta_device`.
        """
        return self.submission.request(
            "call_on_meta_device", ref=self.ref, path=self.path, args=list(args)
        )

    def set_stub(
        self,
        part: str,
        *outputs: "Affine",
        squash: bool = False,
        noise: bool = False,
        names: Sequence[str] = (),
        takes: Sequence[Sequence[int]] = (),
    ) -> None:
        """Replace a part by a stub of known affine maps; `part.seen()` returns its inputs.

        Args:
            part: The name of the attribute or method.
            outputs: The stub's outputs: one output, or a tuple of several.
            squash: Whether to apply a sigmoid to the outputs.
            noise: Whether to add standard normal noise to the outputs.
            names: The names of the part's arguments, in order, for calls with keyword arguments.
            takes: The shapes of one row of the first input that the stub accepts; () for every
                shape. A linear layer, for example, refuses images that are not flattened.
        """
        self.submission.request(
            "set_stub",
            ref=self.ref,
            path=part,
            outputs=[vars(output) for output in outputs],
            squash=squash,
            noise=noise,
            names=list(names),
            takes=[list(shape) for shape in takes],
        )

    def state(self) -> Any:
        """Return the values of its parameters and buffers, by name."""
        return self.submission.request("state", ref=self.ref)

    def load_state(self, state: dict[str, torch.Tensor], *, strict: bool = True) -> None:
        """Copy values into its parameters and buffers; with `strict`, into all of them."""
        self.submission.request("load_state", ref=self.ref, state=state, strict=strict)

    def parameters(self) -> dict[str, torch.Tensor]:
        """Return its trainable parameters by name, each once; {} if it has none."""
        return self.own_parameters() or {}

    def seen(self) -> torch.Tensor:
        """Return the first inputs of all calls of this stub; see `worker.stubs`.

        Raises:
            Raised: If the worker sends anything but a tensor of rows.
        """
        path = f"{self.path}.seen".lstrip(".")
        got = self.submission.request("call", ref=self.ref, path=path, args=[], kwargs={})
        if not isinstance(got, torch.Tensor) or got.dim() == 0:
            raise Raised(INVALID_ANSWER)
        return got

    def own_parameters(self) -> dict[str, torch.Tensor] | None:
        """Return its trainable parameters; None if it is callable and has no parameters at all."""
        found = self.submission.request("parameters", ref=self.ref, path=self.path)
        return None if found is None else _tensors_by_name(found)

    def give_sizes(self, *args: Any) -> None:
        """Call it once if it has lazy layers, which get their parameters at their first call.

        An error of the call is not reported here: other checks call the same code.
        """
        if self.lazy_names():
            with contextlib.suppress(Raised):
                self(*args)

    def lazy_names(self) -> tuple[str, ...]:
        """Return the names of its parameters and buffers that get their sizes at a first call."""
        found = self.submission.request("lazy", ref=self.ref, path=self.path)
        known = isinstance(found, tuple) and all(isinstance(name, str) for name in found)
        return found if known else ()

    def used_parameters(self, *args: Any) -> dict[str, torch.Tensor]:
        """Call this part of a model; return the model's trainable parameters that it uses."""
        return _tensors_by_name(
            self.submission.request(
                "used_parameters", ref=self.ref, path=self.path, args=list(args)
            )
        )


def _tensors_by_name(found: Any) -> dict[str, torch.Tensor]:
    tensors = found.values() if isinstance(found, dict) else [None]
    if all(isinstance(p, torch.Tensor) and p.is_floating_point() for p in tensors):
        return found
    raise Raised(INVALID_ANSWER)


@dataclass(frozen=True)
class Called:
    """A call of a check.

    Attributes:
        target: What was called.
        args: The arguments.
        size: The number of elements of its tensors.
    """

    target: RemoteObject
    args: tuple[Any, ...]
    size: int


@dataclass(frozen=True)
class Affine:
    """One output of a stub: a weighted sum of its flattened inputs, plus a bias.

    Attributes:
        weights: For each input a float32 matrix of shape (in_features, out_features), or a vector
            of shape (in_features,) for one number per row.
        shape: The shape of one row of the output; None to keep it flat.
        bias: A number that is added to every element.
        total: Whether the output is the sum over all elements, one number for the whole batch.
    """

    weights: Sequence[torch.Tensor]
    shape: Sequence[int] | None = None
    bias: float = 0.0
    total: bool = False


class _Taped(torch.autograd.Function):
    """A call whose autograd graph stays in the worker until the judge sends gradients."""

    @staticmethod
    def forward(ctx: Any, target: RemoteObject, shape: list, args: tuple, *_: torch.Tensor) -> Any:
        encode = _encoder(mark_grad=True)
        packed = {
            "ref": target.ref,
            "path": target.path,
            "args": [encode(arg) for arg in args],
            "kwargs": {"$dict": {}},
            "tape": True,
        }
        submission = target.submission
        reply, received = submission.one_answer("call", packed, encode.arrays)
        match reply:
            case {"value": value, "tape": int(tape), "grads": list(wants)}:
                tensors: list[torch.Tensor] = []
                shape.append(_decode(value, received, tensors))
            case _:
                raise Raised(INVALID_ANSWER)
        if len(wants) != len(tensors):
            raise Raised(INVALID_ANSWER)
        ctx.submission, ctx.tape = submission, tape
        # An output that no gradient starts from has None, not zeros: zeros would hide a `detach`.
        ctx.set_materialize_grads(False)
        # Only floating-point tensors have gradients; the worker's claim is not trusted.
        ctx.mark_non_differentiable(
            *(
                t
                for t, grad in zip(tensors, wants, strict=True)
                if grad is not True or not t.is_floating_point()
            )
        )
        ctx.shapes = [a.shape for a in args if _wants_grad(a)]
        return tuple(tensors)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> Any:
        back = ctx.submission.request("backward", tape=ctx.tape, grads=list(grads))
        fits = isinstance(back, tuple) and len(back) == len(ctx.shapes)
        if not fits or not all(
            grad is None
            or (isinstance(grad, torch.Tensor) and grad.shape == shape and grad.is_floating_point())
            for grad, shape in zip(back, ctx.shapes, strict=True)
        ):
            raise Raised(
                INVALID_ANSWER
                | {"message": "each gradient must be None or have the shape of its input"}
            )
        return (None, None, None, None, *back)


def direct(worker: Any) -> Ask:
    """Return a function that asks a `Worker` in this process, as in a live notebook."""

    def ask(request: Frame, seconds: float | None) -> Iterator[Frame]:
        dtype = torch.get_default_dtype()
        with torch.random.fork_rng(devices=[]):
            yield from worker.answer(request)
        torch.set_default_dtype(dtype)

    return ask


def _sent(answers: Iterator[Frame]) -> Iterator[Frame]:
    """Yield the answers; a request that is too large to send is an error of the submission.

    Only values that a submission returned can make a request that large.
    """
    try:
        yield from answers
    except FrameError as error:
        raise Raised({"type": "a value that cannot be sent", "message": str(error)}) from error


def _wants_grad(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad


def _encoder(*, mark_grad: bool = False) -> Encoder:
    return Encoder(lambda x: x.ref if isinstance(x, RemoteObject) else None, mark_grad=mark_grad)


class _Slot(int):
    """The index of one differentiable tensor in a result."""


def _decode(
    body: Any, arrays: Sequence[np.ndarray], tensors: list[torch.Tensor] | None = None
) -> Any:
    """Decode a value that a worker sent.

    Args:
        body: The JSON of the value.
        arrays: The arrays of the frame.
        tensors: If given, tensors are appended to it, and slots take their places in the value.

    Raises:
        Raised: If the format is unknown.
    """

    def tensor(array: np.ndarray, _: bool) -> Any:
        made = torch.from_numpy(np.array(array))
        if tensors is None:
            return made
        tensors.append(made)
        return _Slot(len(tensors) - 1)

    def reference(number: int, kind: str) -> dict[str, Any]:
        return {"$ref": number, "type": printable(kind, 80)}

    try:
        decode = Decoder(arrays, tensor, reference)
        value = decode(body)
        decode.expect_all_used()
        return value
    except CodecError as error:
        raise Raised(INVALID_ANSWER | ({"message": str(error)} if str(error) else {})) from error


def _fill(shape: Any, flat: Sequence[torch.Tensor]) -> Any:
    """Return a value with its slots replaced by tensors."""
    if isinstance(shape, _Slot):
        return flat[shape]
    if isinstance(shape, tuple):
        return tuple(_fill(item, flat) for item in shape)
    if isinstance(shape, dict):
        return {key: _fill(item, flat) for key, item in shape.items()}
    return shape
