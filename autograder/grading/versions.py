"""States with what a submission is graded, in words that an instructor can read."""

import hashlib
from importlib.metadata import version
from platform import python_version

from autograder.course.settings import course_file
from autograder.records.results import Versions
from autograder.sandbox.limits import Limits

FINGERPRINT_DIGITS = 12


def versions(limits: Limits, secret: bytes) -> Versions:
    """Return the versions of everything that takes part in grading, without a date.

    Args:
        limits: The limits of each submission.
        secret: The secret of the random inputs.
    """
    course = course_file()
    return Versions(
        course=f"{course.title} {course.version}".strip(),
        vaelab=version("vaelab"),
        torch=version("torch"),
        python=python_version(),
        limits=f"{limits.seconds:g} s, {limits.call_seconds:g} s a call, {limits.memory_mib} MiB",
        inputs=fingerprint(secret),
    )


def fingerprint(secret: bytes) -> str:
    """Return digits that tell two secrets apart and reveal neither."""
    return hashlib.sha256(b"fingerprint of " + secret).hexdigest()[:FINGERPRINT_DIGITS]
