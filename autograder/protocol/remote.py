"""A submission as a check sees it: names to look up, objects to call, tensors in and out.

Calls look like plain PyTorch, and `torch.autograd` works through them, whether the submission
lives in a worker process or in the notebook that asks:

    vae = submission.new("myVAE", 32, 5)
    z = vae.reparameterize(mu, logvar)
    torch.autograd.grad(z.sum(), mu)
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from autograder.protocol.codec import CodecError, Decoder, Encoder
from autograder.protocol.codec import Other as Other
from autograder.protocol.frames import Frame
from autograder.records.text import shown

MESSAGE_LIMIT, CODE_LIMIT = 600, 200
BAD = {"type": "a bad answer"}
Ask = Callable[[Frame, float | None], Iterator[Frame]]


class Raised(Exception):  # noqa: N818 - what a submission's own code raised
    """The submission's code raised an exception.

    Attributes:
        kind: The exception's type, such as "NotImplementedError".
        text: Its message.
        cell: The id of the cell it came from, or None.
        line: The line in that cell, or None.
        code: That line's text, or None.
    """

    def __init__(self, error: Any):
        said = error if isinstance(error, dict) else {"type": "a bad answer"}

        def text(key: str, limit: int) -> str | None:
            return shown(said[key], limit) if isinstance(said.get(key), str) else None

        self.kind = text("type", 80) or "an exception"
        self.text = text("message", MESSAGE_LIMIT) or ""
        self.cell, self.code = text("cell", 80), text("text", CODE_LIMIT)
        self.line = said["line"] if type(said.get("line")) is int else None
        super().__init__(self.kind, self.text)

    def __str__(self) -> str:
        where = f", on line {self.line} of its cell (`{self.code}`)" if self.code else ""
        return f"{self.kind}: {self.text}{where}" if self.text else f"{self.kind}{where}"


class Submission:
    """Where checks find a submission's names.

    Args:
        ask: Sends one request and yields the answering frames.
        assignment: What it is a submission to.
        in_notebook: True when this is the student's own live notebook.
        train: False to leave out the checks that train.
        salt: Enters the seed of each check's inputs; see `evaluate`.

    Attributes:
        failed: Ids of the tasks that have failed so far.
        cell_errors: What the submission's own cells raised when they were run, by cell id.
        facts: Measured figures for the report.
        remarks: What is worth a word to the student and costs nothing.
        kept: What a check leaves for those after it, by name.
    """

    def __init__(
        self,
        ask: Ask,
        assignment: str,
        *,
        in_notebook: bool = False,
        train: bool = True,
        salt: bytes = b"",
    ):
        self.salt = salt
        self._ask = ask
        self._unread: Iterator[Frame] = iter(())
        self._calls = 0
        self.assignment = assignment
        self.in_notebook = in_notebook
        self.train = train
        self.failed: set[str] = set()
        self.cell_errors: dict[str, Raised] = {}
        self.facts: dict[str, Any] = {}
        self.remarks: list[str] = []
        self.kept: dict[str, Any] = {}

    def run(self, source: str, name: str, seconds: float | None = None) -> None:
        """Run a cell's source under the name `name`."""
        self.request("run", source=source, name=name, seconds=seconds)

    def hold(self, value: Any, *, as_array: bool = False) -> "RemoteObject":
        """Send a value once, so that several calls get the very same object.

        Args:
            value: What to send.
            as_array: Whether a tensor is held as a NumPy array.
        """
        reply = self.request("hold", value=value, as_array=as_array)
        return RemoteObject(self, reply["$ref"], kind=reply["type"])

    def restrict(self, allowed: Sequence[str] | None, forbidden: Sequence[str]) -> None:
        """Hold the cells that follow to a rule on imports; see `autograder.imports`."""
        self.request("restrict", allowed=allowed, forbidden=list(forbidden))

    def value(self, name: str) -> Any:
        """Read a global: a number, a string, a tensor, or a list or dict of them."""
        return self.object(name).value()

    def object(self, name: str) -> "RemoteObject":
        """Find an object by its global name."""
        return self._kept(self.request("object", name=name))

    def new(self, name: str, *args: Any, **kwargs: Any) -> "RemoteObject":
        """Make an instance of a class of the submission's."""
        return self._new(name, args, kwargs, bare=False)

    def bare(self, name: str, **attributes: Any) -> "RemoteObject":
        """Make an `nn.Module` instance without running its `__init__`, for one method alone."""
        instance = self._new(name, (), {}, bare=True)
        for path, value in attributes.items():
            self.request("set", ref=instance.ref, path=path, value=value)
        return instance

    def _new(self, name: str, args: Sequence[Any], kwargs: Any, bare: bool) -> "RemoteObject":
        return self._kept(self.request("new", name=name, args=list(args), kwargs=kwargs, bare=bare))

    def _kept(self, reply: Any) -> "RemoteObject":
        match reply:
            case {"$ref": int(ref), "type": str(kind)}:
                return RemoteObject(self, ref, kind=kind)
        raise Raised(BAD)

    def epoch(
        self, step: str, names: list[str], data: list[torch.Tensor], order: torch.Tensor, size: int
    ) -> Iterator[Any]:
        """Train one epoch in the worker with its own step; yield what each step returned."""
        encode = _encoder()
        arguments = {"step": step, "names": names, "data": data, "order": order, "size": size}
        packed = {key: encode(value) for key, value in arguments.items()}
        for frame in self._answers("epoch", packed, encode.arrays):
            body = frame.body if isinstance(frame.body, dict) else {"error": BAD}
            if "item" in body:
                yield _decode(body["item"], frame.arrays)
            elif "error" in body:
                raise Raised(body["error"])

    def request(self, do: str, **arguments: Any) -> Any:
        """Send one request and return its one answer.

        Raises:
            Raised: If the submission's code raised.
        """
        encode = _encoder()
        packed = {key: encode(value) for key, value in arguments.items()}
        body, received = self.one_answer(do, packed, encode.arrays)
        return _decode(body, received)

    def one_answer(
        self, do: str, packed: dict[str, Any], arrays: list[np.ndarray]
    ) -> tuple[Any, Sequence[np.ndarray]]:
        """Send a packed request; returns its one answer as it came, and the arrays with it.

        Raises:
            Raised: If the submission's code raised, or sent no answer of the agreed form.
        """
        frames = list(itertools.islice(self._answers(do, packed, arrays), 2))
        body = frames[0].body if len(frames) == 1 else None
        if not isinstance(body, dict) or "ok" not in body:
            raise Raised(body.get("error") if isinstance(body, dict) else BAD)
        return body["ok"], frames[0].arrays

    def _answers(
        self, do: str, packed: dict[str, Any], arrays: list[np.ndarray]
    ) -> Iterator[Frame]:
        # What a check left unread of one answer must not be taken for the next.
        for _ in self._unread:
            pass
        # A new seed for each request: two calls differ, two gradings don't.
        self._calls += 1
        frame = Frame({"do": do, "with": packed, "seed": self._calls}, arrays)
        self._unread = self._ask(frame, None)
        return self._unread


