"""The set-up: what it does once, and the one line that it says when it can't."""

import ast
import importlib.util
import os
import re
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[1]
SCRIPT = REPOSITORY / "tools" / "bootstrap.py"


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, on a machine with disk enough."""
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "free_gb", lambda folder: 100.0)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository that needs one small package; there is a space in its path."""
    root = tmp_path / "VAE Lab"
    root.mkdir()
    (root / "requirements.txt").write_text("tiny==1\n")
    (root / "pyproject.toml").write_text('[project]\nname = "course"\nversion = "1"\n')
    return root


@pytest.fixture
def commands(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that would have run, on a machine where each succeeds at once."""
    seen: list[str] = []

    def pretend(command: list[str], venv: str) -> None:
        seen.append(" ".join(command[1:]))
        if "venv" in command:
            (Path(venv) / "bin").mkdir()
            (Path(venv) / "bin" / "python").symlink_to(sys.executable)

    monkeypatch.setattr(bootstrap, "run_logged", pretend)
    return seen


@pytest.fixture
def complaint(capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What the set-up said on stderr, which is one line."""

    def read() -> str:
        line, end, rest = capfd.readouterr().err.partition("\n")
        assert (end, rest) == ("\n", "")
        return line

    return read


def shim(folder: Path, name: str, script: str) -> str:
    """Put a program on disk that does as told."""
    path = folder / name
    path.write_text("#!/bin/sh\n" + script + "\n")
    path.chmod(0o755)
    return str(path)


def wheel(folder: Path, name: str) -> None:
    """Put version 1 of a package with nothing in it on disk, as pip takes it."""
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as archive:
        for file, text in {
            "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }.items():
            archive.writestr(f"{name}-1.dist-info/{file}", text)


# -- Which Python ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [(3, 6), (3, 10)])
def test_old_pythons_can_read_the_script(version):
    ast.parse(SCRIPT.read_text("utf-8"), feature_version=version)


def test_script_holds_nothing_that_python_2_stumbles_over():
    assert SCRIPT.read_bytes().isascii(), "Python 2.7 takes no other character without being told"
    for node in ast.walk(ast.parse(SCRIPT.read_text("utf-8"))):
        assert not isinstance(node, ast.JoinedStr | ast.AnnAssign | ast.Nonlocal | ast.NamedExpr)
        if isinstance(node, ast.FunctionDef):
            newer = [node.returns, *node.args.kwonlyargs, *(a.annotation for a in node.args.args)]
            assert not any(newer)


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15), (3, 10, 13), (3, 15, 0)])
def test_unsupported_python_is_told_in_one_line(bootstrap, root, complaint, version):
    assert bootstrap.main(str(root), version, candidates=["no-such-python"]) == 1
    assert complaint() == (
        "Set-up stopped: VAE Lab needs Python 3.11 to 3.14; "
        f"this is {version[0]}.{version[1]}, and there is no other on PATH."
    )
    assert not (root / ".venv").exists()


def test_search_survives_shims_that_fail(bootstrap, tmp_path):
    dead = shim(tmp_path, "python3.11", "echo 'no such version' >&2; exit 127")
    old = shim(tmp_path, "python3.12", "echo 3 10")
    good = shim(tmp_path, "python3.13", "echo 3 13")
    assert bootstrap.find_python((3, 9), ["no-such-python", dead, old, good]) == good


# -- What the machine lacks --------------------------------------------------------------------


def test_full_disk_is_told_before_anything_is_fetched(
    bootstrap, root, commands, complaint, monkeypatch
):
    monkeypatch.setattr(bootstrap, "free_gb", lambda folder: 1.25)
    assert bootstrap.main(str(root)) == 1
    assert re.fullmatch(r"Set-up stopped: .* needs about \d+ GB .* has 1\.2 GB\.", complaint())
    assert commands == []


def test_missing_ensurepip_is_told_with_the_package_to_install(bootstrap):
    with pytest.raises(bootstrap.SetupError, match=r"apt install python3\.\d+-venv"):
        bootstrap.check_modules(("venv", "ensurepip_that_debian_left_out"))


def test_package_that_does_not_exist_is_named_and_pip_quoted(bootstrap, root):
    command = [sys.executable, "-m", "pip", "install", "--no-index", "no-such-package==1.5"]
    with pytest.raises(bootstrap.SetupError, match=r"^there is no no-such-package==1\.5 ") as stop:
        bootstrap.run_logged(command, str(root))
    log = root / bootstrap.LOG
    assert str(log) in str(stop.value)
    assert "No matching distribution" in log.read_text()


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (
            "Collecting tiny==1\nERROR: Could not install packages due to an OSError: "
            "[Errno 28] No space left on device\n",
            "the disk is full",
        ),
        (
            "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken\n"
            "ERROR: No matching distribution found for tiny==1\n",
            "no network, or a poor one: pip couldn't fetch tiny==1",
        ),
        (
            "Collecting tiny==1\nCollecting big==2\nReadTimeoutError: Read timed out.\n",
            "no network, or a poor one: pip couldn't fetch big==2",
        ),
        (
            "Collecting tiny==1\n  error: subprocess-exited-with-error\nERROR: It won't build\n",
            "installing tiny==1 failed: It won't build",
        ),
        ("", "installing the packages failed: no reason given"),
    ],
    ids=["disk", "offline", "slow", "build", "silent"],
)
def test_cause_is_told_in_a_sentence(bootstrap, output, sentence):
    assert bootstrap.explain(output) == sentence


