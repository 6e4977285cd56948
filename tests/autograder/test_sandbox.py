"""Each tier withstands its self-test, as root and as a user; each defence keeps something out."""

import json
import os
import signal
import struct
import subprocess
import sys
import warnings

import psutil
import pytest
from elsewhere import WHO, answer

from autograder.grading import judge
from autograder.protocol.remote import Submission
from autograder.quality import corpus
from autograder.records.results import without_times
from autograder.sandbox import bubblewrap, tiers, warm
from autograder.sandbox.bubblewrap import find
from autograder.sandbox.host import WorkerProcess
from autograder.sandbox.inside.hostile import ATTACKS
from autograder.sandbox.inside.seccomp import ARCHITECTURES, EVERYWHERE, WITHOUT_NAMESPACES, program
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox

A = Sandbox("A")
PROBE = (
    "import json, sys; from autograder.sandbox.tiers import probe; "
    "print(json.dumps(probe(sys.argv[1], frozenset(sys.argv[2:]))))"
)
# Tier C has limits and a clean environment too; the others are seen outside, or in other tests.
ELSEWHERE = {
    "fill_the_disk",
    "multiply",
    "see_the_judges_environment",
    "send_a_datagram",
    "trace_a_neighbour",
    "write_into_the_first_process",
}
ROOTS = {"be_root", "hold_a_capability", "write_where_programs_are"}
FORKED = """
import json
from autograder.host import Limits, WorkerProcess
from autograder.submission import Submission
with WorkerProcess(Limits()) as worker:
    submission = Submission(worker.ask, "none")
    submission.run("import os; pid, uid, caps = os.getpid(), os.getuid(), os.listdir('/proc')", "x")
    forked = worker._box.parent is None
    print(json.dumps([forked, submission.value("pid"), submission.value("uid")]))
"""


def test_python_in_a_writable_folder_is_shown_elsewhere(monkeypatch):
    """An empty folder covers /tmp: an environment that was made there would be gone."""
    python = "/tmp/course/.venv"
    monkeypatch.setattr(bubblewrap, "python_folders", lambda: [python])
    monkeypatch.setattr(bubblewrap.os.path, "exists", lambda path: True)
    words = bubblewrap.command("bwrap", 3, 4, 1 << 20, frozenset())
    at = words.index(python)
    assert words[at - 1 : at + 2] == ["--ro-bind", python, "/shown/tmp/course/.venv"]
    assert bubblewrap.shown_at("/opt/python") == "/opt/python"


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("tier", ["A", "B"])
def test_a_tier_holds(tier, who):
    assert answer(PROBE, tier, who=who) == []


@pytest.mark.parametrize(
    ("tier", "off", "possible"),
    [
        ("A", "files", ["read a secret", "read the checks", "write beside it"]),
        ("A", "files", ["reach a socket by path"]),
        ("A", "network", ["reach a socket by name"]),
        ("A", "network seccomp", ["connect"]),
        ("A", "seccomp", ["make a namespace", "talk by locks"]),
        ("A", "seccomp", ["hide memory in a file", "hide memory in a mapping"]),
        ("A", "rlimits", ["multiply"]),
        ("A", "processes uid", ["kill a neighbour", "signal everyone"]),
        ("B", "files", ["read a secret", "read the checks", "write beside it"]),
        ("B", "seccomp", ["make a namespace", "talk by locks"]),
        ("B", "seccomp rlimits", ["multiply"]),
        ("B", "seccomp", ["hide memory in a file", "hide memory in a mapping"]),
        ("B", "rlimits", ["fill the disk"]),
        ("B", "files seccomp uid", ["connect", "kill a neighbour", "signal everyone"]),
    ],
)
@pytest.mark.parametrize("who", WHO)
def test_without_its_defence_an_attack_succeeds(tier, off, possible, who):
    found = answer(PROBE, tier, *off.split(), who=who)
    for deed in possible:
        assert f"it could {deed}" in found


@pytest.mark.parametrize("who", [who for who in WHO if who == "root"])
@pytest.mark.parametrize("tier", ["A", "B"])
def test_root_gives_itself_up(tier, who):
    found = answer(PROBE, tier, "uid", who=who)
    assert "it could be root" in found
    assert "it could hold a capability" in found


