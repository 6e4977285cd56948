"""The public names: they exist, are documented, and are loaded at their first use."""

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import vae_utils

ROOT = Path(vae_utils.__file__).parent.parent
SLOW_TO_IMPORT = ["torch", "matplotlib", "seaborn", "sklearn", "scipy", "torchvision", "IPython"]


def loaded_after(code):
    """Run code in a new process and return the slow packages that it loaded."""
    code += f"\nimport sys; print([m for m in {SLOW_TO_IMPORT} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return run.stdout.strip()


def test_importing_the_package_loads_nothing_slow():
    assert loaded_after("import vae_utils") == "[]"


def test_data_and_training_helpers_load_torch_alone():
    own = [name for name, home in vae_utils._HOME.items() if not home.startswith("vae_utils.plots")]
    assert loaded_after(f"from vae_utils import {', '.join(own)}") == "['torch']"


@pytest.mark.parametrize("name", vae_utils.__all__)
def test_every_public_name_exists_and_is_documented(name):
    thing = getattr(vae_utils, name)
    assert thing is getattr(import_module(vae_utils._HOME[name]), name)
    assert inspect.getdoc(thing)
    assert name in dir(vae_utils)


def test_every_module_imports_without_modules_of_unix():
    """Windows has no resource, fcntl and os.fork."""
    code = (
        "import os, pkgutil, sys\n"
        "from importlib import import_module\n"
        "import torch, matplotlib.figure\n"  # what these import is not ours
        "sys.modules.update(dict.fromkeys(['resource', 'fcntl', 'pwd', 'grp', 'termios']))\n"
        "if hasattr(os, 'fork'): del os.fork\n"
        "import vae_utils\n"
        "for module in pkgutil.walk_packages(vae_utils.__path__, 'vae_utils.'):\n"
        "    import_module(module.name)\n"
        "print(vae_utils.load_dataset('mnist', quiet=True))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert run.stdout.startswith("ImageSet(mnist, 9,000 images")


def test_the_package_does_not_import_the_grader():
    for file in Path(vae_utils.__file__).parent.rglob("*.py"):
        code = file.read_text(encoding="utf-8")
        assert "import autograder" not in code, file
        assert "from autograder" not in code, file


def test_every_public_function_shows_an_example():
    functions = [getattr(vae_utils, name) for name in vae_utils.__all__]
    bare = [
        f.__name__ for f in functions if inspect.isfunction(f) and ">>>" not in (f.__doc__ or "")
    ]
    assert bare == []


def test_type_checkers_get_all_public_names():
    checked = Path(vae_utils.__file__).read_text().split("if TYPE_CHECKING:")[1]
    checked = checked.split("def __getattr__")[0]
    assert all(name in checked.replace(",", " ").split() for name in vae_utils.__all__)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'load_mnist'"):
        vae_utils.load_mnist  # noqa: B018
