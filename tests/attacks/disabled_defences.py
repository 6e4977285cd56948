"""The judge with one defence switched off: each entry replaces one function by a naive one."""

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

DisabledDefence = Callable[[], contextlib.AbstractContextManager[Any]]


class InProcessWorker:
    """Replaces `WorkerProcess` by a worker in this process, which starts faster."""

    ended: Ended | None = None

    def __init__(self, *_: Any, **__: Any):
        self.ask = submission.direct(worker.Worker({"__name__": "__main__"}))

    def __enter__(self) -> "InProcessWorker":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return None


@contextlib.contextmanager
def patched(*patches: Any, in_process: bool = True) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if in_process:
            stack.enter_context(mock.patch.object(judge, "WorkerProcess", InProcessWorker))
        for patch in patches:
            stack.enter_context(patch)
        yield


def replaced(where: Any, **values: Any) -> Any:
    return mock.patch.multiple(where, **values)


def any_tensor(got: Any, shape: Any, what: str) -> torch.Tensor:
    """Return any tensor: `expect_tensor` without the tests of shape and finiteness."""
    if not isinstance(got, torch.Tensor):
        raise checking.CheckFailed(f"{what}: {checking.kind(got)}")
    return got.double()


def broadcasting_comparison(got: torch.Tensor, right: torch.Tensor, tolerance: float) -> bool:
    """Compare as `torch.allclose` does: shapes that broadcast are accepted."""
    return bool(((got.double() - right.double()).abs() <= tolerance).all())


def negated_comparison(got: torch.Tensor, right: torch.Tensor, tolerance: float) -> bool:
    """Test that no difference is too large; a NaN passes."""
    return not bool(((got.double() - right.double()).abs() > tolerance).any())


def one_sided_comparison(got: torch.Tensor, right: torch.Tensor, tolerance: float) -> bool:
    """Test only that values are not too large; minus infinity passes."""
    return not bool((got.double() > right.double() + tolerance).any())


def with_comparison(close: Callable[..., bool]) -> DisabledDefence:
    """Replace the comparison in the checks."""
    module = checks.load_checks(A).module
    return lambda: patched(
        replaced(module, expect_tensor=any_tensor), replaced(checking, _close=close)
    )


def without_checks(*names: str) -> DisabledDefence:
    """Replace the outcome of some checks by "passed"."""

    def skip(function: Any, task: Any, submission: Any) -> CheckOutcome:
        note = checks.info(function)
        if note.name in names:
            return CheckOutcome(
                note.name, note.task, task.points, note.sentence, "passed", "", None, 0.0
            )
        return evaluate.evaluate(function, task, submission)

    return lambda: patched(replaced(judge, evaluate=skip))


def without_key() -> Any:
    """Use inputs that depend only on the name of the check."""
    return patched(replaced(judge, submission_key=lambda secret, digest: b""))


def shared_inputs() -> Any:
    """Give the worker the judge's own tensors, and skip the check that would detect it."""

    def no_copy(self: Any, arrays: Any) -> Decoder:
        self.leaves = []

        def tensor(array: np.ndarray, grad: bool) -> torch.Tensor:
            leaf = torch.from_numpy(array)
            if grad:
                self.leaves.append(leaf.requires_grad_())
            return leaf

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


def unchecked_lengths(prefix: bytes) -> tuple[int, int]:
    _, head, data = struct.unpack("<4sIQ", prefix)
    bytearray(head)
    bytearray(data)
    return head, data


def unchecked_unpack(head: bytes, data: Any) -> Frame:
    message = json.loads(head)
    arrays, offset = [], 0
    for spec in message["arrays"]:
        size = math.prod(spec["shape"])
        dtype = np.dtype(spec["dtype"])
        flat = np.frombuffer(data, dtype=dtype, count=size, offset=offset)
        arrays.append(flat.reshape(spec["shape"]))
        offset += size * dtype.itemsize
    return Frame(message["body"], arrays)


def unchecked_frames() -> Any:
    """Read frames without tests of lengths, shapes and JSON."""
    return patched(
        replaced(host, lengths=unchecked_lengths, unpack=unchecked_unpack),
        # `evaluate` must not catch the exceptions that follow.
        mock.patch.object(evaluate, "Exception", TypeError, create=True),
        in_process=False,
    )


class _Nothing(set[int]):
    """A set that stays empty."""

    def add(self, number: int) -> None:
        pass


def reused_arrays() -> Any:
    """Decode each reference to an array, also to one that was used."""
    make = Decoder.__init__

    def without_memory(self: Decoder, *args: Any, **named: Any) -> None:
        make(self, *args, **named)
        self.used = _Nothing()

    return patched(
        mock.patch.object(Decoder, "__init__", without_memory),
        mock.patch.object(Decoder, "expect_all_used", return_value=None),
        in_process=False,
    )


