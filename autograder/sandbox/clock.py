"""A clock for time limits that stands still while this process is stopped."""

import threading
import time

# A longer gap between two readings means that this process did not run.
MAX_GAP = 2.0


class Clock:
    """Counts the seconds in which this process ran; call it to read it, at least once a second.

    A judge can be stopped, for example by Ctrl-Z, or with the whole machine. This time must not
    count towards the limits of a submission. A gap of more than `MAX_GAP` seconds between two
    readings counts as no time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = time.monotonic()
        self._seconds = 0.0

    def __call__(self) -> float:
        """Return the seconds in which this process ran since the clock was made."""
        with self._lock:
            now = time.monotonic()
            gap, self._last = now - self._last, now
            self._seconds += gap if gap <= MAX_GAP else 0.0
            return self._seconds
