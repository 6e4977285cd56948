"""Create or update an environment, with uv where it is installed, else with pip.

Usage: `python3 tools/setup.py [ENVIRONMENT REQUIREMENTS]`, by default `.venv requirements.txt`.
It needs the standard library only.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

if not (3, 11) <= sys.version_info[:2] <= (3, 14):  # what the pinned packages support
    sys.exit(
        "Set-up stopped: VAE Lab needs Python 3.11 to 3.14; this is {}.{}. Name another Python, "
        "such as: make setup PYTHON=python3.12".format(*sys.version_info)
    )

ROOT = Path(__file__).resolve().parent.parent
LINUX = sys.platform.startswith("linux")  # PyTorch for Linux includes CUDA
DOWNLOAD_GB, DISK_GB, NEEDED_GB = (3, 6.5, 10) if LINUX else (0.5, 2, 3)
LARGE_DOWNLOAD = r"Downloading (\S+).* \((\d{3,}[\d.]* ?Mi?B|[\d.]+ ?Gi?B)\)"
CAUSES = {
    r"No space left on device|Disk quota exceeded": "the disk is full. Free some space",
    r"Retry\(total=0|Max retries|timed out|Connection reset|Failed to fetch|dns error": (
        "the package index cannot be reached. Check the network"
    ),
    r"ensurepip is not available": (
        "this Python cannot create environments. Install its venv module "
        "(Debian, Ubuntu: apt install python3-venv)"
    ),
}


class SetupError(Exception):
    """An error that stops the set-up. Its text is the one line that the user reads."""


def run(command, venv):
    """Run a command, append its output to `setup.log`, and report large downloads.

    Raises:
        SetupError: if the command fails; the text names the cause.
    """
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    # /tmp is often too small for the gigabytes that pip unpacks there.
    environment = dict(kept, TMPDIR=str(venv), PIP_USER="0", PIP_NO_INPUT="1")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
    log, output = venv / "setup.log", ""
    with log.open("a") as file, subprocess.Popen(command, **pipes, env=environment) as process:
        for line in process.stdout:
            text = line.decode("utf-8", "replace")
            output += text
            print(text, end="", file=file, flush=True)
            for package, size in re.findall(LARGE_DOWNLOAD, text):
                print(f"  downloading {package} ({size})", flush=True)
    if process.returncode:
        found = [cause for pattern, cause in CAUSES.items() if re.search(pattern, output)]
        found += re.findall(r"^\s*(?:error:|×) *(.+)", output, re.M | re.I)[-1:]
        raise SetupError(f"{(found or ['no reason given'])[0]}; then try again. The log is {log}.")


def install(root, venv, requirements, fresh):
    """Install the pinned packages and the project; `fresh` replaces the environment."""
    uv, python = shutil.which("uv"), str(venv / "bin" / "python")
    doing, tool = "Installing" if fresh else "Updating", "uv" if uv else "pip"
    print(
        f"{doing} PyTorch and the other packages in {venv.name} with {tool}: at most "
        f"{DOWNLOAD_GB} GB to download, {DISK_GB} GB on disk, 2 to 10 minutes.",
        flush=True,
    )
    if fresh:
        shutil.rmtree(venv, ignore_errors=True)
        free = shutil.disk_usage(root).free / 1e9
        if free < NEEDED_GB:
            raise SetupError(f"{root} has {free:.1f} GB of free disk; {NEEDED_GB} GB are needed.")
        venv.mkdir()
        base = getattr(sys, "_base_executable", sys.executable)  # not the .venv that is activated
        if uv:
            run([uv, "venv", "--seed", "--allow-existing", "--python", base, str(venv)], venv)
        else:
            run([base, "-m", "venv", str(venv)], venv)
    pip = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    run([*pip, "-r", str(requirements)], venv)
    run([*pip, "--no-deps", "--no-build-isolation", "-e", str(root)], venv)


def main(root=ROOT, environment=".venv", requirements="requirements.txt"):
    """Set up what is not set up yet, and return the exit status."""
    venv, requirements = root / environment, root / requirements
    stamp = venv / "setup-stamp"  # written last: an install without it was interrupted
    sources = requirements.read_bytes() + (root / "pyproject.toml").read_bytes()
    place, digest = str(venv), hashlib.sha256(sources).hexdigest()  # scripts contain the place

    def stamped():
        complete = stamp.exists() and (venv / "bin" / "python").exists()
        return stamp.read_text().splitlines() if complete else ["", ""]

    try:
        with requirements.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a second set-up waits here
            if stamped() == [place, digest]:
                return 0
            start, in_place = time.time(), stamped()[0] == place
            stamp.unlink(missing_ok=True)
            try:
                install(root, venv, requirements, not in_place)
            except SetupError:
                if in_place:  # pip undoes what fails; only a killed pip leaves a broken package
                    stamp.write_text(f"{place}\nout of date")
                raise
            stamp.write_text(f"{place}\n{digest}")
        print(f"Set up in {time.time() - start:.0f} s.", flush=True)
        return 0
    except (SetupError, OSError) as problem:
        print(f"Set-up stopped: {problem}", file=sys.stderr)
    except KeyboardInterrupt:
        print("Set-up interrupted. The next one repairs the environment.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(ROOT, *sys.argv[1:]))