def test_long_downloads_are_announced(bootstrap, root, capfd):
    name = "torch-2.14.1-cp311-cp311-manylinux_2_28_x86_64.whl"
    shout = f"print('  Downloading {name} (555.4 MB)'); print('  Downloading six-1-py3.whl (9 kB)')"
    bootstrap.run_logged([sys.executable, "-c", shout], str(root))
    assert capfd.readouterr().out == "  downloading torch 2.14.1: 555.4 MB\n"


# -- Once, and wholly --------------------------------------------------------------------------


def test_second_run_does_nothing(bootstrap, root, commands, capfd):
    assert bootstrap.main(str(root)) == 0
    assert [command.split()[1] for command in commands] == ["venv", "pip", "pip"]
    commands.clear()
    capfd.readouterr()
    assert bootstrap.main(str(root), version=(3, 6)) == 0, "whichever Python asks"
    assert commands == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("earlier", ["no environment", "an older one"])
def test_half_finished_install_is_not_taken_for_a_whole_one(
    bootstrap, root, commands, monkeypatch, earlier
):
    if earlier == "an older one":
        bootstrap.main(str(root))
        (root / "requirements.txt").write_text("tiny==2\n")
    pretend = bootstrap.run_logged

    def killed(command: list[str], venv: str) -> None:
        pretend(command, venv)
        if "-e" in command:
            (Path(venv) / "lib").mkdir()
            raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap, "run_logged", killed)
    assert bootstrap.main(str(root)) == 1
    monkeypatch.setattr(bootstrap, "run_logged", pretend)
    commands.clear()
    assert bootstrap.main(str(root)) == 0
    assert "venv" in commands[0]
    assert not (root / ".venv" / "lib").exists(), "ruins of the first"


def test_changed_requirements_bring_it_up_to_date_in_place(bootstrap, root, commands):
    bootstrap.main(str(root))
    commands.clear()
    (root / "requirements.txt").write_text("tiny==2\n")
    assert bootstrap.main(str(root)) == 0
    assert [command.split()[1] for command in commands] == ["pip", "pip"]


def test_failed_update_is_tried_again_in_place(bootstrap, root, commands, monkeypatch, complaint):
    bootstrap.main(str(root))
    (root / "requirements.txt").write_text("tiny==2\n")
    pretend = bootstrap.run_logged

    def offline(command: list[str], venv: str) -> None:
        raise bootstrap.SetupError("no network")

    monkeypatch.setattr(bootstrap, "run_logged", offline)
    assert bootstrap.main(str(root)) == 1
    assert complaint() == "Set-up stopped: no network"
    monkeypatch.setattr(bootstrap, "run_logged", pretend)
    commands.clear()
    assert bootstrap.main(str(root)) == 0
    assert [command.split()[1] for command in commands] == ["pip", "pip"]


def test_moved_repository_gets_a_fresh_environment(bootstrap, root, commands):
    bootstrap.main(str(root))
    commands.clear()
    moved = root.rename(root.with_name("elsewhere"))
    assert bootstrap.main(str(moved)) == 0
    assert "venv" in commands[0]


def test_two_at_once_with_the_real_pip_install_once(bootstrap, root, monkeypatch, capfd):
    """All of it but the registry: both wheels lie in the folder, and course "builds" its own."""
    wheel(root, "tiny")
    wheel(root, "course")
    with (root / "pyproject.toml").open("a") as file:
        file.write('[build-system]\nrequires = []\nbuild-backend = "build"\nbackend-path = ["."]\n')
    (root / "build.py").write_text(
        "import shutil\n"
        "def build_editable(folder, *settings, **more):\n"
        "    return shutil.copy('course-1-py3-none-any.whl', folder).rpartition('/')[2]\n"
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", root.as_uri())

    codes: list[int] = []
    setups = [
        threading.Thread(target=lambda: codes.append(bootstrap.main(str(root)))) for _ in range(2)
    ]
    for setup in setups:
        setup.start()
    for setup in setups:
        setup.join()

    said = capfd.readouterr()
    assert (codes, said.err) == ([0, 0], "")
    assert said.out.count("Installing") == said.out.count("Set up in") == 1
    assert said.out.count("Another set-up is at work") == 1
    log = (root / ".venv" / bootstrap.LOG).read_text()
    assert "Successfully installed tiny-1" in log
    assert "Successfully installed course-1" in log
    assert not list((root / ".venv").glob("tmp"))


# -- make --------------------------------------------------------------------------------------


def test_every_make_target_says_what_it_does():
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    targets = re.search(r"^\.PHONY: (.+)", makefile, re.M).group(1).split()
    assert re.findall(r"^(\w+):.* ## \S", makefile, re.M) == targets


def test_ci_runs_what_make_test_runs():
    script = REPOSITORY / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("exec make test")
