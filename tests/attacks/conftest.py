"""Fixtures for the attacks: a judge, an honest submission, targets outside the sandbox."""

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

import psutil
import pytest
import run_as

from attacks import killing
from attacks.catalog import A
from autograder.build import notebooks as build
from autograder.build.notebooks import to_text
from autograder.records.results import Result, from_json, without_times
from autograder.sandbox.limits import Limits

# Short, because some attacks run into them; long enough for honest work on a busy machine.
LIMITS = Limits(
    seconds=60.0, call_seconds=20.0, memory_mib=1024, processes=64, disk_mib=64, output_mib=8
)
MAX_SECONDS = 120.0
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
class Targets:
    """Files, sockets and a process outside the sandbox, which no attack may reach.

    Attributes:
        folder: A folder with results, a gradebook and a submission; all users may write to it.
        process: A process that sleeps.
        port: The port of a TCP and a UDP socket.
        reached: The names of the sockets that received something.
    """

    folder: Path
    process: subprocess.Popen
    port: int
    reached: list[str]

    @property
    def marks(self) -> dict[str, str]:
        return {
            "@TARGETS@": str(self.folder),
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


def _listen(folder: Path, reached: list[str]) -> tuple[int, list[socket.socket]]:
    """Open a TCP, a UDP and a Unix socket; append to `reached` what receives something."""
    tcp = socket.create_server(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", port))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(folder / "s"))
    unix.listen()
    (folder / "s").chmod(0o777)

    def receive(name: str, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                one.recv(9) if name == "udp" else one.accept()
                reached.append(name)

    for name, one in (("tcp", tcp), ("udp", udp), ("unix", unix)):
        threading.Thread(target=receive, args=(name, one), daemon=True).start()
    return port, [tcp, udp, unix]


@pytest.fixture
def targets() -> Iterator[Targets]:
    # Outside pytest's own folder, which other users cannot enter: the sandbox must stop attacks.
    with (
        tempfile.TemporaryDirectory(prefix="vaelab-targets-") as name,
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
            yield Targets(folder, process, port, reached)
        finally:
            for one in sockets:
                one.close()
            for path in ("/dev/shm", "/tmp", "/var/tmp"):
                for file in Path(path).glob(f"vaelab-{process.pid}*"):
                    file.unlink(missing_ok=True)
            process.kill()
            process.wait()


def hashes_of_repository() -> dict[str, str]:
    """Hash the course's files: sources, checks, grader, notebooks, tests."""
    folders = ("solutions", "autograder", "vae_utils", "notebooks", "tests")
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


class JudgeProcess:
    """A judge process that grades one submission after another; honest ones between attacks.

    Tier A is tested as the user who runs the tests. Tier B is tested as an ordinary user. This is
    harder to defend, because the submission then has the judge's uid.
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
        """Grade a submission in the judge process, as a batch does."""
        if self.process is None:
            command = [sys.executable, "-m", "attacks.judging", self.tier]
            self.process = subprocess.Popen(
                [*run_as.command_prefix("user"), *command] if self.tier == "B" else command,
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
        line = self.process.stdout.readline()
        assert line, f"{student} ended the judge: exit code {self.process.wait(10)}"
        answer = json.loads(line)
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
def judge_processes() -> Iterator[Callable[[str], JudgeProcess]]:
    """Return a function that returns the judge process of a tier, the same for all attacks."""
    with tempfile.TemporaryDirectory(prefix="vaelab-judge-") as folder:
        Path(folder).chmod(0o755)
        started: dict[str, JudgeProcess] = {}

        def of(tier: str) -> JudgeProcess:
            if tier not in started:
                (Path(folder) / tier).mkdir()
                started[tier] = JudgeProcess(tier, Path(folder) / tier)
            return started[tier]

        yield of
        for one in started.values():
            one.close()


@pytest.fixture
def judge_process(
    request: pytest.FixtureRequest, judge_processes: Callable[[str], JudgeProcess]
) -> JudgeProcess:
    """Return the judge process of one tier."""
    return judge_processes(request.param)


# An attack without its defence runs in its own process, forked from a fork server.


@pytest.fixture(scope="session")
def run_in_process() -> Callable[..., tuple[int | None, int]]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["attacks.naive"])

    def run(
        function: Callable[..., None], *arguments: Any, seconds: float
    ) -> tuple[int | None, int]:
        """Run a function in a process.

        Args:
            function: The function.
            arguments: Its arguments.
            seconds: The time after which the process is killed.

        Returns:
            The exit code, None if the process was killed; and the largest memory, in bytes.
        """
        process = context.Process(target=_run_quietly, args=(function, arguments))
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


def _run_quietly(function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Run a function without output, and then its exit handlers."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    import torch

    torch.set_num_threads(1)
    function(*arguments)
    atexit._run_exitfuncs()  # as at the end of any program; multiprocessing skips them


def as_text(body: dict[str, Any] | None) -> str:
    return json.dumps(body, ensure_ascii=False) if body else ""
