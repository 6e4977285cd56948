"""Merges output folders of the same assignment, such as those of a job array."""

from collections.abc import Sequence
from pathlib import Path

from autograder.grading.batch import BatchError
from autograder.records.overrides import append, by_log, read_log
from autograder.records.results import Result
from autograder.records.text import printable
from autograder.reports.output_folder import OutputFolder


def merge(parts: Sequence[Path], into: Path) -> list[Result]:
    """Merge output folders into one; the parts stay as they are.

    Of two results of one student, the one that was graded later is taken. The decisions of persons
    are taken from all logs.

    Args:
        parts: The output folders.
        into: The folder that gets all results. It may have results already, which take part.

    Returns:
        All results, sorted by student.

    Raises:
        BatchError: If a part has no results, if the parts belong to different assignments or have
            different secrets, or if a file cannot be written.
        OverrideError: If a log is damaged.
    """
    sources = [OutputFolder(part) for part in parts if part.resolve() != into.resolve()]
    if not sources:
        raise BatchError(f"There is nothing to merge into {into} but itself. Name other folders.")
    target = OutputFolder(into)
    found = [source.stored() for source in sources]
    assignment = found[0][0].assignment
    for source, results in zip(sources, found, strict=True):
        if results[0].assignment != assignment:
            raise BatchError(
                f"{sources[0].folder} has results of {assignment}, {source.folder} of "
                f"{printable(results[0].assignment, 100)}. Merge folders of one assignment only."
            )
    with target.locked():
        target.claim(assignment)
        secrets = {source.secret() for source in sources}
        if target.has_secret:
            secrets.add(target.secret())
        if len(secrets) > 1:
            raise BatchError(
                "The folders have different secrets, so their random inputs differ. Set `secret` "
                "in the course file, and grade the parts again with it."
            )
        target.secret(sources[0].secret_file)
        has_results = (into / "results").is_dir() and any((into / "results").glob("*.json"))
        every = [
            *(target.stored() if has_results else []),
            *(one for part in found for one in part),
        ]
        known = set(read_log(into))
        decisions = {one for source in sources for one in read_log(source.folder)} - known
        for decision in sorted(decisions, key=lambda one: one.date):
            with target.writing():
                append(into, decision)
        target.adjust = by_log(into)
        latest: dict[str, Result] = {}
        for result in sorted(every, key=_date):
            latest[result.student] = result
        for result in latest.values():
            target.copy(result)
        return target.finish()


def _date(result: Result) -> str:
    return result.versions.date if result.versions else ""
