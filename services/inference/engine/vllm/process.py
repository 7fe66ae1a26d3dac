"""The child process that vLLM computes in: started, spoken to in lines of JSON, always ended."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.config import PREFIX, child_environment
from shared.errors import FailedPrecondition, Unavailable

PROGRAM = Path(__file__).with_name("program.py")
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class VllmSettings:
    """What a child is started with. `python` is the interpreter of vLLM's environment; this one when empty."""

    folder: Path
    dtype: str
    max_length: int
    slots: int
    cache_bytes: int
    threads: int = 1
    python: str = ""
    eager: bool = False
    """Without compilation: starts sooner and computes slower."""

    def engine_arguments(self) -> dict[str, Any]:
        return {
            "model": str(self.folder),
            "dtype": self.dtype,
            "max_model_len": self.max_length,
            "max_num_seqs": self.slots,
            "kv_cache_memory_bytes": self.cache_bytes,
            "enforce_eager": self.eager,
            "generation_config": "vllm",
            "disable_log_stats": True,
        }


class VllmProcess:
    """A process group of its own. `lines` ends when the process does."""

    def __init__(self, settings: VllmSettings) -> None:
        """Raises FailedPrecondition where the interpreter is missing or vLLM refuses the model."""
        python = settings.python or sys.executable
        try:
            self._process = subprocess.Popen(
                [python, "-P", str(PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
                env=_environment(settings.threads),
                start_new_session=True,
            )
        except OSError as error:
            raise FailedPrecondition(f"FLYWHEEL_VLLM_PYTHON={python!r}: {error.strerror}") from None
        self._stopping = threading.Lock()
        assert self._process.stdout is not None
        self._output = self._process.stdout
        try:
            self.write(settings.engine_arguments())
            ready = self._output.readline()
        except Unavailable:
            ready = ""
        if not ready:
            self._output.close()
            code = self.stop()
            raise FailedPrecondition(
                f"vLLM did not start with {settings.folder.name} (exit code {code}); its log, on standard error, says "
                f"why. Is it installed for {python}, and does it know the architecture?"
            )

    def write(self, line: dict[str, Any]) -> None:
        """Raises Unavailable when the process has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(line) + "\n")
        except (OSError, ValueError):
            raise Unavailable("the vLLM process has ended") from None

    def lines(self) -> Iterator[Any]:
        """What it says, to the end of its life; for one reader."""
        with self._output:
            for line in self._output:
                yield json.loads(line)

    def stop(self) -> int:
        """Lets it end by itself for a while, then ends it and all that it started; its exit code."""
        with self._stopping:
            if self._process.returncode is None:
                self._end()
            return self._process.wait()

    def _end(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        give_up = time.monotonic() + STOP_SECONDS
        while not self._has_ended() and time.monotonic() < give_up:
            time.sleep(0.02)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _has_ended(self) -> bool:
        """Without reaping it: its id must stay ours while its group is ended."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _environment(threads: int) -> dict[str, str]:
    """Ours without our settings: a library has no business with the secrets among them."""
    inherited = {name: value for name, value in child_environment().items() if not name.startswith(PREFIX)}
    return {
        **inherited,
        "OMP_NUM_THREADS": str(threads),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
