# ruff: noqa: UP020, UP024, UP032, RUF005
"""Set up ``.venv`` with all that the course needs: once and wholly, or one line says why not.

Run as ``python3 tools/bootstrap.py`` (``make`` does). It uses the standard library alone, and only
syntax that Python 2.7 and 3.6 can read: a Python too old for the course is told so in a sentence
instead of with a SyntaxError. Hence the types in docstrings, and no f-string in sight.
"""

import contextlib
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import time

OLDEST, NEWEST = (3, 11), (3, 14)
CANDIDATES = ["python3.11", "python3.12", "python3.13", "python3.14"]
SOURCES = ["requirements.txt", "pyproject.toml"]  # an environment is as old as these say
# As measured; NEEDED has room for downloads beside packages. Linux's PyTorch brings CUDA along.
DOWNLOAD_GB, KEPT_GB, NEEDED_GB = (3, 6.5, 10) if sys.platform.startswith("linux") else (0.5, 2, 3)

STAMP, LOCK, LOG = "vaelab-stamp", "vaelab-lock", "vaelab-setup.log"  # all inside .venv

DISK_FULL = r"No space left on device|Disk quota exceeded"
NO_NETWORK = r"Retry\(total=0,|Max retries exceeded|Read timed out|Connection reset|IncompleteRead"
BIG_DOWNLOAD = r"Downloading (?:\S*/)?(\S+?)-(\d[^-\s]*)-\S+ \((\d{3,}[\d.]* MB|[\d.]+ GB)\)"


class SetupError(Exception):
    """The set-up can't go on; the text is the one line that its user should read."""


def say(line):
    """Print a line at once, also into a pipe (a CI's log)."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def version_of(python):
    """Ask a Python for its version by running it, since one on PATH may be a shim that fails.

    Args:
        python (str): a path, or a name to be found on PATH.

    Returns:
        tuple[int, int] | None: major and minor version, or None if it doesn't run.
    """
    code = "import sys; print('%d %d' % sys.version_info[:2])"
    try:
        process = subprocess.Popen(
            [python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        output = process.communicate()[0]
    except OSError:
        return None
    return tuple(int(word) for word in output.split()) if process.returncode == 0 else None


def find_python(version, candidates):
    """Find a Python that the pinned packages support, where the running one isn't.

    Args:
        version (tuple[int, ...]): the version of the running Python.
        candidates (list[str]): names or paths to try, the best first.

    Returns:
        str: the first candidate that runs and is new enough.

    Raises:
        SetupError: if none is.
    """
    for python in candidates:
        found = version_of(python)
        if found and OLDEST <= found <= NEWEST:
            return python
    raise SetupError(
        "VAE Lab needs Python {}.{} to {}.{}; this is {}.{}, and there is no other on PATH.".format(
            *OLDEST + NEWEST + tuple(version[:2])
        )
    )


def fingerprint(root, venv):
    """Describe what an environment is made from.

    Args:
        root (str): the repository.
        venv (str): the environment.

    Returns:
        tuple[str, str]: what can't change without starting afresh (its Python and its place, which
        its scripts name), and a digest of the files that pip can bring it up to date with.
    """
    base = "Python {} in {}".format(version_of(os.path.join(venv, "bin", "python")), venv)
    digest = hashlib.sha256()
    for name in SOURCES:
        with io.open(os.path.join(root, name), "rb") as file:
            digest.update(file.read())
    return base, digest.hexdigest()


def read_stamp(venv):
    """Read the fingerprint that the last finished set-up left; None if there was none."""
    try:
        with io.open(os.path.join(venv, STAMP), encoding="utf-8") as file:
            return tuple(file.read().splitlines())
    except (IOError, OSError):  # two kinds of error in Python 2.7
        return None


def write_stamp(venv, stamp):
    """Leave the fingerprint: in one step, so that there is never half a stamp."""
    path = os.path.join(venv, STAMP)
    with io.open(path + ".new", "w", encoding="utf-8") as file:
        file.write("\n".join(stamp))
    os.rename(path + ".new", path)


@contextlib.contextmanager
def locked(venv):
    """Let one set-up at a time into an environment; a second waits until the first is done."""
    with io.open(os.path.join(venv, LOCK), "w") as file:
        with contextlib.suppress(ImportError, OSError):  # systems and disks that have no locks
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Another set-up is at work in .venv; waiting for it ...")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def wipe(venv):
    """Empty an environment, but for the lock that is being held."""
    for name in os.listdir(venv):
        path = os.path.join(venv, name)
        if name == LOCK:
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.remove(path)


def check_modules(modules=("venv", "ensurepip")):
    """Raise SetupError if this Python lacks what makes environments, as Debian's does at first."""
    import importlib.util  # here, as Python 2.7 has none and must get as far as its one line

    if not all(importlib.util.find_spec(name) for name in modules):
        raise SetupError(
            "this Python can't make environments: install its venv module"
            " (Debian, Ubuntu: apt install python{}.{}-venv) and try again.".format(
                *sys.version_info[:2]
            )
        )


def check_disk(venv, needed_gb=NEEDED_GB):
    """Raise SetupError if a fresh environment wouldn't fit on its disk."""
    free = free_gb(venv)
    if free < needed_gb:
        raise SetupError(
            "a fresh environment needs about {} GB of free disk, and {} has {:.1f} GB.".format(
                needed_gb, venv, free
            )
        )


def free_gb(folder):
    """Return the free disk at a folder, in GB."""
    return shutil.disk_usage(folder).free / 1e9


