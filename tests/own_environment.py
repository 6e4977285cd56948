"""An environment of its own for a wheel; heavy packages come from this one."""

import site
import subprocess
import sys
from pathlib import Path


def make_environment(folder: Path) -> Path:
    """Make a virtual environment that has the packages of this one, and no checkout.

    Returns:
        The folder of its packages.
    """
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # A path in a .pth file adds its packages, not its own .pth files: not the checkout.
    (packages / "shared.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return packages


def install(wheel: Path, environment: Path) -> None:
    """Install a wheel, and nothing else, without a network."""
    command = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
    command += ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True)
