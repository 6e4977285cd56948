"""Each tier passes its self-test as root and as a user, and each defence is needed."""

import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import psutil
import pytest
from run_as import WHO, answer

from autograder.grading import batch, judge
from autograder.grading.batch import BatchError
from autograder.protocol.remote import Raised, Submission
from autograder.quality import corpus
from autograder.records.results import without_times
from autograder.sandbox import allowed, bubblewrap, fork_server, layout, tiers
from autograder.sandbox.bubblewrap import find
from autograder.sandbox.host import WorkerProcess
from autograder.sandbox.inside.probes import ATTACKS
from autograder.sandbox.inside.seccomp import ALL_TIERS, ARCHITECTURES, WITHOUT_NAMESPACES, program
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox

A = Sandbox("A")
PROBE = (
    "import json, sys; from autograder.sandbox.tiers import probe; "
    "print(json.dumps(probe(sys.argv[1], frozenset(sys.argv[2:]))))"
)
# Tier C stops some of these too (limits, clean environment); other tests cover the rest.
NOT_IN_TIER_C = {
    "exceed_disk_limit",
    "exceed_process_limit",
    "read_judge_environment",
    "send_udp_datagram",
    "trace_outside_process",
    "write_to_init_memory",
}
ONLY_ROOT = {"run_as_root", "hold_capability", "write_to_python_folder"}
FORKED = """
import json
from autograder.sandbox.limits import Limits
from autograder.sandbox.host import WorkerProcess
from autograder.protocol.remote import Submission
with WorkerProcess(Limits()) as worker:
    submission = Submission(worker.ask, "none")
    submission.run("import os; pid, uid, caps = os.getpid(), os.getuid(), os.listdir('/proc')", "x")
    forked = worker._process.parent is None
    print(json.dumps([forked, submission.value("pid"), submission.value("uid")]))
"""


def test_python_in_a_writable_folder_is_mounted_elsewhere(monkeypatch):
    """In the sandbox, /tmp is empty: an environment in /tmp would be hidden."""
    python = "/tmp/course/.venv"
    monkeypatch.setattr(bubblewrap, "python_folders", lambda: [python])
    monkeypatch.setattr(bubblewrap.os.path, "exists", lambda path: True)
    words = bubblewrap.command("bwrap", 3, 4, 1 << 20, frozenset())
    at = words.index(python)
    assert words[at - 1 : at + 2] == ["--ro-bind", python, "/shown/tmp/course/.venv"]
    assert bubblewrap.shown_at("/opt/python") == "/opt/python"


def test_an_environment_that_is_reached_through_a_link_works():
    code = "import json; from autograder.sandbox.tiers import probe; print(json.dumps(probe('A')))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # /tmp is mounted elsewhere
        link = Path(folder, "environment")
        link.symlink_to(sys.prefix)
        python = link / Path(sys.executable).relative_to(sys.prefix)
        done = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("tier", ["A", "B"])
def test_every_attack_fails_in_a_tier(tier, who):
    assert answer(PROBE, tier, who=who) == []


@pytest.mark.parametrize(
    ("tier", "disabled", "possible"),
    [
        (
            "A",
            "files",
            ["read outside file", "read check sources", "write outside file"],
        ),
        ("A", "files", ["connect to socket file", "read images"]),
        ("B", "files", ["read images"]),
        ("A", "network", ["connect to abstract socket"]),
        ("A", "network seccomp", ["connect by tcp"]),
        ("A", "seccomp", ["create namespace", "lock shared file", "wait on shared page"]),
        ("A", "seccomp", ["create memory file", "create shared mapping"]),
        (
            "A",
            "seccomp",
            ["move memory into pipe", "move file into pipe", "enlarge pipe"],
        ),
        ("A", "rlimits", ["exceed process limit"]),
        ("A", "processes uid", ["kill outside process", "signal all processes"]),
        (
            "B",
            "files",
            ["read outside file", "read check sources", "write outside file"],
        ),
        ("B", "seccomp", ["create namespace", "lock shared file", "wait on shared page"]),
        ("B", "seccomp rlimits", ["exceed process limit"]),
        ("B", "seccomp", ["create memory file", "create shared mapping"]),
        ("B", "rlimits", ["exceed disk limit"]),
        (
            "B",
            "files seccomp uid",
            ["connect by tcp", "kill outside process", "signal all processes"],
        ),
    ],
)
@pytest.mark.parametrize("who", WHO)
def test_without_its_defence_an_attack_succeeds(tier, disabled, possible, who):
    found = answer(PROBE, tier, *disabled.split(), who=who)
    for attack in possible:
        assert f"An attack succeeded: {attack}." in found


