"""Small platforms: a real embedded Valkey, and services that only say that they are ready."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from shared.config import Settings, child_environment
from shared.embedded.child import ChildPlan
from shared.embedded.orphans import MARK, marked
from shared.embedded.plan import PlatformPlan
from shared.embedded.ports import Ports
from shared.embedded.state import PlatformState
from shared.embedded.valkey import EmbeddedValkey

ROOT = Path(__file__).parents[3]
SERVICE = """
import json, os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if {grandchild}:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(json.dumps({{"event": "hello", "level": "info", "service": {name!r}}}), flush=True)
print(json.dumps({{"service": {name!r}, "address": None, "metrics": "http://x/metrics", "pid": os.getpid()}}), flush=True)
while True:
    time.sleep(0.05)
"""


def service(home: Path, name: str, *, script: str = "", grandchild: bool = False) -> ChildPlan:
    text = script or SERVICE.format(name=name, grandchild=grandchild)
    return ChildPlan(name, [sys.executable, "-c", text], {**child_environment(), MARK: str(home)})


def small_plan(settings: Settings, *services: ChildPlan) -> PlatformPlan:
    """An embedded Valkey and the given services; two that work when none is given."""
    valkey = EmbeddedValkey(settings.home, Ports().free())
    queue = ChildPlan("valkey", valkey.prepare(), {**child_environment(), MARK: str(settings.home)}, probe=valkey.ping)
    chosen = services or (service(settings.home, "one"), service(settings.home, "two", grandchild=True))
    names = [plan.name for plan in chosen]
    return PlatformPlan(
        settings.home,
        valkey.address,
        dict.fromkeys(names),
        dict.fromkeys(names, "127.0.0.1:1"),
        (queue,),
        tuple(chosen),
    )


def run_manager(home: Path) -> "subprocess.Popen[bytes]":
    """A manager with a small plan in a process of its own."""
    script = (
        "import sys, pathlib\n"
        "from tests.integration.embedded.platforms import small_plan\n"
        "from shared.config import load_settings\n"
        "from shared.embedded.manager import Manager\n"
        "from shared.errors import FlywheelError\n"
        "try:\n"
        "    Manager(load_settings(), plan=small_plan).run()\n"
        "except FlywheelError as error:\n"
        "    sys.exit(f'error: {error.message}')\n"
    )
    environment = {**child_environment(home=home), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", script], env=environment, cwd=ROOT, stderr=subprocess.PIPE)


def finish(manager: "subprocess.Popen[bytes]") -> int:
    """Waits for a manager's end; returns its exit code."""
    manager.communicate(timeout=30)
    return manager.returncode


def ready_state(home: Path) -> PlatformState | None:
    state = PlatformState.read(home)
    return state if state and state.ready else None


def nothing_left(home: Path) -> bool:
    return not [process for process in marked(home) if process.pid != os.getpid()]


def process_named(home: Path, part: str) -> psutil.Process:
    return next(process for process in marked(home) if any(part in word for word in process.cmdline()))
