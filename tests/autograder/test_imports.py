"""A forbidden import loses the points of the tasks that use it, and the message names it."""

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
def restore_torch(monkeypatch):
    """Restore torch, because forbidding a module changes its package in this process."""
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
def test_an_allowed_or_unused_import_does_not_raise(source):
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
def test_a_forbidden_import_raises_when_it_is_used(source, named, monkeypatch):
    with pytest.raises(ForbiddenImport, match=f"`{named}"):
        run(source, further=False, forbidden=["torch.testing"])
    monkeypatch.setattr(torch, "testing", sys.modules["torch.testing"])
    run(source)  # without the rule it works


def test_libraries_may_import_any_module():
    run("torch.optim.Adam([torch.zeros(1, requires_grad=True)]).step()", further=False)


def test_the_default_rule_allows_all_imports():
    assert ImportRule() == ImportRule(further=True, forbidden=())


def test_a_forbidden_import_loses_the_points_of_the_task_that_uses_it():
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


def test_the_rule_holds_in_a_file_beside_the_notebook_and_the_file_may_be_imported(tmp_path):
    files = {
        "sums": ("def kl(mu, s, ls):\n    return (0.5 * (mu**2 + s**2 - 1) - ls).sum(1)\n", set()),
        "forbidden": (
            "import torch.distributions as d\n\ndef kl(mu, s, ls):\n    q = d.Normal(mu, s)\n"
            "    return d.kl_divergence(q, d.Normal(0.0, 1.0)).sum(1)\n",
            {"kl_divergence"},
        ),
    }
    find = "        return torch.sum(0.5 * (mu**2 + sigma**2 - 1) - logsigma, dim=1)\n"
    for name, (text, loses) in files.items():
        replaced = f"        import {name}\n        return {name}.kl(mu, sigma, logsigma)\n"
        edit = Edit("vae", find, replaced)
        made = corpus.make("08_elbo_vae", CorpusSubmission(name, "", edits=(edit,)))
        path = corpus.write(made, tmp_path, name, "08_elbo_vae")
        (path.parent / f"{name}.py").write_text(text)
        result = judge.grade(path, "08_elbo_vae", name, train=False)
        assert {c.task for c in result.checks if c.outcome == "failed"} == loses
