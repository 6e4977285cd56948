"""Decides whether a submission is late, and what it loses."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from autograder.course.settings import LateRule
from autograder.records.results import Late

DAY = timedelta(days=1)


@dataclass(frozen=True)
class SubmissionTime:
    """When a submission was handed in.

    Attributes:
        time: The time; None if it is not known.
        source: Where the time comes from, in words.
        marked_late: Whether the learning platform says that it is late.
    """

    time: datetime | None
    source: str = ""
    marked_late: bool = False


def lateness(rule: LateRule | None, due: datetime | None, handed_in: SubmissionTime) -> Late | None:
    """Return what a submission loses because it is late.

    Args:
        rule: The late rule; None if late submissions lose nothing.
        due: When the submission was due for this student; None for no due date.
        handed_in: When it was handed in. If the time is not known, it loses nothing.
    """
    if due is None:
        return None
    marked = " The learning platform marks it as late." if handed_in.marked_late else ""
    if handed_in.time is None:
        note = f"It is not known when this was handed in; nothing was deducted.{marked}"
        return Late("", _text(due), 0.0, note)
    over = handed_in.time - due
    grace = timedelta(minutes=rule.grace_minutes if rule else 0)
    source = f" by the time {handed_in.source}"
    if over <= timedelta(0):
        return Late(_text(handed_in.time), _text(due), 0.0, f"In time,{source}.{marked}")
    words = f"{_duration(over)} late{source}"
    if rule is None or over <= grace:
        why = "within the grace period" if rule else "late submissions lose nothing"
        return Late(_text(handed_in.time), _text(due), 0.0, f"{words}; {why}.")
    days = math.ceil(over / DAY)
    fraction = round(min(days * rule.per_day, rule.most), 6)
    counted = f"{days} started day{'s' * (days > 1)} × {rule.per_day:.3g}"
    most = f", at most {rule.most:.3g}" if days * rule.per_day > rule.most else ""
    note = f"{words}: {counted}{most} = {fraction:.3g} of the earned points."
    return Late(_text(handed_in.time), _text(due), fraction, note)


def _text(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _duration(time: timedelta) -> str:
    minutes = max(1, round(time.total_seconds() / 60))
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"
