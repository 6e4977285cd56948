"""What stands around each attack: an honest neighbour, instructor's files, and baits outside."""

import atexit
import contextlib
import dataclasses
import hashlib
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import elsewhere
import psutil
import pytest

from attacks import catalog, killing, naive
from attacks.catalog import A, Attack
from autograder.build import notebooks as build
from autograder.build.notebooks import to_text
from autograder.records.results import Result, from_json, without_times
from autograder.sandbox.limits import Limits

# Short, since some attacks wait for them; generous for honest work on a loaded machine.
LIMITS = Limits(
    seconds=60.0, call_seconds=20.0, memory_mib=1024, processes=64, disk_mib=64, output_mib=8
)
PATIENCE = 120.0
NO_LIMITS = dataclasses.replace(
    LIMITS,
    seconds=1e6,
    call_seconds=1e6,
    memory_mib=1 << 16,
    cpu_seconds=1e6,
    processes=10_000,
    disk_mib=1 << 14,
    output_mib=1 << 14,
)


@pytest.fixture(scope="session", autouse=True)
def adopt_orphans() -> None:
    killing.adopt_orphans()


@dataclasses.dataclass
class Bait:
    """What lies outside, and what has been done to it.

    Attributes:
        folder: Results, a gradebook and another's submission, open to whoever gets there.
        process: A process that does nothing.
        reached: What came to the sockets.
    """

    folder: Path
    process: subprocess.Popen
    port: int
    reached: list[str]

    @property
    def marks(self) -> dict[str, str]:
        return {
            "@BAIT@": str(self.folder),
            "@PID@": str(self.process.pid),
            "@PORT@": str(self.port),
        }

    def hashes(self) -> dict[str, str]:
        return {
            str(p.relative_to(self.folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(self.folder.rglob("*"))
            if p.is_file()
        }


ROOT = Path(__file__).resolve().parent.parent.parent


def _listen(bait: Path, reached: list[str]) -> tuple[int, list[socket.socket]]:
    """Open a TCP, a UDP and a unix socket; note who comes."""
    tcp = socket.create_server(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", port))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(bait / "s"))
    unix.listen()
    (bait / "s").chmod(0o777)

    def take(name: str, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                one.recv(9) if name == "udp" else one.accept()
                reached.append(name)

    for name, one in (("tcp", tcp), ("udp", udp), ("unix", unix)):
        threading.Thread(target=take, args=(name, one), daemon=True).start()
    return port, [tcp, udp, unix]


@pytest.fixture
def bait() -> Iterator[Bait]:
    # Not below pytest's own folder, which is for its owner alone: only a sandbox may be what stops.
    with (
        tempfile.TemporaryDirectory(prefix="vaelab-bait-") as name,
        contextlib.ExitStack(),
    ):
        folder = Path(name)
        for path, text in (
            ("results/ada.json", '{"student": "ada", "score": 90.0}'),
            ("gradebook.db", "a gradebook"),
            ("feedback/ada.html", "<p>well done</p>"),
            ("submitted/ada/work.ipynb", to_text(build.reference(A))),
        ):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o777)
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        reached: list[str] = []
        port, sockets = _listen(folder, reached)
        try:
            yield Bait(folder, process, port, reached)
        finally:
            for one in sockets:
                one.close()
            for path in ("/dev/shm", "/tmp", "/var/tmp"):
                for word in Path(path).glob(f"vaelab-{process.pid}*"):
                    word.unlink(missing_ok=True)
            process.kill()
            process.wait()


def instructors_files() -> dict[str, str]:
    """Hash what an instructor would miss: sources, checks, engine, notebooks."""
    folders = ("solutions", "autograder", "vae_utils", "notebooks", "tests")
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


class Court:
    """One judge, at work on one submission after another, with honest ones between attacks.

    Tier A is tried as whoever runs the tests. Tier B is tried as a common user, which is harder:
    a submission has the judge's own uid there.
    """

    def __init__(self, tier: str, folder: Path):
        self.tier, self.folder = tier, folder
        self.temp = folder / "temp"
        self.temp.mkdir()
        self.temp.chmod(0o777)
        self.process: subprocess.Popen | None = None
        self.memory = 0
        self.honest_path = folder / "in" / "honest" / A / f"{A}.ipynb"
        self.honest_path.parent.mkdir(parents=True)
        self.honest_path.write_text(to_text(build.reference(A)))
        alone = self.grade(self.honest_path, "honest", LIMITS)
        assert (alone.score, alone.tier) == (alone.max_score, tier), alone
        self.alone = without_times(alone)

    def grade(self, path: Path, student: str, limits: Limits) -> Result:
        """Have the one judge grade a submission, as a batch does."""
        if self.process is None:
            words = [sys.executable, "-m", "attacks.judging", self.tier]
            self.process = subprocess.Popen(
                [*elsewhere._as("user"), *words] if self.tier == "B" else words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ
                | {
                    "TMPDIR": str(self.temp),
                    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
            )
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(
            json.dumps([str(self.folder / "in"), str(path), student, vars(limits)]) + "\n"
        )
        self.process.stdin.flush()
        said = self.process.stdout.readline()
        assert said, f"the judge died of {student}: exit code {self.process.wait(10)}"
        answer = json.loads(said)
        self.memory = answer["memory"]
        return from_json(answer["result"])

    def close(self) -> None:
        if self.process:
            assert self.process.stdin
            self.process.stdin.close()
            self.process.wait(30)
        self.process = None


TIERS = ("A", "B")


@pytest.fixture(scope="session")
def courts() -> Iterator[Callable[[str], Court]]:
    """Give a tier's judge, the same one for all attacks."""
    with tempfile.TemporaryDirectory(prefix="vaelab-court-") as folder:
        Path(folder).chmod(0o755)
        held: dict[str, Court] = {}

        def of(tier: str) -> Court:
            if tier not in held:
                (Path(folder) / tier).mkdir()
                held[tier] = Court(tier, Path(folder) / tier)
            return held[tier]

        yield of
        for one in held.values():
            one.close()


@pytest.fixture
def court(request: pytest.FixtureRequest, courts: Callable[[str], Court]) -> Court:
    """A judge of one tier."""
    return courts(request.param)


# An attack without its defence runs in a process of its own, forked from a warm one.


@dataclasses.dataclass(frozen=True)
class Seen:
    """What came of an attack.

    Attributes:
        body: The result that was written, as JSON; None if none was.
        effects: What else was seen.
    """

    body: dict[str, Any] | None
    effects: set[str]


@pytest.fixture(scope="session")
def apart() -> Callable[..., tuple[int | None, int]]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["attacks.naive"])

    def run(
        function: Callable[..., None], *arguments: Any, seconds: float
    ) -> tuple[int | None, int]:
        """Run a function in a process; returns its exit code, None if it had to be killed."""
        process = context.Process(target=_measured, args=(function, arguments))
        process.start()
        peak, until = 0, time.monotonic() + seconds
        while process.is_alive() and time.monotonic() < until:
            with contextlib.suppress(psutil.Error):
                peak = max(peak, psutil.Process(process.pid).memory_info().rss)
            process.join(0.05)
        code = process.exitcode
        process.kill()
        process.join()
        return code, peak

    return run


def _measured(function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    import torch

    torch.set_num_threads(1)
    function(*arguments)
    atexit._run_exitfuncs()  # as at the end of any program; multiprocessing leaves them out


def told(body: dict[str, Any] | None) -> str:
    return json.dumps(body, ensure_ascii=False) if body else ""


__all__ = ["Attack", "Bait", "Court", "Seen", "catalog", "naive"]
