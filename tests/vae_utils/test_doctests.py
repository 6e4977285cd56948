"""Runs the examples of every docstring in the package."""

import doctest
import pkgutil
from importlib import import_module

import pytest

import vae_utils

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(vae_utils.__path__, "vae_utils.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_correct(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    module = import_module(name)
    # Examples use the public names as a notebook does, after importing them from the package.
    finder = doctest.DocTestFinder(recurse=True)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in finder.find(module):
        missing = {n for n in vae_utils.__all__ if n not in example.globs and uses(example, n)}
        example.globs.update({n: getattr(vae_utils, n) for n in missing})
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


def uses(example, name):
    return any(name in step.source for step in example.examples)
