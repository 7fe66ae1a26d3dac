"""Both engines on the same tiny model. vLLM's half runs where its environment is, and says why where it is not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from benchmarks.figures import BenchmarkFailed
from benchmarks.peers.environments import python_of
from services.inference.engine.compute import ComputeThread
from services.inference.engine.interface import Engine
from services.inference.engine.llama import LlamaForward
from services.inference.engine.scheduler import Limits
from services.inference.engine.torch_engine import TorchEngine
from services.inference.engine.vllm.engine import VllmEngine
from services.inference.engine.vllm.process import VllmSettings
from shared.config import load_settings
from tests.contract.engine.model import EOS, MAX_LENGTH, VOCABULARY, make_model, save_model

LIMITS = Limits(slots=2, max_length=MAX_LENGTH, waiting_requests=2, waiting_tokens=2000)
CACHE_BYTES = 64 << 20


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="session")
def saved(folder: Path) -> tuple[Any, PreTrainedTokenizerFast]:
    return save_model(folder)


@pytest.fixture(scope="session")
def model(saved: tuple[Any, PreTrainedTokenizerFast]) -> Any:
    return saved[0]


@pytest.fixture(scope="session")
def vllm_python() -> str:
    """The interpreter of vLLM's environment."""
    try:
        return load_settings().vllm_python or str(python_of("vllm"))
    except BenchmarkFailed as error:
        pytest.skip(f"{error}, or set FLYWHEEL_VLLM_PYTHON")


@pytest.fixture(scope="session")
def vllm_settings(folder: Path, saved: object, vllm_python: str) -> VllmSettings:
    return VllmSettings(folder, "float32", MAX_LENGTH, LIMITS.slots, CACHE_BYTES, python=vllm_python, eager=True)


@pytest.fixture(scope="session", params=["torch", "vllm"])
def engine(request: pytest.FixtureRequest, saved: tuple[Any, PreTrainedTokenizerFast]) -> Iterator[Engine]:
    _, tokenizer = saved
    if request.param == "vllm":
        settings = request.getfixturevalue("vllm_settings")
        vllm = VllmEngine(settings, tokenizer, frozenset({EOS}), LIMITS, VOCABULARY)
        yield vllm
        vllm.close()
        return
    compute = ComputeThread(1)
    ours = TorchEngine(
        LlamaForward(make_model(), LIMITS.pages, MAX_LENGTH), tokenizer, frozenset({EOS}), LIMITS, compute
    )
    yield ours
    ours.close()
    compute.close()