@pytest.mark.parametrize("who", [who for who in WHO if who == "root"])
@pytest.mark.parametrize("tier", ["A", "B"])
def test_a_sandbox_started_by_root_drops_its_privileges(tier, who):
    found = answer(PROBE, tier, "uid", who=who)
    assert "An attack succeeded: run as root." in found
    assert "An attack succeeded: hold capability." in found


@pytest.mark.parametrize("who", [who for who in WHO if who == "root"])
def test_without_pid_namespace_root_can_trace_outside_processes(who):
    disabled = ("processes", "uid", "seccomp")
    found = answer(PROBE, "A", *disabled, who=who)
    assert "An attack succeeded: trace outside process." in found


@pytest.mark.parametrize("use_fork_server", [True, False])
def test_a_worker_cannot_open_the_memory_of_the_init_process(use_fork_server):
    """With the same code, it can open the memory of its own child."""
    source = """
import os, signal
opened = []
child = os.fork()
if not child:
    signal.pause()
for pid in (child, 1):
    try:
        open(f"/proc/{pid}/mem", "r+b").close()
        opened.append(pid)
    except PermissionError:
        pass
found = [pid == child for pid in opened]
"""
    assert run(source, Sandbox("A", use_fork_server=use_fork_server)) == (True,)


def test_the_self_test_reports_successful_attacks():
    """In tier C, which has no sandbox, nearly every attack succeeds."""
    found = set(tiers.probe("C"))
    for attack in ATTACKS:
        if attack.__name__ not in NOT_IN_TIER_C | (ONLY_ROOT if os.getuid() else set()):
            assert f"An attack succeeded: {attack.__name__.replace('_', ' ')}." in found
    assert "A message left the sandbox through a socket." in found


def test_a_tier_that_fails_its_self_test_is_not_used(monkeypatch):
    monkeypatch.setattr(tiers, "probe", lambda tier: (f"An attack succeeded in {tier}.",))
    tiers.best.cache_clear()
    with pytest.raises(
        tiers.SandboxError, match=r"Tier A .* succeeded in A\..*Tier B .* succeeded in B\."
    ):
        Sandbox().resolved()
    assert Sandbox("C").resolved().tier == "C"
    monkeypatch.undo()
    tiers.best.cache_clear()


def test_tier_a_works_on_this_machine():
    """These tests need bubblewrap; they fail without it."""
    assert find()
    assert tiers.best() == "A"


@pytest.mark.parametrize("who", WHO)
def test_workers_are_forks_of_the_fork_server(who):
    forked, pid, uid = answer(FORKED, who=who)
    assert forked
    assert pid == 2
    assert uid != 0


# One submission and the next


def run(source: str, sandbox: Sandbox = A):
    with WorkerProcess(Limits(), sandbox) as worker:
        submission = Submission(worker.ask, "none")
        submission.run(source, "cell")
        return submission.value("found")


TRACES = "open('/tmp/trace', 'w').write('x'); open('/dev/shm/trace', 'w').write('x'); found = 1"
FIND = "import os; found = os.path.exists('/tmp/trace') + os.path.exists('/dev/shm/trace')"
NEIGHBOURS = """
found = 0
for pid in os.listdir('/proc'):
    if pid.isdigit() and int(pid) not in (os.getpid(), os.getppid()):
        found += 1
"""


@pytest.mark.parametrize("use_fork_server", [True, False])
def test_a_submission_cannot_read_files_of_the_one_before(use_fork_server):
    for _ in range(2):
        assert (
            run(
                FIND + "\n" + TRACES.replace("found = 1", ""),
                Sandbox("A", use_fork_server=use_fork_server),
            )
            == 0
        )


def test_without_its_own_namespaces_a_fork_finds_files_and_the_fork_server():
    shared = Sandbox("A", frozenset({"fork_namespaces"}))
    run(TRACES, shared)
    assert run(FIND, shared) == 2
    assert run("import os" + NEIGHBOURS, shared) >= 1
    # A fork with its own namespaces does not see them.
    assert run(FIND) == 0
    assert run("import os" + NEIGHBOURS) == 0


def test_forked_and_cold_workers_return_the_same_values():
    source = """
import random
import numpy as np
import torch
found = [torch.rand(2), float(np.random.rand()), random.random(), hash("x")]
found.append(torch.get_num_threads())
"""
    first = run(source)
    for other in (run(source), run(source, Sandbox("A", use_fork_server=False))):
        assert other[0].tolist() == first[0].tolist()
        assert other[1:] == first[1:]


