"""An assignment's rule on imports costs the tasks that break it, and says which import it was."""

import sys
import tempfile
from pathlib import Path

import pytest
import torch
import torch.testing

from autograder.checks.vocabulary import ImportRule
from autograder.course.sources import imported
from autograder.grading import judge
from autograder.quality import corpus
from autograder.quality.corpus import CorpusSubmission, Edit
from autograder.worker.imports import ForbiddenImport, guard

GIVEN = "import torch\nimport torch.nn.functional as F\nfrom torch import nn"


@pytest.fixture(autouse=True)
def torch_as_it_was(monkeypatch):
    """Forbidding a module changes its package, in this process for good."""
    monkeypatch.setattr(torch, "testing", sys.modules["torch.testing"])


def run(source: str, **rule) -> dict:
    names: dict = {}
    allowed = None if rule.get("further", True) else imported([GIVEN])
    guard(names, allowed, rule.get("forbidden", []))
    exec(GIVEN + "\n" + source, names)
    return names


@pytest.mark.parametrize(
    "source",
    [
        "import torch.nn as n; n.Linear(1, 1)",
        "from torch import Tensor, optim; optim.SGD",
        "import math",
        "from math import *",
    ],
)
def test_what_is_allowed_or_not_used_costs_nothing(source):
    run(source, further=False, forbidden=["torch.testing"])


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("import math; math.log(2)", "math"),
        ("import math as m; m.log(2)", "math"),
        ("from math import log; log(2)", "math.log"),
        ("from math import pi; 2 * pi", "math.pi"),
        ("import os.path; os.path.join('a')", "os.path"),
        ("def f():\n    import numpy\n    numpy.zeros(1)\nf()", "numpy"),
        ("class A:\n    from numpy import zeros\n    x = zeros(1)", "numpy.zeros"),
        ("torch.testing.assert_close(1, 1)", "torch.testing"),
        ("from torch import testing; testing.assert_close(1, 1)", "torch.testing"),
        ("import torch.testing; torch.testing.assert_close(1, 1)", "torch.testing"),
        ("from torch.testing import assert_close; assert_close(1, 1)", "torch.testing"),
    ],
)
def test_what_is_not_is_named_when_it_is_used(source, named, monkeypatch):
    with pytest.raises(ForbiddenImport, match=f"`{named}"):
        run(source, further=False, forbidden=["torch.testing"])
    monkeypatch.setattr(torch, "testing", sys.modules["torch.testing"])
    run(source)  # without the rule it works


def test_libraries_import_what_they_like():
    run("torch.optim.Adam([torch.zeros(1, requires_grad=True)]).step()", further=False)


def test_a_rule_by_itself_allows_everything():
    assert ImportRule() == ImportRule(further=True, forbidden=())


def test_a_forbidden_import_costs_the_task_that_uses_it():
    kl = Edit(
        "vae",
        "        return torch.sum(0.5 * (mu**2 + sigma**2 - 1) - logsigma, dim=1)\n",
        "        import torch.distributions as d\n        q = d.Normal(mu, sigma)\n"
        "        return d.kl_divergence(q, d.Normal(0.0, 1.0)).sum(1)\n",
    )
    made = corpus.make("08_elbo_vae", CorpusSubmission("distributions", "", edits=(kl,)))
    with tempfile.TemporaryDirectory() as folder:
        path = corpus.write(made, Path(folder), "ada", "08_elbo_vae")
        result = judge.grade(path, "08_elbo_vae", "ada", train=False)
    lost = {c.task for c in result.checks if c.outcome == "failed"}
    assert lost == {"kl_divergence"}
    assert {c.mistake for c in result.checks if c.outcome == "failed"} == {"forbidden_import"}
    assert "`torch.distributions`" in next(c.message for c in result.checks if c.mistake)
