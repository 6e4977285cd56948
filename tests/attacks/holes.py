"""Defences switched off one at a time: each replaces one function of the judge by a naive one."""

import contextlib
import dataclasses
import functools
import json
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from attacks.catalog import A
from autograder.checks import evaluate
from autograder.checks import registry as checks
from autograder.checks import vocabulary as checking
from autograder.grading import judge, notebook
from autograder.protocol import frames
from autograder.protocol import remote as submission
from autograder.protocol.codec import Decoder
from autograder.protocol.ended import Ended
from autograder.protocol.frames import Frame
from autograder.records.results import CheckOutcome, Result
from autograder.reports import output_folder, pages, table
from autograder.sandbox import host
from autograder.worker import worker

Hole = Callable[[], contextlib.AbstractContextManager[Any]]


class InThisProcess:
    """Stands in for a worker's process where the hole lies elsewhere: quick."""

    ended: Ended | None = None

    def __init__(self, *_: Any, **__: Any):
        self.ask = submission.direct(worker.Worker({"__name__": "__main__"}))

    def __enter__(self) -> "InThisProcess":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return None


@contextlib.contextmanager
def patched(*patches: Any, in_process: bool = True) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if in_process:
            stack.enter_context(mock.patch.object(judge, "WorkerProcess", InThisProcess))
        for patch in patches:
            stack.enter_context(patch)
        yield


def replaced(where: Any, **values: Any) -> Any:
    return mock.patch.multiple(where, **values)


def any_tensor(got: Any, shape: Any, what: str) -> torch.Tensor:
    """`expect_tensor` without its care for shape and finiteness."""
    if not isinstance(got, torch.Tensor):
        raise checking.CheckFailed(f"{what}: {checking.kind(got)}")
    return got.double()


def broadcasting(got: torch.Tensor, right: torch.Tensor, tolerance: float) -> bool:
    """`_close` as `allclose` has it: shapes need only broadcast."""
    return bool(((got.double() - right.double()).abs() <= tolerance).all())


def not_greater(got: torch.Tensor, right: torch.Tensor, tolerance: float) -> bool:
    """`_close` the other way about: nothing is found that is too far."""
    return not bool(((got.double() - right.double()).abs() > tolerance).any())


def not_above(got: torch.Tensor, right: torch.Tensor, tolerance: float) -> bool:
    """`_close` as a threshold has it: small enough is good enough."""
    return not bool((got.double() > right.double() + tolerance).any())


def lenient(close: Callable[..., bool]) -> Hole:
    module = checks.load_checks(A).module
    return lambda: patched(
        replaced(module, expect_tensor=any_tensor), replaced(checking, _close=close)
    )


def without_checks(*names: str) -> Hole:
    """Take some checks as passed."""

    def skip(function: Any, task: Any, submission: Any) -> CheckOutcome:
        note = checks.info(function)
        if note.name in names:
            return CheckOutcome(
                note.name, note.task, task.points, note.sentence, "passed", "", None, 0.0
            )
        return evaluate.evaluate(function, task, submission)

    return lambda: patched(replaced(judge, evaluate=skip))


def without_salt() -> Any:
    """Inputs that depend on the check's name alone."""
    load = judge._load
    return patched(replaced(judge, _load=lambda o, w, a, salt, *rest: load(o, w, a, b"", *rest)))


def shared_inputs() -> Any:
    """A worker that is handed the judge's own tensors, and a check less that would notice."""

    def no_copy(self: Any, arrays: Any) -> Decoder:
        self.leaves = []

        def tensor(array: np.ndarray, grad: bool) -> torch.Tensor:
            made = torch.from_numpy(array)
            if grad:
                self.leaves.append(made.requires_grad_())
            return made

        return Decoder(arrays, tensor, lambda number, _: self.objects[number], sequence=list)

    return _both(
        mock.patch.object(worker.Worker, "_decoder", no_copy),
        without_checks("kl_keeps_its_inputs")(),
    )


@contextlib.contextmanager
def _both(*managers: Any) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for manager in managers:
            stack.enter_context(manager)
        yield


def careless_lengths(prefix: bytes) -> tuple[int, int]:
    _, head, data = struct.unpack("<4sIQ", prefix)
    bytearray(head)
    bytearray(data)
    return head, data


def careless_unpack(head: bytes, data: Any) -> Frame:
    message = json.loads(head)
    arrays, offset = [], 0
    for spec in message["arrays"]:
        size = math.prod(spec["shape"])
        dtype = np.dtype(spec["dtype"])
        flat = np.frombuffer(data, dtype=dtype, count=size, offset=offset)
        arrays.append(flat.reshape(spec["shape"]))
        offset += size * dtype.itemsize
    return Frame(message["body"], arrays)


