"""vLLM's OpenAI server, from its own environment."""

import socket
import urllib.error
import urllib.request
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.contenders.contender import Contender
from benchmarks.contenders.ours import MODEL, start_client
from benchmarks.contenders.processes import ProcessGroup, wait_until_up
from benchmarks.peers.environments import python_of

START_SECONDS = 400.0
CONTEXT = 2048


def start_vllm(model: Path, folder: Path, threads: int) -> Contender:
    """Raises BenchmarkFailed where it is not installed or does not start."""
    port = _free_port()
    command = [
        *(str(python_of("vllm")), "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(model), "--served-model-name", MODEL, "--dtype", "bfloat16"),
        *("--max-model-len", str(CONTEXT), "--host", "127.0.0.1", "--port", str(port)),
        "--disable-uvicorn-access-log",
    ]
    environment = {
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    address = f"127.0.0.1:{port}"
    with ExitStack() as started:
        server = ProcessGroup(command, folder / "vllm.log", environment, stdout_to_log=True)
        started.callback(server.stop)
        wait_until_up(server, partial(_is_up, f"http://{address}/health"), START_SECONDS)
        contender = Contender("vllm", start_client("openai", address, folder / "vllm-client.log", started), [server])
        started.pop_all()
    return contender


def _is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
