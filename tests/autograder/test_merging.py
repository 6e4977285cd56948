"""Parts of a class that were graded apart become one output folder."""

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from autograder.cli import app
from autograder.grading.batch import BatchError
from autograder.grading.judge import unjudged
from autograder.records.overrides import Decision, append
from autograder.records.results import Versions
from autograder.reports.merging import merge
from autograder.reports.output_folder import OutputFolder

A = "00_reparameterization"
VERSIONS = Versions("course", "1", "2", "3", "limits", "inputs")


@pytest.fixture
def parts(tmp_path):
    """Two output folders with the same secret: ada and bob, bob and eve."""
    (tmp_path / "secret").write_bytes(b"s" * 32)

    def part(name: str, date: str, *students: str, secret: bool = True, assignment: str = A):
        output = OutputFolder(tmp_path / name)
        with output.locked():
            output.claim(assignment)
            output.secret(tmp_path / "secret" if secret else None)
            for student in students:
                result = unjudged(assignment, student, "graded", "")
                output.copy(replace(result, versions=replace(VERSIONS, date=date)))
            output.finish()
        return tmp_path / name

    return part


def test_all_students_are_there_and_the_later_result_counts(parts, tmp_path):
    one = parts("1", "2026-11-30 10:00:00", "ada", "bob")
    two = parts("2", "2026-11-30 11:00:00", "bob", "eve")
    append(one, Decision("2026-11-30 12:00:00", "me", "ada", "kl_divergence", 5.0, "why"))
    for _ in range(2):  # again: nothing changes
        results = merge([one, two], tmp_path / "all")
        assert [result.student for result in results] == ["ada", "bob", "eve"]
        assert results[0].score == 5
        assert results[1].versions.date == "2026-11-30 11:00:00"
    assert len((tmp_path / "all" / "overrides.jsonl").read_text().splitlines()) == 1
    assert (tmp_path / "all" / "scores.csv").read_text().count("\n") == 4
    assert (tmp_path / "all" / ".secret").read_bytes() == b"s" * 32
    pages = {path.name for path in (tmp_path / "all" / "feedback").iterdir()}
    assert pages == {"ada.html", "bob.html", "eve.html"}


def test_the_target_may_be_among_the_parts(parts, tmp_path):
    one, two = parts("1", "", "ada"), parts("2", "", "bob")
    assert [result.student for result in merge([one, two], one)] == ["ada", "bob"]
    with pytest.raises(BatchError, match="nothing to merge"):
        merge([one], one)


def test_parts_with_different_secrets_or_assignments_are_refused(parts, tmp_path):
    one = parts("1", "", "ada")
    with pytest.raises(BatchError, match="different secrets"):
        merge([one, parts("2", "", "bob", secret=False)], tmp_path / "all")
    with pytest.raises(BatchError, match="Merge folders of one assignment"):
        merge([one, parts("3", "", "bob", assignment="03_fc_vae")], tmp_path / "all")
    with pytest.raises(BatchError, match="has no results"):
        merge([one, tmp_path / "nothing"], tmp_path / "all")


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3"])
def test_an_impossible_part_is_one_line(shard, tmp_path):
    words = ["grade", str(tmp_path), "--assignment", A, "--out", str(tmp_path / "o")]
    done = CliRunner().invoke(app, [*words, f"--shard={shard}"])
    assert done.exit_code == 2
    assert "expected I/N" in done.output