def careless_frames() -> Any:
    """A reader that takes lengths, shapes and JSON as they come."""
    return patched(
        replaced(host, lengths=careless_lengths, unpack=careless_unpack),
        # Nor does anything behind the reader expect it to fail.
        mock.patch.object(evaluate, "Exception", TypeError, create=True),
        in_process=False,
    )


def careless_notebook() -> Any:
    """A reader that takes the file for JSON and the JSON for a notebook."""
    return patched(replaced(notebook, _parse=lambda raw: json.loads(raw.decode())))


def following_links() -> Any:
    """A reader that opens whatever lies under the name."""
    return patched(replaced(judge, read_bytes=lambda path: path.read_bytes()))


def any_size() -> Any:
    """No cap on a file's size."""
    return patched(replaced(notebook, MAX_BYTES=64 << 20))


def endless_text() -> Any:
    """No cap on a worker's output, nor on what is kept of it."""
    return patched(replaced(host, TEXT_LIMIT=1 << 40, MIB=1 << 40), in_process=False)


def as_it_is(text: str, *_: Any, **__: Any) -> str:
    return text


def unescaped() -> Any:
    """Pages, tables and messages that show text as it came."""
    plain = functools.partial(pages.Environment)
    return patched(
        replaced(submission, shown=as_it_is),
        replaced(table, printable=as_it_is, FORMULA=("\0",)),
        replaced(
            pages,
            printable=as_it_is,
            marked=as_it_is,
            Environment=lambda **options: plain(**(options | {"autoescape": False})),
        ),
    )


def strict_text() -> Any:
    """Files written as plain UTF-8, in which a lone surrogate has no place."""
    return patched(
        replaced(submission, shown=as_it_is),
        replaced(pages, printable=as_it_is),
        replaced(output_folder, write_text=lambda path, text: path.write_bytes(text.encode())),
    )


def names_as_paths() -> Any:
    """A student's name taken for a file's name."""
    return patched(replaced(output_folder, file_name=as_it_is), replaced(pages, file_name=as_it_is))


def loads_checkpoints() -> Any:
    """A judge that opens the checkpoint that came with a notebook."""
    opened = notebook.parse_notebook

    def load_too(path: Path) -> bytes:
        loaded = torch.load(path.parent / "model.pt", weights_only=False)
        if isinstance(loaded, torch.Tensor):
            loaded.clone()
        return path.read_bytes()

    return patched(replaced(judge, read_bytes=load_too, parse_notebook=opened))


def believing(claims: list[str], *patches: Any) -> Any:
    """A judge that gives whoever claims a score all points."""
    scores = judge._scores

    def believe(*args: Any) -> Any:
        tasks, every = scores(*args)
        if claims:
            tasks = tuple(dataclasses.replace(task, points=task.max_points) for task in tasks)
        return tasks, every

    return patched(*patches, replaced(judge, _scores=believe), in_process=False)


def believing_text() -> Any:
    """A judge that reads scores in what a submission has printed."""
    claims: list[str] = []

    class Overheard(host.WorkerProcess):
        def __exit__(self, *error: Any) -> None:
            super().__exit__(*error)
            claims.extend(line for line in self.text.decode().splitlines() if '"score"' in line)

    return believing(claims, replaced(judge, WorkerProcess=Overheard))


def believing_frames() -> Any:
    """A judge to whom a frame may say that a check has passed."""
    claims: list[str] = []

    def unpack(head: bytes, data: Any) -> Frame:
        frame = frames.unpack(head, data)
        said = frame.body.get("ok")
        if isinstance(said, dict) and said.get("outcome") == "passed":
            claims.append(said["outcome"])
        return frame

    return believing(claims, replaced(host, unpack=unpack))


def write_report(result: Result, folder: Path) -> None:
    """Write what a class of one gets."""
    written = output_folder.OutputFolder(folder)
    written.add(result)
    written.finish()


HOLES: dict[str, Hole] = {
    "broadcasting": lenient(broadcasting),
    "not_greater": lenient(not_greater),
    "not_above": lenient(not_above),
    "gradients_unchecked": without_checks("draw_gradients", "kl_gradients"),
    "known_inputs": without_salt,
    "shared_inputs": shared_inputs,
    "believing_text": believing_text,
    "believing_frames": believing_frames,
    "careless_frames": careless_frames,
    "careless_notebook": careless_notebook,
    "following_links": following_links,
    "any_size": any_size,
    "endless_text": endless_text,
    "unescaped": unescaped,
    "strict_text": strict_text,
    "names_as_paths": names_as_paths,
    "loads_checkpoints": loads_checkpoints,
}