def escaped_source() -> Any:
    """Send text as ASCII, in which one character can take twelve bytes."""

    def as_ascii(body: Any, ensure_ascii: bool) -> str:
        return json.dumps(body)

    return patched(
        mock.patch.object(frames, "json", mock.Mock(dumps=as_ascii, loads=json.loads)),
        in_process=False,
    )


def unchecked_notebook() -> Any:
    """Read a notebook without tests of its JSON."""
    return patched(replaced(notebook, _parse=lambda raw: json.loads(raw.decode())))


def followed_links() -> Any:
    """Read a notebook through links, and from files of any kind."""
    return patched(replaced(judge, read_bytes=lambda path: path.read_bytes()))


def no_size_limit() -> Any:
    """Read notebooks of up to 128 MiB."""
    return patched(replaced(notebook, MAX_BYTES=128 << 20))


def no_output_limit() -> Any:
    """Keep all printed text, without a limit."""
    return patched(replaced(host, TEXT_LIMIT=1 << 40, MIB=1 << 40), in_process=False)


def unchanged(text: str, *_: Any, **__: Any) -> str:
    return text


def unescaped_text() -> Any:
    """Write pages, tables and messages without escaping."""
    plain = functools.partial(pages.Environment)
    return patched(
        replaced(submission, printable=unchanged),
        replaced(table, printable=unchanged, FORMULA=("\0",)),
        replaced(
            pages,
            printable=unchanged,
            marked=unchanged,
            Environment=lambda **options: plain(**(options | {"autoescape": False})),
        ),
    )


def strict_utf8() -> Any:
    """Write files as strict UTF-8, which cannot encode a lone surrogate."""
    return patched(
        replaced(submission, printable=unchanged),
        replaced(pages, printable=unchanged),
        replaced(output_folder, write_text=lambda path, text: path.write_bytes(text.encode())),
    )


def names_as_paths() -> Any:
    """Use the student's name as the name of a file."""
    return patched(
        replaced(output_folder, file_name=unchanged), replaced(pages, file_name=unchanged)
    )


def loaded_checkpoints() -> Any:
    """Load the checkpoint beside the notebook in the judge."""
    opened = notebook.parse_notebook

    def load_checkpoint(path: Path) -> bytes:
        loaded = torch.load(path.parent / "model.pt", weights_only=False)
        if isinstance(loaded, torch.Tensor):
            loaded.clone()
        return path.read_bytes()

    return patched(replaced(judge, read_bytes=load_checkpoint, parse_notebook=opened))


def trusting(claims: list[str], *patches: Any) -> Any:
    """Give all points to a submission that claims a score."""
    scores = judge._scores

    def scores_with_claims(*args: Any) -> Any:
        tasks, every = scores(*args)
        if claims:
            tasks = tuple(dataclasses.replace(task, points=task.max_points) for task in tasks)
        return tasks, every

    return patched(*patches, replaced(judge, _scores=scores_with_claims), in_process=False)


def trusted_output() -> Any:
    """Read scores from the text that a submission prints."""
    claims: list[str] = []

    class OutputReader(host.WorkerProcess):
        def __exit__(self, *error: Any) -> None:
            super().__exit__(*error)
            claims.extend(line for line in self.text.decode().splitlines() if '"score"' in line)

    return trusting(claims, replaced(judge, WorkerProcess=OutputReader))


def trusted_frames() -> Any:
    """Let a frame say that a check has passed."""
    claims: list[str] = []

    def unpack(head: bytes, data: Any) -> Frame:
        frame = frames.unpack(head, data)
        answer = frame.body.get("ok")
        if isinstance(answer, dict) and answer.get("outcome") == "passed":
            claims.append(answer["outcome"])
        return frame

    return trusting(claims, replaced(host, unpack=unpack))


def write_report(result: Result, folder: Path) -> None:
    """Write the report of a class with one student."""
    written = output_folder.OutputFolder(folder)
    written.add(result)
    written.finish()


DISABLED_DEFENCES: dict[str, DisabledDefence] = {
    "broadcasting_comparison": with_comparison(broadcasting_comparison),
    "negated_comparison": with_comparison(negated_comparison),
    "one_sided_comparison": with_comparison(one_sided_comparison),
    "unchecked_gradients": without_checks("draw_gradients", "kl_gradients"),
    "fixed_inputs": without_key,
    "shared_inputs": shared_inputs,
    "trusted_output": trusted_output,
    "trusted_frames": trusted_frames,
    "unchecked_frames": unchecked_frames,
    "reused_arrays": reused_arrays,
    "escaped_source": escaped_source,
    "unchecked_notebook": unchecked_notebook,
    "followed_links": followed_links,
    "no_size_limit": no_size_limit,
    "no_output_limit": no_output_limit,
    "unescaped_text": unescaped_text,
    "strict_utf8": strict_utf8,
    "names_as_paths": names_as_paths,
    "loaded_checkpoints": loaded_checkpoints,
}
