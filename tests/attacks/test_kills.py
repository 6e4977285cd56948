"""A grader that was killed and is started again keeps its results and grades the rest."""

import os
import sys

import pytest

from attacks.killing import kill_and_resume

KILLS = int(os.environ.get("VAELAB_KILLS", "1"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists orphaned processes")
def test_a_killed_grader_keeps_its_results_and_leaves_nothing(tmp_path):
    found = kill_and_resume(tmp_path, KILLS)
    assert len(found) == KILLS
    for killed in found:
        assert killed.problems == (), killed
