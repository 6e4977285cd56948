"""The set-up installs once, repairs an interrupted install, and stops with a one-line error.

CI runs it with the real pip on a new machine. Here its commands do nothing.
"""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[1]
SCRIPT = REPOSITORY / "tools" / "setup.py"


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, on a machine with enough disk and without uv."""
    spec = importlib.util.spec_from_file_location("vaelab_setup", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "NEEDED_GB", 0)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a space in its path that needs one package."""
    root = tmp_path / "VAE Lab"
    root.mkdir()
    (root / "requirements.txt").write_text("tiny==1\n")
    (root / "pyproject.toml").write_text('[project]\nname = "course"\nversion = "1"\n')
    return root


@pytest.fixture
def commands(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that the script ran; each succeeds at once."""
    seen: list[str] = []

    def pretend(command: list[str], venv: Path) -> None:
        seen.append(" ".join(command))
        if "venv" in command:
            (venv / "bin").mkdir()
            (venv / "bin" / "python").symlink_to(sys.executable)

    monkeypatch.setattr(setup, "run", pretend)
    return seen


def test_an_unsupported_python_gets_one_line():
    ast.parse(SCRIPT.read_text("utf-8"), feature_version=(3, 6))  # an old Python can read it
    old = f"import runpy, sys; sys.version_info = (3, 10, 1); runpy.run_path({str(SCRIPT)!r})"
    done = subprocess.run([sys.executable, "-c", old], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"Set-up stopped: .* needs Python 3\.11 .* is 3\.10\. .*\n", done.stderr)


def test_a_full_disk_is_reported_before_the_download(setup, root, commands, monkeypatch, capsys):
    monkeypatch.setattr(setup, "NEEDED_GB", 1e6)
    assert setup.main(root) == 1
    assert re.fullmatch(
        r"Set-up stopped: .* GB of free disk; .* needed\.\n", capsys.readouterr().err
    )
    assert commands == []


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("ERROR: [Errno 28] No space left on device", "the disk is full"),
        ("Retry(total=0)\nERROR: No matching distribution found", "the package index cannot be"),
        ("error: Failed to fetch: `https://example.org`", "the package index cannot be reached"),
        ("ERROR: No matching distribution found for tiny==1", "No matching distribution found for"),
        ("", "no reason given"),
    ],
)
def test_a_failed_command_is_reported_with_its_cause(setup, root, output, cause):
    with pytest.raises(setup.SetupError, match=re.escape(cause)):
        setup.run([sys.executable, "-c", f"print({output!r}); exit(1)"], root)
    assert (root / "setup.log").read_text() == output + "\n"


@pytest.mark.parametrize("line", ["torch-2-cp311.whl (555.4 MB)", "torch (1.2GiB)"])
def test_a_large_download_is_reported(setup, root, capsys, line):
    setup.run([sys.executable, "-c", f"print('  Downloading {line}\\nDownloading a (9 kB)')"], root)
    assert capsys.readouterr().out == f"  downloading {line}\n"


def test_uv_is_used_where_it_is_installed(setup, root, commands, monkeypatch):
    monkeypatch.setattr(setup.shutil, "which", lambda name: "/bin/uv")
    assert setup.main(root) == 0
    assert [command.startswith("/bin/uv ") for command in commands] == [True] * 3


def test_a_second_run_does_nothing_and_a_change_updates_in_place(setup, root, commands, capsys):
    assert setup.main(root) == 0
    assert [bool(re.search("-m (venv|pip) ", command)) for command in commands] == [True] * 3
    assert re.fullmatch(r"Installing .* minutes\.\nSet up in \d+ s\.\n", capsys.readouterr().out)
    commands.clear()
    assert setup.main(root) == 0
    assert (commands, capsys.readouterr()) == ([], ("", ""))
    (root / "requirements.txt").write_text("tiny==2\n")
    assert setup.main(root) == 0
    assert [" pip " in command for command in commands] == [True] * 2
    commands.clear()
    assert setup.main(root.rename(root.with_name("moved"))) == 0
    assert " -m venv " in commands[0], "a moved environment is replaced"


@pytest.mark.parametrize(("end", "next_steps"), [("error", 2), ("interrupt", 3)])
def test_an_update_that_does_not_finish_is_repaired(
    setup, root, commands, monkeypatch, end, next_steps
):
    """After an error pip has undone its work; after an interrupt the environment is replaced."""
    setup.main(root)
    (root / "requirements.txt").write_text("tiny==2\n")

    def stop(command: list[str], venv: Path) -> None:
        raise setup.SetupError("no network") if end == "error" else KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(setup, "run", stop)
        assert setup.main(root) == 1
    commands.clear()
    assert setup.main(root) == 0
    assert len(commands) == next_steps


def test_every_make_target_has_a_description():
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    targets = re.search(r"^\.PHONY: (.+)", makefile, re.M).group(1).split()
    assert re.findall(r"^(\w+):.* ## \S", makefile, re.M) == targets


def test_ci_runs_make_test():
    script = REPOSITORY / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("exec make test")
