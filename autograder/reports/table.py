"""The scores as a CSV table: one row for each student, one column for each task."""

import csv
import io
import unicodedata
from collections.abc import Sequence

from autograder.records.results import Override, Result, TaskScore
from autograder.records.text import printable

PENDING, NOT_GRADED = "pending", "not graded"
# A spreadsheet may read a text that starts so as a formula. Some accept other forms of a character,
# such as the full-width one; its normal form NFKC is one of these.
FORMULA = ("=", "+", "-", "−", "@", "\\")
# A program may split a line here, whatever the file's own separator is.
SEPARATORS = (",", ";", "|", "\t", '"', "'", ":")


def to_csv(results: Sequence[Result]) -> str:
    """Return the scores as CSV text.

    The points of a pending task are the word "pending", those of a task that an error of the grader
    left open are the words "not graded". `score` is the sum of the points, with the overrides. The
    columns after `look` say what a late submission loses, what remains, and what a person decided.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    tasks = [task.task for task in results[0].tasks] if results else []
    after = ["tier", "look", "penalty", "final", "late", "overrides"]
    writer.writerow(["student", "status", "score", "max_score", *tasks, *after])
    for result in results:
        points = [_points(task) for task in result.tasks]
        row = [result.status, f"{result.score:g}", f"{result.max_score:g}", *points, result.tier]
        late = plain(result.late.note) if result.late else ""
        counted = [f"{result.penalty:g}", f"{result.final:g}", late]
        decided = plain("; ".join(map(in_words, result.overrides)))
        writer.writerow(
            [plain(result.student), *row, plain(" ".join(result.look)), *counted, decided]
        )
    return text.getvalue()


def in_words(override: Override) -> str:
    """Return an override as a line of text, with both numbers."""
    before = override.before
    judged = NOT_GRADED if before.not_graded else f"{before.points:g}"
    instead = "" if before.pending else f" instead of {judged}"
    reason = f": {override.reason}" if override.reason else ""
    return (
        f"{override.task}: {override.points:g}{instead} ({override.author}, "
        f"{override.date} UTC{reason})"
    )


def _points(task: TaskScore) -> str:
    return PENDING if task.pending else NOT_GRADED if task.not_graded else f"{task.points:g}"


def plain(name: str) -> str:
    """Return a name that no spreadsheet reads as a formula and no terminal as a command.

    An apostrophe is put before each character that could start a formula: at the start, and behind
    each character at which a program could split the line.
    """
    text = printable(name)
    written, starts = [], not text.lstrip().startswith(FORMULA)
    if not starts:
        written.append("'")
    for character in text:
        form = unicodedata.normalize("NFKC", character)
        if starts and form.startswith(FORMULA):
            written.append("'")
        written.append(character)
        starts = form.endswith(SEPARATORS) or (starts and form.isspace())
    return "".join(written)


def from_plain(text: str) -> str:
    """Return the name that `plain` wrote as `text`: without the apostrophes that it added."""
    if text.startswith("'") and text[1:].lstrip().startswith(FORMULA):
        text = text[1:]
    following = [*text[1:], ""] if text else []
    return "".join(
        character
        for character, after in zip(text, following, strict=True)
        if character != "'" or not unicodedata.normalize("NFKC", after).startswith(FORMULA)
    )
