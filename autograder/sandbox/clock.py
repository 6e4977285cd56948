"""A clock for time limits that counts only time in which a submission could run."""

import threading
import time

# A longer gap between two readings means that this process did not run.
MAX_GAP = 2.0
# The clock never stops: a worker that always waits for a core still reaches its limit.
LEAST_SPEED = 0.1


class Clock:
    """Counts the seconds in which a submission could run. Read it at least once a second.

    Two kinds of time must not count towards the limits of a submission:

    - A judge can be stopped, for example by Ctrl-Z, or with the whole machine. A gap of more than
      `MAX_GAP` seconds between two readings counts as no time.
    - A worker waits for a core while other programs use all cores. See `leave_out`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = time.monotonic()
        self._seconds = 0.0
        self._left_out = 0.0

    def __call__(self) -> float:
        """Return the seconds since the clock was made, without those that do not count."""
        with self._lock:
            return self._read() - self._left_out

    def leave_out(self, seconds: float) -> None:
        """Leave out seconds in which the worker waited for a core.

        Args:
            seconds: All such seconds since the clock was made. At most 90 % of the time is left
                out.
        """
        with self._lock:
            most = (1 - LEAST_SPEED) * self._read()
            self._left_out = max(self._left_out, min(seconds, most))

    def _read(self) -> float:
        now = time.monotonic()
        gap, self._last = now - self._last, now
        self._seconds += gap if gap <= MAX_GAP else 0.0
        return self._seconds
