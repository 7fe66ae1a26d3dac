"""What every loaded model version can do, and what it is built with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from services.inference.engine.compute import ComputeThread
from services.inference.engine.forward import model_bytes as model_bytes
from services.inference.engine.interface import Load


@dataclass(frozen=True)
class Resources:
    """What the process shares between its models, and how one of them is to be kept.

    `on_token` hears the seconds between two tokens of a stream; `version` names the model version. `cache_bytes` is
    for keys and values: at most so many, or `cache_exactly` so.
    """

    compute: ComputeThread
    waiting_requests: int
    waiting_tokens: int
    on_token: Callable[[float], None] = lambda seconds: None
    version: str = ""
    int8: bool = False
    cache_bytes: int = 1 << 30
    cache_exactly: bool = False


class Served(Protocol):
    """What every loaded model can do."""

    kind: str
    engine_name: str
    tokenizer: PreTrainedTokenizerBase

    @property
    def healthy(self) -> bool:
        """Whether it answers; a request in between is told so at once."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights and cache. What versions share is divided by them, so the sum over all is the truth now;
        when one goes, what it shared is divided anew."""
        ...

    def probe(self) -> None:
        """Answer a small request through the path of real ones, at several sizes; raises what goes wrong."""
        ...

    def load(self) -> Load: ...

    def close(self, grace_seconds: float = 0.0) -> None: ...
