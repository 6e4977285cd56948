"""Every reference runs without a display, makes all figures, and writes nothing to stderr."""

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from autograder.build.notebooks import reference
from autograder.course.sources import assignments, load_source


def _run(assignment: str) -> NotebookNode:
    notebook = nbformat.from_dict(reference(assignment))
    return NotebookClient(notebook, timeout=900, kernel_name="python3").execute()


@pytest.mark.parametrize("assignment", assignments())
def test_the_solution_runs_headless(assignment):
    notebook = _run(assignment)
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert [o.text for o in outputs if o.get("name") == "stderr"] == []
    figures = [o for o in outputs if "image/png" in o.get("data", {})]
    plotted = [c for c in load_source(assignment).of("run") if "plot_" in c.source]
    assert len(figures) >= len(plotted) > 0
    tests = {c.id: c for c in notebook.cells if c.id.startswith("test-")}
    assert len(tests) == len(load_source(assignment).of("test"))
    for cell in tests.values():
        shown, points = cell.outputs
        assert "all checks passed" in shown.data["text/plain"]
        assert "<div" in shown.data["text/html"]
        assert float(points.data["text/plain"]) == cell.metadata.nbgrader.points
