"""A grader killed at any moment and started again goes on where it was."""

import os
import sys

import pytest

from attacks.killing import kill_and_resume

KILLS = int(os.environ.get("VAELAB_KILLS", "1"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can say what was left behind")
def test_killed_at_random_moments_it_loses_nothing_and_leaves_nothing(tmp_path):
    found = kill_and_resume(tmp_path, KILLS)
    assert len(found) == KILLS
    for killed in found:
        assert killed.problems == (), killed
