"""Text from prompts."""

from collections.abc import Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from services.inference.engine.cache import PagedCache
from services.inference.engine.forward import Forward, TransformersForward
from services.inference.engine.interface import (
    Engine,
    Finished,
    FinishReason,
    GenerationRequest,
    Load,
    Stopping,
    Stream,
)
from services.inference.engine.llama import LlamaForward
from services.inference.engine.scheduler import Limits
from services.inference.engine.torch_engine import TorchEngine
from services.inference.kinds.base import Resources
from shared.errors import InvalidArgument
from shared.modeling.kinds.base import length_limit
from shared.modeling.kinds.turns import ROLES, Message, encode_prompt
from shared.modeling.loading import LoadedModel

CONTEXT_LIMIT = 2048  # positions a request may use; the cache of a slot has room for as many
UNCUT = 1 << 30


class Generator:
    """Writes text."""

    kind = "chat"

    def __init__(self, engine: Engine, tokenizer: PreTrainedTokenizerBase, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self.engine_name = engine.name
        self.tokenizer = tokenizer
        self._engine = engine

    @property
    def healthy(self) -> bool:
        return self._engine.healthy

    def prompt(
        self, text: str | None = None, messages: Sequence[Message] = (), token_ids: Sequence[int] = ()
    ) -> tuple[int, ...]:
        """Token ids of one of the three forms of a prompt. Raises InvalidArgument naming the field."""
        if text is not None:
            if not text:
                raise InvalidArgument("text is empty", field="text")
            return tuple(self.tokenizer(text, verbose=False)["input_ids"])
        if messages:
            _check_messages(messages)
            return tuple(encode_prompt(self.tokenizer, messages, UNCUT))
        return tuple(token_ids)

    def submit(self, request: GenerationRequest) -> Stream:
        return self._engine.submit(request)

    def cancel(self, request_id: str) -> bool:
        return self._engine.cancel(request_id)

    def probe(self) -> None:
        eos = int(self.tokenizer.eos_token_id or 0)
        for name, length in (("short", 1), ("long", 100)):
            stopping = Stopping(max_tokens=3, ignore_eos=True)
            stream = self.submit(GenerationRequest(f"probe-{name}", (eos,) * length, stopping=stopping))
            *_, last = stream
            if not isinstance(last, Finished) or last.reason is not FinishReason.LENGTH:
                raise ValueError(f"the probe ended with {last}")

    def load(self) -> Load:
        return self._engine.load()

    def close(self, grace_seconds: float = 0.0) -> None:
        self._engine.close(grace_seconds)


def _check_messages(messages: Sequence[Message]) -> None:
    for position, message in enumerate(messages):
        where = f"messages[{position}]"
        if message["role"] not in ROLES:
            raise InvalidArgument(
                f"{where}.role is {message['role']!r}, not one of {', '.join(ROLES)}", field=f"{where}.role"
            )
        if not message["content"].strip():
            raise InvalidArgument(f"{where}.content is empty", field=f"{where}.content")
    if messages[-1]["role"] == "assistant":
        raise InvalidArgument("the last message is the assistant's; it should be the user's", field="messages")


def serve(loaded: LoadedModel, resources: Resources) -> Generator:
    context = length_limit(loaded.model, loaded.tokenizer, CONTEXT_LIMIT)
    limits = Limits(
        max_length=context,
        waiting_requests=resources.waiting_requests,
        waiting_tokens=resources.waiting_tokens,
    )
    forward = forward_for(loaded.model, limits)
    engine = TorchEngine(forward, loaded.tokenizer, _ends(loaded), limits, resources.compute, resources.on_token)
    return Generator(engine, loaded.tokenizer, forward.memory_bytes + _bytes_of(forward.cache))


def forward_for(model: PreTrainedModel, limits: Limits, int8: bool = False) -> Forward:
    """The fastest forward pass that computes this architecture: lean, or with the model's own modules."""
    bounds = (limits.pages, limits.max_length)
    if LlamaForward.fits(model):
        return LlamaForward(model, *bounds, int8)
    return TransformersForward(model, *bounds, int8)


def _bytes_of(cache: PagedCache) -> int:
    return sum(tensor.nbytes for tensor in (*cache.keys, *cache.values))


def _ends(loaded: LoadedModel) -> frozenset[int]:
    configured = getattr(loaded.model.generation_config, "eos_token_id", None)
    known = configured if isinstance(configured, list) else [configured]
    return frozenset(int(end) for end in (*known, loaded.tokenizer.eos_token_id) if end is not None)
