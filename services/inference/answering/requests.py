"""What a client may ask, checked."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.inference.engine.interface import Sampling, Stopping
from services.inference.models.lineage import CHAMPION
from shared.errors import InvalidArgument
from shared.modeling.kinds.turns import Message

MAX_TEXTS = 256
MAX_TEXT_BYTES = 65_536
MAX_PROMPT_BYTES = 1 << 20
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 256
MAX_REQUEST_ID = 128
DEFAULT_MAX_TOKENS = 256


@dataclass(frozen=True)
class ModelRef:
    """Who shall answer: an alias, or a version when it is not 0."""

    name: str
    alias: str = CHAMPION
    version: int = 0


@dataclass(frozen=True)
class Prompt:
    """One of the three is set."""

    text: str | None = None
    messages: Sequence[Message] = ()
    token_ids: Sequence[int] = ()


@dataclass(frozen=True)
class GenerateRequest:
    model: ModelRef
    prompt: Prompt
    sampling: Sampling
    stopping: Stopping
    request_id: str


def check_texts(texts: Sequence[str]) -> None:
    _check_range("texts", len(texts), 1, MAX_TEXTS)
    for position, text in enumerate(texts):
        if not text.strip():
            raise InvalidArgument(f"texts[{position}] is empty", field=f"texts[{position}]")
        size = len(text.encode())
        if size > MAX_TEXT_BYTES:
            raise InvalidArgument(
                f"texts[{position}] has {size} bytes, the limit is {MAX_TEXT_BYTES}",
                field=f"texts[{position}]",
                limit=MAX_TEXT_BYTES,
            )


def check_classify(texts: Sequence[str], top_k: int, request_id: str) -> None:
    check_texts(texts)
    check_request_id(request_id)
    if top_k < 0:
        raise InvalidArgument(f"top_k is {top_k}; it must be 0 (all) or more", field="top_k")


def check_generate(request: GenerateRequest) -> None:
    check_request_id(request.request_id)
    _check_prompt(request.prompt)
    _check_sampling(request.sampling)
    _check_stopping(request.stopping)


def check_request_id(request_id: str) -> None:
    if len(request_id) > MAX_REQUEST_ID:
        raise InvalidArgument(
            f"request_id has {len(request_id)} characters, the limit is {MAX_REQUEST_ID}", field="request_id"
        )


def _check_prompt(prompt: Prompt) -> None:
    if prompt.text is None and not prompt.messages and not prompt.token_ids:
        raise InvalidArgument("one of text, messages and token_ids must be given", field="prompt")
    size = len((prompt.text or "").encode()) + sum(len(turn["content"].encode()) for turn in prompt.messages)
    if size > MAX_PROMPT_BYTES:
        raise InvalidArgument(
            f"the prompt has {size} bytes, the limit is {MAX_PROMPT_BYTES}",
            field="prompt",
            limit=MAX_PROMPT_BYTES,
        )


def _check_sampling(sampling: Sampling) -> None:
    _check_range("sampling.temperature", sampling.temperature, 0, 100)
    _check_range("sampling.top_p", sampling.top_p, 1e-6, 1)
    _check_range("sampling.min_p", sampling.min_p, 0, 1)
    _check_range("sampling.top_k", sampling.top_k, 0, 1 << 30)
    _check_range("sampling.repetition_penalty", sampling.repetition_penalty, 0.01, 100)


def _check_stopping(stopping: Stopping) -> None:
    most = stopping.max_tokens or 0
    _check_range("stopping.max_tokens", most, 1, 1 << 30)
    _check_range("stopping.min_tokens", stopping.min_tokens, 0, most)
    _check_range("stopping.stop", len(stopping.stop), 0, MAX_STOPS)
    for position, stop in enumerate(stopping.stop):
        _check_range(f"stopping.stop[{position}] length", len(stop), 1, MAX_STOP_CHARACTERS)


def _check_range(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also refuses NaN
        raise InvalidArgument(f"{field} is {value:g}; it must be from {low:g} to {high:g}", field=field)