@pytest.mark.parametrize("who", [who for who in WHO if who == "root"])
def test_without_walls_root_could_trace_what_it_sees(who):
    off = ("processes", "uid", "seccomp")
    assert "it could trace a neighbour" in answer(PROBE, "A", *off, who=who)


@pytest.mark.parametrize("warm", [True, False])
def test_the_process_that_watches_a_worker_is_closed_to_it(warm):
    """A process that is not (the worker's own child) is open to it, with the same code."""
    source = """
import os, signal
found = []
child = os.fork()
if not child:
    signal.pause()
for pid in (child, 1):
    try:
        open(f"/proc/{pid}/mem", "r+b").close()
        found.append(pid)
    except PermissionError:
        pass
found = [pid == child for pid in found]
"""
    assert run(source, Sandbox("A", warm=warm)) == (True,)


def test_the_self_test_tells_an_open_door_from_a_closed_one():
    """In the tier without walls nearly every attack comes off."""
    found = set(tiers.probe("C"))
    for attack in ATTACKS:
        if attack.__name__ not in ELSEWHERE | (ROOTS if os.getuid() else set()):
            assert f"it could {attack.__name__.replace('_', ' ')}" in found
    assert "something came out of it" in found


def test_no_tier_is_claimed_that_does_not_hold(monkeypatch):
    monkeypatch.setattr(tiers, "probe", lambda tier: ("it could fly",))
    tiers.best.cache_clear()
    with pytest.raises(tiers.SandboxError, match=r"Tier A .* could fly.*Tier B .* could fly"):
        Sandbox().resolved()
    assert Sandbox("C").resolved().tier == "C"
    monkeypatch.undo()
    tiers.best.cache_clear()


def test_bubblewrap_is_here():
    """Tier A is tested wherever this suite runs on Linux."""
    assert find()
    assert tiers.best() == "A"


@pytest.mark.parametrize("who", WHO)
def test_workers_are_forked_where_namespaces_nest(who):
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


@pytest.mark.parametrize("warm", [True, False])
def test_a_submission_finds_no_trace_of_the_one_before(warm):
    for _ in range(2):
        assert run(FIND + "\n" + TRACES.replace("found = 1", ""), Sandbox("A", warm=warm)) == 0


def test_without_namespaces_of_its_own_a_fork_finds_both_trace_and_warm_process():
    together = Sandbox("A", frozenset({"apart"}))
    run(TRACES, together)
    assert run(FIND, together) == 2
    assert run("import os" + NEIGHBOURS, together) >= 1
    # Nor does a fork that is apart see what those left behind.
    assert run(FIND) == 0
    assert run("import os" + NEIGHBOURS) == 0


def test_the_warm_process_and_its_forks_agree_with_a_cold_start():
    source = """
import random
import numpy as np
import torch
found = [torch.rand(2), float(np.random.rand()), random.random(), hash("x")]
found.append(torch.get_num_threads())
"""
    first = run(source)
    for other in (run(source), run(source, Sandbox("A", warm=False))):
        assert other[0].tolist() == first[0].tolist()
        assert other[1:] == first[1:]


def test_submissions_are_graded_alike_warm_and_cold(tmp_path):
    assignment = "00_reparameterization"
    for name, banked in list(corpus.load_corpus(assignment).items())[::6]:
        path = corpus.write(corpus.make(assignment, banked), tmp_path, name, assignment)
        results = [
            judge.grade(path, assignment, name, Limits(), Sandbox("A", warm=warm))
            for warm in (True, False)
        ]
        assert without_times(results[0]) == without_times(results[1])