def explain(output):
    """Put pip's failure in one sentence that names the package.

    Args:
        output (str): all that pip printed.

    Returns:
        str: the cause, as well as it can be told.
    """
    collecting = re.findall(r"^\s*Collecting (\S+)", output, re.M)
    missing = re.findall(r"No matching distribution found for (\S+)", output)
    package = (missing or collecting or ["the packages"])[-1]
    errors = re.findall(r"^\s*error: (.+)", output, re.M | re.I)
    if re.search(DISK_FULL, output):
        return "the disk is full"
    if re.search(NO_NETWORK, output):  # before the next: offline, pip finds no distribution either
        return "no network, or a poor one: pip couldn't fetch " + package
    if missing:
        return "there is no {} for Python {}.{} on {} {}".format(
            package, *sys.version_info[:2] + (platform.system(), platform.machine())
        )
    return "installing {} failed: {}".format(package, errors[-1] if errors else "no reason given")


def environment(venv):
    """Return the variables to run pip under: the user's, but for those that would mislead it."""
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    temporary = os.path.join(venv, "tmp")  # /tmp is often too small for the gigabytes unpacked here
    return dict(variables, TMPDIR=temporary, PIP_USER="0", PIP_NO_INPUT="1")


def run_logged(command, venv):
    """Run a command with its output in the log, telling of the downloads that take long.

    Args:
        command (list[str]): program and arguments.
        venv (str): the environment's folder, where the log is.

    Raises:
        SetupError: if the command fails.
    """
    log = os.path.join(venv, LOG)
    lines = []
    with io.open(log, "a", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(venv),
            encoding="utf-8",
            errors="replace",
        )
        for line in process.stdout:
            lines.append(line)
            file.write(line)
            big = re.search(BIG_DOWNLOAD, line)
            if big:
                say("  downloading {} {}: {}".format(*big.groups()))
            elif line.startswith("Installing collected packages") and "," in line:
                say("  unpacking {} packages".format(line.count(",") + 1))
    if process.wait() != 0:
        raise SetupError("{} (pip's own words: {}).".format(explain("".join(lines)), log))


def start_afresh(root, venv):
    """Make an empty environment in place of what is there, if the machine can take one."""
    check_modules()
    wipe(venv)  # a killed pip leaves packages that look whole and aren't
    check_disk(venv)
    with io.open(os.path.join(root, SOURCES[0])) as file:
        others = sum(1 for line in file if line.strip() and not line.startswith("#")) - 1
    say(
        "Installing PyTorch and {} more packages, with what they need, into .venv"
        " ({} GB to download, {} GB on disk; takes minutes) ...".format(
            others, DOWNLOAD_GB, KEPT_GB
        )
    )
    # The base, since an activated .venv would be asked to make itself.
    run_logged([getattr(sys, "_base_executable", sys.executable), "-m", "venv", venv], venv)


def install_packages(root, venv):
    """Let pip install the requirements, and the repository itself as editable."""
    temporary = os.path.join(venv, "tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    os.mkdir(temporary)
    pip = [os.path.join(venv, "bin", "python"), "-m", "pip", "install"]
    pip += ["--disable-pip-version-check", "--progress-bar=off"]
    if free_gb(venv) < NEEDED_GB + DOWNLOAD_GB:
        pip.append("--no-cache-dir")  # it would hold the downloads a second time
    run_logged(pip + ["-r", os.path.join(root, SOURCES[0])], venv)
    run_logged(pip + ["--no-deps", "-e", root], venv)
    shutil.rmtree(temporary, ignore_errors=True)


def install(root, venv):
    """Make the environment, or bring a finished one up to date.

    Args:
        root (str): the repository.
        venv (str): the environment's folder, which exists.

    Raises:
        SetupError: if something is in the way.
    """
    start = time.time()
    stamp = read_stamp(venv)
    usable = stamp is not None and stamp[0] == fingerprint(root, venv)[0]
    if usable:
        say("Bringing .venv up to date ...")
        os.remove(os.path.join(venv, STAMP))  # from here until the end it is half finished
    else:
        start_afresh(root, venv)
    try:
        install_packages(root, venv)
    except SetupError:
        if usable:
            write_stamp(venv, stamp)  # pip undoes what fails; only a killed one leaves ruins
        raise
    write_stamp(venv, fingerprint(root, venv))
    say("Set up in {:.0f} s.".format(time.time() - start))


def main(root, version=tuple(sys.version_info), candidates=CANDIDATES):
    """Set up what isn't set up yet.

    Args:
        root (str): the repository.
        version (tuple[int, ...]): the version of the running Python.
        candidates (list[str]): other Pythons to try if that one won't do.

    Returns:
        int: the exit status.
    """
    venv = os.path.join(root, ".venv")
    try:
        if read_stamp(venv) == fingerprint(root, venv):
            return 0
        if not OLDEST <= tuple(version[:2]) <= NEWEST:
            python = find_python(version, candidates)
            os.execvp(python, [python, os.path.abspath(__file__)])
        os.makedirs(venv, exist_ok=True)
        with locked(venv):
            if read_stamp(venv) != fingerprint(root, venv):  # unless another make has just done it
                install(root, venv)
        return 0
    except (SetupError, OSError) as problem:
        sys.stderr.write("Set-up stopped: {}\n".format(problem))
    except KeyboardInterrupt:
        sys.stderr.write("Set-up interrupted; the next one starts afresh.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
