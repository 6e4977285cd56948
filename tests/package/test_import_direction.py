"""Imports between the folders run one way, as pyproject.toml states."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]


def lint(folder: Path) -> subprocess.CompletedProcess:
    """Test the contracts on the packages in `folder`."""
    return subprocess.run(
        [*COMMAND, "--config", str(folder / "pyproject.toml")],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": ""},
    )


def test_imports_run_one_way():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert "3 kept, 0 broken" in done.stdout


def test_an_import_in_the_other_direction_is_found(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__", "*.npz", "*.toml")
    for package in ("autograder", "vae_utils"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for module, line in (
        ("autograder/worker/worker.py", "from autograder.checks import registry"),
        ("autograder/checks/registry.py", "from autograder.sandbox import limits"),
        ("autograder/student/check.py", "from autograder.sandbox import limits"),
        ("vae_utils/training.py", "from autograder.records import results"),
    ):
        path = tmp_path / module
        text = path.read_text()
        path.write_text(f"{text}\n{line}\n")
        done = lint(tmp_path)
        path.write_text(text)
        assert done.returncode == 1, f"{module}: {done.stdout}"
        assert "BROKEN" in done.stdout
    assert lint(tmp_path).returncode == 0