def test_a_warm_process_that_dies_is_replaced():
    run("found = 1")
    assert warm._nursery
    before = warm._nursery[1].box.pid
    os.kill(before, signal.SIGKILL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run("found = 1") == 1
    assert warm._nursery[1].box.pid != before


KILLED_GROUP = """
import json, sys
from autograder.host import Ended, Limits, Sandbox, WorkerProcess
from autograder.sandbox import warm
from autograder.submission import Submission
with WorkerProcess(Limits(), Sandbox("A")):
    before = warm._nursery[1].box.parent.pid
try:
    with WorkerProcess(Limits(), Sandbox("A")) as worker:
        Submission(worker.ask, "none").run("import os; os.kill(0, 9)", "cell")
except Ended as end:
    said = str(end)
with WorkerProcess(Limits(), Sandbox("A")):
    print(json.dumps([said, warm._nursery[1].box.parent.pid == before]))
"""


@pytest.mark.parametrize("who", WHO)
def test_a_signal_to_its_group_reaches_nobody_else(who):
    said, unharmed = answer(KILLED_GROUP, who=who)
    assert "SIGKILL" in said
    assert unharmed


def test_two_forks_share_no_open_file():
    """Flags that one sets on what it got at its start are not there for the next."""
    flags = "import fcntl, os\nfound = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (0, 1, 2)]\n"
    spoil = "for fd in (0, 1, 2): fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)"
    assert run(flags + spoil) == run(flags + spoil)


def test_memory_in_sockets_is_counted():
    with WorkerProcess(Limits(), A) as worker:
        submission = Submission(worker.ask, "none")
        used = []
        for pairs in (0, 100):
            submission.run(
                f"import socket; pairs = [socket.socketpair() for _ in range({pairs})]", "cell"
            )
            used.append(worker._box.usage(worker.limits).memory)
    assert used[1] - used[0] > 200 * 400_000


def test_nothing_survives_a_judge_that_is_killed():
    source = """
import os, sys, time
from autograder.host import Limits, WorkerProcess
from autograder.submission import Submission
with WorkerProcess(Limits()) as worker:
    Submission(worker.ask, "none").run("import os\\nif not os.fork(): os.setsid()", "x")
    print(worker._box.pid, flush=True)
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


# Without walls


def test_the_tier_without_walls_runs_and_ends_what_it_started():
    with WorkerProcess(Limits(), Sandbox("C")) as worker:
        submission = Submission(worker.ask, "none")
        submission.run("import subprocess; child = subprocess.Popen(['sleep', '600']).pid", "cell")
        child = psutil.Process(submission.value("child"))
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


LEFT = """
import json, os, pathlib, subprocess, sys, tempfile
from autograder.host import Limits, Sandbox, WorkerProcess
from autograder.results import times_apart
from autograder.submission import Submission
gone = subprocess.Popen(["true"])
gone.wait()
stale = pathlib.Path(tempfile.gettempdir(), f"vaelab-worker-{gone.pid}-x")
stale.mkdir()
os.utime(stale, (0, 0))
with WorkerProcess(Limits(), Sandbox("B")) as worker:
    folder = worker._box.folder
    Submission(worker.ask, "none").run("import os; os.mkdir('a'); os.mkdir('a/b', 0)", "cell")
    there = os.path.isdir(folder)
print(json.dumps([there, os.path.exists(folder), stale.exists()]))
"""


@pytest.mark.parametrize("who", WHO)
def test_folders_are_deleted_whatever_is_in_them_and_whoever_left_them(who):
    assert answer(LEFT, who=who) == [True, False, False]


@pytest.mark.parametrize("who", WHO)
def test_tier_b_runs_submissions(who):
    source = FORKED.replace("WorkerProcess(Limits())", "WorkerProcess(Limits(), Sandbox('B'))")
    source = source.replace("import Limits,", "import Limits, Sandbox,").replace("/proc", ".")
    source = source.replace("worker._box.parent is None", "True")
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
from autograder.host import Limits, Sandbox, WorkerProcess
from autograder.results import times_apart
from autograder.submission import Raised, Submission
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


# The filter itself


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("namespaces", [True, False])
def test_every_jump_of_the_filter_lands_inside_it(machine, namespaces):
    code = list(struct.iter_unpack("HBBI", program(machine, namespaces=namespaces, pid=7)))
    assert len(code) < 4096
    for place, (kind, yes, no, _) in enumerate(code):
        if kind & 7 == 5:
            assert place + 1 + max(yes, no) < len(code)
    assert code[-1][:3] == (6, 0, 0)


def test_no_system_call_is_listed_twice():
    for which in range(2):
        for calls in (EVERYWHERE, WITHOUT_NAMESPACES):
            numbers = [n[which] for n in calls.values() if n[which] is not None]
            assert len(numbers) == len(set(numbers))


KILLED_SELF_TEST = """
import sys
from autograder.sandbox.tiers import _neighbour
with _neighbour() as (process, folder):
    print(process.pid, folder, flush=True)
    sys.stdin.read()
"""


def test_a_judge_that_is_killed_in_its_self_test_leaves_no_target_behind():
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