class RemoteObject:
    """An object of the submission's; attributes are methods to call or values to read.

    Args:
        submission: Where it lives.
        ref: Its number there.
        path: The attribute path from that object to this one.
        kind: The name of its type, as the submission reports it.
    """

    def __init__(self, submission: Submission, ref: int, path: str = "", kind: str = ""):
        self.kind = kind
        self.submission = submission
        self.ref = ref
        self.path = path

    def __getattr__(self, name: str) -> "RemoteObject":
        if name.startswith("__"):
            raise AttributeError(name)
        return RemoteObject(self.submission, self.ref, f"{self.path}.{name}".lstrip("."))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it; gradients flow through tensor arguments that require them."""
        if torch.is_grad_enabled() and any(_wants_grad(arg) for arg in args):
            return self.trace(*args)
        return self._call(args, kwargs)

    def _call(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        return self.submission.request(
            "call", ref=self.ref, path=self.path, args=list(args), kwargs=kwargs
        )

    def trace(self, *args: Any) -> Any:
        """Call it so that gradients flow back, into its parameters and through its inputs."""
        anchor = torch.zeros((), requires_grad=True)
        shape: list[Any] = []
        flat = _Taped.apply(self, shape, args, anchor, *(a for a in args if _wants_grad(a)))
        return _fill(shape[0], flat)

    def value(self) -> Any:
        """Read it."""
        return self.submission.request("get", ref=self.ref, path=self.path)

    def given(self, part: str, *args: Any) -> Any:
        """Call it, a module, and fetch what it gave to one of its parts."""
        return self.submission.request("given", ref=self.ref, part=part, args=list(args))

    def call_away(self, *args: Any) -> Any:
        """Call it as if everything lay on another device; see `autograder.devices`."""
        return self.submission.request("call_away", ref=self.ref, path=self.path, args=list(args))

    def plug(
        self,
        part: str,
        *outputs: "Affine",
        squash: bool = False,
        noise: bool = False,
        names: Sequence[str] = (),
    ) -> None:
        """Put known affine maps in a part's place; `part.seen()` tells what they were called with.

        Args:
            part: The attribute's or method's name.
            outputs: What it gives: one output, or a tuple of several.
            squash: Whether a sigmoid follows.
            noise: Whether standard normal noise is added.
            names: The part's arguments, in order, for a model that calls it by them.
        """
        self.submission.request(
            "plug",
            ref=self.ref,
            path=part,
            outputs=[vars(output) for output in outputs],
            squash=squash,
            noise=noise,
            names=list(names),
        )

    def parameters(self) -> dict[str, torch.Tensor]:
        """Fetch its trainable parameters, each once, by name."""
        return self.submission.request("parameters", ref=self.ref)


@dataclass(frozen=True)
class Affine:
    """One output of a known map: a weighted sum of its flattened inputs, and a bias.

    Attributes:
        weights: For each input an (in_features, out_features) matrix, or an (in_features,) vector
            where one number a row comes out; float32.
        shape: Shape of one row of the output; None to leave it as it is.
        bias: Added to every number.
        total: Whether the rows are added up, so that one number comes out for the whole batch.
    """

    weights: Sequence[torch.Tensor]
    shape: Sequence[int] | None = None
    bias: float = 0.0
    total: bool = False


class _Taped(torch.autograd.Function):
    """A call whose graph stays with the submission until gradients are sent back."""

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
                raise Raised(BAD)
        if len(wants) != len(tensors):
            raise Raised(BAD)
        ctx.submission, ctx.tape = submission, tape
        # Only real numbers have gradients, whatever the worker says of the others.
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
            grad is None or (isinstance(grad, torch.Tensor) and grad.shape == shape)
            for grad, shape in zip(back, ctx.shapes, strict=True)
        ):
            raise Raised({"type": "a bad answer", "message": "gradients of another shape"})
        return (None, None, None, None, *back)


def direct(worker: Any) -> Ask:
    """Ask a `Worker` in this very process, as a live notebook does."""

    def ask(request: Frame, seconds: float | None) -> Iterator[Frame]:
        dtype = torch.get_default_dtype()
        with torch.random.fork_rng(devices=[]):
            yield from worker.answer(request)
        torch.set_default_dtype(dtype)

    return ask


def _wants_grad(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad


def _encoder(*, mark_grad: bool = False) -> Encoder:
    return Encoder(lambda x: x.ref if isinstance(x, RemoteObject) else None, mark_grad=mark_grad)


class _Slot(int):
    """The place of one differentiable tensor in a result."""


def _decode(
    body: Any, arrays: Sequence[np.ndarray], tensors: list[torch.Tensor] | None = None
) -> Any:
    """Rebuild a value from what a worker sent; with `tensors`, put those aside as slots.

    Raises:
        Raised: If it is not of the agreed form.
    """

    def tensor(array: np.ndarray, _: bool) -> Any:
        made = torch.from_numpy(np.array(array))
        if tensors is None:
            return made
        tensors.append(made)
        return _Slot(len(tensors) - 1)

    def reference(number: int, kind: str) -> dict[str, Any]:
        return {"$ref": number, "type": shown(kind, 80)}

    try:
        return Decoder(arrays, tensor, reference)(body)
    except CodecError as error:
        raise Raised(BAD | ({"message": str(error)} if str(error) else {})) from error


def _fill(shape: Any, flat: Sequence[torch.Tensor]) -> Any:
    if isinstance(shape, _Slot):
        return flat[shape]
    if isinstance(shape, tuple):
        return tuple(_fill(item, flat) for item in shape)
    if isinstance(shape, dict):
        return {key: _fill(item, flat) for key, item in shape.items()}
    return shape
