"""Grading on a real Dask cluster of this machine: the same results, also if a worker is killed."""

import os
import signal

import pytest

from autograder.build.notebooks import reference, starter
from autograder.grading import cluster
from autograder.grading.batch import BatchError, Entry, find_submissions
from autograder.grading.cluster import grade_on
from autograder.quality import corpus
from autograder.records.results import without_times
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import BEST

distributed = pytest.importorskip("distributed", reason="run `make setup`: requirements.txt has it")

A = "00_reparameterization"
LIMITS = Limits(call_seconds=20)


@pytest.fixture(scope="module")
def scheduler():
    """The address of a cluster of two worker processes."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as running:
        yield running.scheduler_address


@pytest.fixture
def entries(tmp_path) -> list[Entry]:
    wrong = [one for one in corpus.load_corpus(A).values() if one.loses][:6]
    for number, one in enumerate(wrong):
        corpus.write(corpus.make(A, one), tmp_path, f"s{number}", A)
    corpus.write(reference(A), tmp_path, "ada", A)
    corpus.write(starter(A), tmp_path, "bob", A)
    return find_submissions(tmp_path, A)


def test_the_results_are_those_of_this_machine_although_a_worker_is_killed(
    scheduler, entries, judges
):
    expected = {one.student: without_times(one) for one in judges.grade_all(entries, A)}
    with distributed.Client(scheduler) as client:
        processes = client.run(os.getpid)
    got = {}
    for result in grade_on(scheduler, entries, A, judges.limits, judges.sandbox):
        if not got:
            os.kill(next(iter(processes.values())), signal.SIGKILL)
        got[result.student] = without_times(result)
    assert got == expected
    assert len(got) == 8


def test_a_worker_with_other_files_or_versions_stops_the_batch(
    scheduler, entries, judges, monkeypatch
):
    hidden = [Entry("ada", entries[0].path.parent / "no" / "x.ipynb", entries[0].path)]
    with pytest.raises(BatchError, match="does not see"):
        list(grade_on(scheduler, hidden, A, judges.limits, judges.sandbox))
    used = cluster.versions
    monkeypatch.setattr(
        cluster, "versions", lambda *words: cluster.replace(used(*words), torch="0.4.1")
    )
    with pytest.raises(BatchError, match=r"0\.4\.1.*same environment"):
        list(grade_on(scheduler, entries[:1], A, judges.limits, judges.sandbox))


def test_no_scheduler_is_one_line(entries, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(BatchError, match=r"no Dask scheduler at tcp://127\.0\.0\.1:9"):
        list(grade_on("tcp://127.0.0.1:9", entries, A, LIMITS, BEST))
