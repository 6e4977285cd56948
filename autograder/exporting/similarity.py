"""Compares the code of submissions pair by pair, and shows the passages that two share.

copydetect finds them by winnowing, the method of MOSS: names are ignored, and so are comments. Code
of the starter and code that many submissions have in common do not count. Submissions with the same
code form a group: it is listed whatever its size, and compared with others as one. The page gives
no verdict: that two programs are similar can have many reasons.
"""

import io
import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from autograder.course.regions import without_solution
from autograder.course.sources import load_source
from autograder.grading.batch import Entry
from autograder.grading.notebook import UnreadableError, as_run, open_notebook
from autograder.records.errors import UserError
from autograder.records.text import printable

# Passages of this many characters or more count, after names are replaced: the default of
# copydetect.
PASSAGE = 25
# A passage is common, and does not count, if more submissions than this share have it.
COMMON_SHARE, COMMON_LEAST = 0.1, 3
NOTHING_OWN = "It has no code beyond the starter's."
ALL_COMMON = "More than {} submissions have each passage of its code."


class SimilarityError(UserError):
    """The submissions cannot be compared; the message says what to do."""


@dataclass(frozen=True)
class Side:
    """One submission of a pair.

    Attributes:
        student: The student's name.
        share: The part of the student's own code that the other one has too, from 0 to 1.
        lines: The lines of the code, each with whether it is in a passage that both have.
    """

    student: str
    share: float
    lines: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Pair:
    """Two submissions with passages in common.

    Attributes:
        left: One of them.
        right: The other one.
    """

    left: Side
    right: Side

    @property
    def share(self) -> float:
        """The mean of both shares, by which pairs are ranked."""
        return (self.left.share + self.right.share) / 2


@dataclass(frozen=True)
class Compared:
    """What was found.

    Attributes:
        pairs: The most similar pairs, the most similar one first. Of each group, they have the pair
            of the first two students, and the first student in pairs with others.
        groups: The students of each group with the same code, the largest group first.
        count: The number of submissions that were compared.
        most_common: In how many submissions a passage may be and still count; a group is one.
        left_out: Pairs of a student and the reason why the submission was not compared.
    """

    pairs: tuple[Pair, ...]
    groups: tuple[tuple[str, ...], ...]
    count: int
    most_common: int
    left_out: tuple[tuple[str, str], ...]


def own_code(entry: Entry, assignment: str) -> str:
    """Return the text of the cells that a student wrote or changed.

    Raises:
        UnreadableError: If the notebook cannot be read.
        FileNotFoundError: If there is none.
    """
    cells = [cell for cell in open_notebook(entry.path, assignment).cells if cell.seconds]
    return printable("\n\n".join(as_run(cell).source for cell in cells), keep="\n\t")


def compare(entries: Sequence[Entry], assignment: str, most: int = 50) -> Compared:
    """Compare all pairs of submissions.

    Args:
        entries: The submissions.
        assignment: The assignment's name.
        most: The largest number of pairs to return.

    Raises:
        SimilarityError: If copydetect is not installed.
    """
    try:
        import copydetect
    except ImportError as error:
        raise SimilarityError(
            "The package copydetect is missing. Install what a grader needs: pip install "
            "'vaelab[grade]'."
        ) from error
    codes, left_out = {}, []
    for entry in entries:
        try:
            codes[entry.student] = own_code(entry, assignment)
        except FileNotFoundError:
            left_out.append((entry.student, "There is no notebook."))
        except (UnreadableError, OSError) as error:
            left_out.append((entry.student, str(error)))
    prints = {name: _print(copydetect, code) for name, code in codes.items()}
    starter = "\n\n".join(
        without_solution(cell)
        for cell in load_source(assignment).cells
        if cell.kind == "code" and cell.role != "test"
    )
    given = set(_print(copydetect, starter).hashes)
    same: dict[str, list[str]] = defaultdict(list)
    for name in sorted(prints):
        if prints[name].hashes <= given:
            left_out.append((name, NOTHING_OWN))
            del prints[name]
        else:
            same[_tokens(prints[name])].append(name)
    count = len(prints)
    groups = sorted((tuple(g) for g in same.values() if len(g) > 1), key=lambda g: (-len(g), g))
    found = []
    for one, other, *_ in groups:
        both = [_print(copydetect, codes[name]) for name in (one, other)]
        for each in both:
            _forget(copydetect, each, given)
        _, shares, slices = copydetect.compare_files(*both)
        found.append((one, other, shares, slices))
    prints = {names[0]: prints[names[0]] for names in same.values()}
    often = Counter(passage for one in prints.values() for passage in one.hashes)
    most_common = max(COMMON_LEAST, int(COMMON_SHARE * len(prints)))
    common = {passage for passage, number in often.items() if number > most_common}
    for name in sorted(prints):
        _forget(copydetect, prints[name], given | common)
        if not prints[name].hashes:
            alone = len(same[_tokens(prints[name])]) == 1
            left_out += [(name, ALL_COMMON.format(most_common))] * alone
            count -= alone
            del prints[name]
    for one, other in itertools.combinations(sorted(prints), 2):
        overlap, shares, slices = copydetect.compare_files(prints[one], prints[other])
        if overlap:
            found.append((one, other, shares, slices))
    found.sort(key=lambda pair: (-sum(pair[2]), pair[0], pair[1]))
    pairs = tuple(
        Pair(
            *(
                Side(name, min(float(share), 1.0), _lines(codes[name], where))
                for name, share, where in zip((one, other), shares, slices, strict=True)
            )
        )
        for one, other, shares, slices in found[:most]
    )
    return Compared(pairs, tuple(groups), count, most_common, tuple(left_out))


def _print(copydetect: Any, code: str) -> Any:
    """Return the fingerprint of a text. It has every passage: the result is the same each time."""
    return copydetect.CodeFingerprint(
        "code.py", PASSAGE, 1, language="python", fp=io.StringIO(code)
    )


def _tokens(one: Any) -> str:
    """Return the tokens of a program without names, comments and texts, such as docstrings."""
    # copydetect writes V for a name, F for a function and S for a text.
    return str(one.filtered_code).replace("S", "")


def _forget(copydetect: Any, one: Any, passages: set[int]) -> None:
    """Remove passages from a fingerprint.

    copydetect's own argument `boilerplate` also removes a passage that a text has twice.
    """
    one.hashes = one.hashes - passages
    one.hash_idx = {k: v for k, v in one.hash_idx.items() if k in one.hashes}
    length = len(one.filtered_code)
    one.token_coverage = copydetect.utils.get_token_coverage(one.hash_idx, PASSAGE, length)


def _lines(code: str, slices: Any) -> tuple[tuple[str, bool], ...]:
    """Return the lines of a text, each with whether a slice has a part of it."""
    spans = list(zip(*(map(int, ends) for ends in slices), strict=True))
    lines, start = [], 0
    for line in code.splitlines(keepends=True):
        end = start + len(line)
        text = line.rstrip("\n")
        shared = bool(text.strip()) and any(a < end and start < b for a, b in spans)
        lines.append((text, shared))
        start = end
    return tuple(lines)


def page(compared: Compared, assignment: str) -> str:
    """Return the page as HTML; it loads nothing from elsewhere."""
    loader = ChoiceLoader(
        [PackageLoader("autograder.exporting"), PackageLoader("autograder.reports")]
    )
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    values: Mapping[str, object] = {
        "compared": compared,
        "assignment": assignment,
        "title": load_source(assignment).title,
    }
    return environment.get_template("similar.html").render(**values) + "\n"