def test_forked_and_cold_workers_give_the_same_results(tmp_path):
    assignment = "00_reparameterization"
    for name, banked in list(corpus.load_corpus(assignment).items())[::15]:
        path = corpus.write(corpus.make(assignment, banked), tmp_path, name, assignment)
        results = [
            judge.grade(
                path, assignment, name, Limits(), Sandbox("A", use_fork_server=use_fork_server)
            )
            for use_fork_server in (True, False)
        ]
        assert without_times(results[0]) == without_times(results[1])


def test_a_killed_fork_server_is_replaced():
    run("found = 1")
    assert fork_server._server
    before = fork_server._server[1].process.pid
    os.kill(before, signal.SIGKILL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run("found = 1") == 1
    assert fork_server._server[1].process.pid != before


KILLED_GROUP = """
import json, sys
from autograder.protocol.ended import Ended
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox
from autograder.sandbox.host import WorkerProcess
from autograder.sandbox import fork_server
from autograder.protocol.remote import Submission
with WorkerProcess(Limits(), Sandbox("A")):
    before = fork_server._server[1].process.parent.pid
try:
    with WorkerProcess(Limits(), Sandbox("A")) as worker:
        Submission(worker.ask, "none").run("import os; os.kill(0, 9)", "cell")
except Ended as end:
    message = str(end)
with WorkerProcess(Limits(), Sandbox("A")):
    print(json.dumps([message, fork_server._server[1].process.parent.pid == before]))
"""


@pytest.mark.parametrize("who", WHO)
def test_a_signal_to_the_own_process_group_does_not_reach_the_fork_server(who):
    message, unharmed = answer(KILLED_GROUP, who=who)
    assert "SIGKILL" in message
    assert unharmed


def test_two_forks_share_no_open_file():
    """Flags that one fork sets on its open files are not set for the next fork."""
    flags = "import fcntl, os\nfound = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (0, 1, 2)]\n"
    set_flags = "for fd in (0, 1, 2): fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)"
    assert run(flags + set_flags) == run(flags + set_flags)


HIDE = """
import ctypes, fcntl, mmap, os
libc, pipes, found = ctypes.CDLL(None), [], 0
for _ in range(32):
    receive, send = os.pipe()
    fcntl.fcntl(send, fcntl.F_SETPIPE_SZ, 1 << 20)
    content = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE)
    content.write(b"x" * (1 << 20))
    address = ctypes.addressof(buffer := ctypes.c_char.from_buffer(content))
    found += libc.vmsplice(send, (ctypes.c_size_t * 2)(address, 1 << 20), 1, 0)
    del buffer
    content.close()
    pipes.append((receive, send))
"""


def test_memory_cannot_be_hidden_in_pipes():
    """Without the filter, 32 MiB are in pipes, and the judge measures less than 8 MiB of them.

    A pipe keeps the whole page of each slot: with huge pages, it is 512 times as much.
    """
    with (
        WorkerProcess(Limits(), A) as worker,
        pytest.raises(Raised, match="OSError"),
    ):
        Submission(worker.ask, "none").run(HIDE, "cell")
    with WorkerProcess(Limits(), Sandbox("A", frozenset({"seccomp"}))) as worker:
        submission = Submission(worker.ask, "none")
        submission.run("import ctypes, fcntl, mmap, os", "cell")
        before = worker._process.usage(worker.limits).memory
        submission.run(HIDE, "cell")
        assert submission.value("found") == 32 << 20
        assert worker._process.usage(worker.limits).memory - before < 8 << 20


def test_page_tables_are_counted():
    """Reading one byte of each 2 MiB takes no page of its own, but a page of page tables."""
    source = """
import mmap
wide = mmap.mmap(-1, 4 << 30, flags=mmap.MAP_PRIVATE)
wide.madvise(mmap.MADV_NOHUGEPAGE)
found = sum(wide[place] for place in range(0, 4 << 30, 2 << 20))
"""
    with WorkerProcess(Limits(), A) as worker:
        used = [worker._process.usage(worker.limits).memory]
        Submission(worker.ask, "none").run(source, "cell")
        used.append(worker._process.usage(worker.limits).memory)
    assert used[1] - used[0] > 8 << 20


def test_memory_in_sockets_is_counted():
    with WorkerProcess(Limits(), A) as worker:
        submission = Submission(worker.ask, "none")
        used = []
        for pairs in (0, 100):
            submission.run(
                f"import socket; pairs = [socket.socketpair() for _ in range({pairs})]", "cell"
            )
            used.append(worker._process.usage(worker.limits).memory)
    assert used[1] - used[0] > 200 * 400_000


def test_no_process_survives_a_killed_judge():
    source = """
import os, sys, time
from autograder.sandbox.limits import Limits
from autograder.sandbox.host import WorkerProcess
from autograder.protocol.remote import Submission
with WorkerProcess(Limits()) as worker:
    Submission(worker.ask, "none").run("import os\\nif not os.fork(): os.setsid()", "x")
    print(worker._process.pid, flush=True)
    time.sleep(600)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    judge = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, env=environment
    )
    assert judge.stdout
    first = psutil.Process(int(judge.stdout.readline()))
    inside = [
        first,
        *first.children(recursive=True),
        *psutil.Process(judge.pid).children(recursive=True),
    ]
    assert first.pid in {process.pid for process in inside}
    judge.kill()
    judge.wait()
    _, alive = psutil.wait_procs(inside, timeout=60)
    assert not alive
    judge.stdout.close()


# Tiers B and C


def test_tier_c_runs_submissions_and_ends_their_processes():
    with WorkerProcess(Limits(), Sandbox("C")) as worker:
        submission = Submission(worker.ask, "none")
        submission.run("import subprocess; child = subprocess.Popen(['sleep', '600']).pid", "cell")
        child = psutil.Process(submission.value("child"))
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


LEFT = """
import json, os, pathlib, subprocess, sys, tempfile
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox
from autograder.sandbox.host import WorkerProcess
from autograder.protocol.remote import Submission
gone = subprocess.Popen(["true"])
gone.wait()
stale = pathlib.Path(tempfile.gettempdir(), f"vaelab-worker-{gone.pid}-x")
stale.mkdir()
os.utime(stale, (0, 0))
with WorkerProcess(Limits(), Sandbox("B")) as worker:
    folder = worker._process.folder
    Submission(worker.ask, "none").run("import os; os.mkdir('a'); os.mkdir('a/b', 0)", "cell")
    there = os.path.isdir(folder)
print(json.dumps([there, os.path.exists(folder), stale.exists()]))
"""


@pytest.mark.parametrize("who", WHO)
def test_working_folders_are_deleted_also_those_of_killed_judges(who):
    assert answer(LEFT, who=who) == [True, False, False]


@pytest.mark.parametrize("who", WHO)
def test_tier_b_runs_submissions(who):
    source = FORKED.replace("WorkerProcess(Limits())", "WorkerProcess(Limits(), Sandbox('B'))")
    source = source.replace(
        "import json", "import json\nfrom autograder.sandbox.tiers import Sandbox"
    )
    source = source.replace("/proc", ".")
    source = source.replace("worker._process.parent is None", "True")
    _, _, uid = answer(source, who=who)
    assert uid != 0


def test_a_submission_in_tier_b_cannot_start_a_process_or_leave_its_folder():
    cells = {
        "import os; os.fork()": "PermissionError",
        "import subprocess; subprocess.run(['true'])": "PermissionError",
        "open('/tmp/x', 'w')": "PermissionError",
        "import os; os.listdir('/proc')": "PermissionError",
        "import os; os.chmod('/tmp', 0)": "PermissionError",
        "import socket; socket.socket()": "PermissionError",
        "import os; os.kill(os.getppid(), 0)": "PermissionError",
    }
    source = """
import json, sys
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox
from autograder.sandbox.host import WorkerProcess
from autograder.protocol.remote import Raised, Submission
kinds = []
with WorkerProcess(Limits(), Sandbox("B")) as worker:
    submission = Submission(worker.ask, "none")
    for cell in json.loads(sys.argv[1]):
        try:
            submission.run(cell, "cell")
            kinds.append(None)
        except Raised as error:
            kinds.append(error.kind)
print(json.dumps(kinds))
"""
    assert answer(source, json.dumps(list(cells)), who="user") == list(cells.values())


# What lies inside a folder that the sandbox shows


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Return a folder that the sandbox shows as one of Python's, with a clone of a course in it."""
    folder = tmp_path / "env"
    (folder / "src" / "course" / "solutions").mkdir(parents=True)
    (folder / "src" / "course" / "solutions" / "03.py").write_text("the answer")
    for path in (folder, *folder.rglob("*"), *folder.parents[:3]):
        path.chmod(0o755)
    python = allowed.python_folders()
    for module in (allowed, bubblewrap):
        monkeypatch.setattr(module, "python_folders", lambda: [*python, str(folder)])
    return folder


def test_a_course_inside_the_environment_is_found(environment, tmp_path):
    """A worker could read it there; in another folder it could not."""
    course, elsewhere = environment / "src" / "course", tmp_path / "elsewhere"
    shown = bubblewrap.shown_at(str(course / "solutions" / "03.py"))
    cold = Sandbox("A", use_fork_server=False)
    assert run(f"found = open({shown!r}).read()", cold) == "the answer"
    elsewhere.mkdir()
    link = tmp_path / "link"
    link.symlink_to(course)
    hidden = [course, course / "solutions", course / "solutions" / "03.py", elsewhere, link]
    assert layout.readable(A, hidden) == sorted(map(str, {*hidden} - {elsewhere}))
    with pytest.raises(BatchError, match=rf"could read {course}: .*Move these files"):
        batch.expect_hidden(A, [course, elsewhere])
    batch.expect_hidden(A, [elsewhere])
    batch.expect_hidden(Sandbox("C"), [course])


def test_the_graders_own_package_is_hidden_also_inside_the_environment(environment, monkeypatch):
    package = environment / "lib" / "autograder"
    (package / "checks").mkdir(parents=True)
    hidden = [package, package / "checks"]
    assert layout.readable(A, hidden) == sorted(map(str, hidden))
    covered = bubblewrap._allow_list
    tmpfs = ["--tmpfs", bubblewrap.shown_at(str(package))]
    monkeypatch.setattr(bubblewrap, "_allow_list", lambda size: covered(size) + tmpfs)
    assert layout.readable(A, hidden) == []


HIDDEN_IN_B = """
import json, sys
from pathlib import Path
from autograder.sandbox import layout
from autograder.sandbox.allowed import PACKAGE
from autograder.sandbox.tiers import Sandbox
paths = [Path("/usr/share"), PACKAGE / "checks", PACKAGE / "worker"]
print(json.dumps(layout.readable(Sandbox("B"), paths)))
"""


@pytest.mark.parametrize("who", WHO)
def test_what_a_worker_can_read_is_found_in_tier_b(who):
    assert answer(HIDDEN_IN_B, who=who) == [str(allowed.PACKAGE / "worker"), "/usr/share"]


MOUNTS = """\
21 1 254:0 / / rw shared:1 - ext4 /dev/vda rw
30 21 0:25 / /proc rw - proc proc rw
40 21 254:0 /home/ada/my\\040course /opt/env/course rw - ext4 /dev/vda rw
41 21 0:50 / /data rw - tmpfs tmpfs rw
"""


def test_a_second_mount_of_a_folder_is_an_alias():
    mounts = layout.read_mounts(MOUNTS)
    found = layout.aliases(Path("/home/ada/my course/solutions"), mounts)
    assert found == {"/home/ada/my course/solutions", "/opt/env/course/solutions"}
    assert "/home/ada/my course/x" in layout.aliases(Path("/opt/env/course/x"), mounts)
    assert layout.aliases(Path("/data/x"), mounts) == {"/data/x"}


# The system-call filter


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("namespaces", [True, False])
def test_every_jump_of_the_filter_is_inside_the_program(machine, namespaces):
    code = list(struct.iter_unpack("HBBI", program(machine, namespaces=namespaces, pid=7)))
    assert len(code) < 4096
    for place, (kind, yes, no, _) in enumerate(code):
        if kind & 7 == 5:
            assert place + 1 + max(yes, no) < len(code)
    assert code[-1][:3] == (6, 0, 0)


def test_no_system_call_is_listed_twice():
    for which in range(2):
        for calls in (ALL_TIERS, WITHOUT_NAMESPACES):
            numbers = [n[which] for n in calls.values() if n[which] is not None]
            assert len(numbers) == len(set(numbers))


KILLED_SELF_TEST = """
import sys
from autograder.sandbox.tiers import _target_process
with _target_process() as (process, folder):
    print(process.pid, folder, flush=True)
    sys.stdin.read()
"""


def test_a_judge_killed_in_its_self_test_leaves_no_target():
    judge_ = subprocess.Popen(
        [sys.executable, "-c", KILLED_SELF_TEST],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert judge_.stdout
    pid, folder = judge_.stdout.readline().split()
    target = psutil.Process(int(pid))
    assert os.path.isdir(folder)
    judge_.kill()
    judge_.wait()
    psutil.wait_procs([target], timeout=20)
    assert not target.is_running() or target.status() == psutil.STATUS_ZOMBIE
    assert not os.path.exists(folder)


def test_a_long_temporary_folder_does_not_stop_the_self_test(tmp_path):
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    source = "from autograder.sandbox.tiers import probe; print(probe('A'))"
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "()", done.stdout + done.stderr
