"""A virtual environment of its own for clients whose requirements contradict ours; it is kept between runs."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

KEPT = Path.home() / ".cache" / "flywheel"
INSTALL_SECONDS = 240
RUN_SECONDS = 90


def client_python(requirements: Path) -> Path:
    """The Python that has them, made on first use. They have to be complete: pip resolves nothing.

    Skips the test where they cannot be installed; fails it in CI.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(requirements.read_bytes() + version.encode()).hexdigest()[:16]
    folder = KEPT / f"clients-{digest}"
    KEPT.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock", timeout=INSTALL_SECONDS + 60):
        if not (folder / "complete").exists():
            _install(folder, requirements)
    return folder / "bin" / "python"


def run_client(python: Path, *command: str) -> str:
    """What a script prints. Fails with what it says on standard error."""
    done = subprocess.run([python, *command], capture_output=True, text=True, timeout=RUN_SECONDS)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _install(folder: Path, requirements: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=INSTALL_SECONDS)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile", "--only-binary", ":all:"]
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", *options, "-r", str(requirements)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        trouble = done.stderr.strip() if done.returncode else ""
    except subprocess.TimeoutExpired:
        trouble = f"pip took more than {INSTALL_SECONDS} s"
    if trouble:
        shutil.rmtree(folder)
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse(f"the clients can't be installed: {trouble.splitlines()[-1]}")
    (folder / "complete").touch()
