"""Text from prompts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from services.inference.engine.interface import (
    Finished,
    FinishReason,
    GenerationRequest,
    Load,
    Stopping,
    Stream,
)
from services.inference.kinds.base import Resources
from services.inference.kinds.hosting import CONTEXT_LIMIT as CONTEXT_LIMIT
from services.inference.kinds.hosting import Host, Hosts, Lease, open_host, preset_of
from services.inference.kinds.hosting import forward_for as forward_for
from shared.errors import InvalidArgument
from shared.modeling.card import ModelCard
from shared.modeling.kinds.instruction import encode_request
from shared.modeling.kinds.turns import ROLES, Message, encode_prompt
from shared.modeling.loading import LoadedModel
from shared.modeling.methods.virtual import VirtualTokens

UNCUT = 1 << 30
PROBE_TOKENS = 100


class Generator:
    """Writes text, on an engine that it may share with other versions. `asked_as` is the pipeline's own prompt, if it
    has one."""

    kind = "chat"

    def __init__(
        self, lease: Lease, tokenizer: PreTrainedTokenizerBase, resources: Resources, asked_as: str = ""
    ) -> None:
        self._asked_as = asked_as
        self.engine_name = lease.host.engine.name
        self.tokenizer = tokenizer
        self._engine = lease.host.engine
        self._lease = lease
        self._adapter = lease.adapter.digest if lease.adapter else None
        self._version, self._on_token = resources.version, resources.on_token

    @property
    def weights_digest(self) -> str:
        """Of the full weights, an adapter's base."""
        return self._lease.host.weights_digest

    @property
    def memory_bytes(self) -> int:
        return self._lease.memory_bytes

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
        """See `Engine.submit`; the request is answered with this version's weights, whatever it names."""
        named = self._named(request.id)
        mine = replace(request, id=named, adapter=self._adapter, version=self._version, on_token=self._on_token)
        stream = self._engine.submit(mine)
        stream.request_id = request.id
        return stream

    def cancel(self, request_id: str) -> bool:
        return self._engine.cancel(self._named(request_id))

    def _named(self, request_id: str) -> str:
        """A request and its shadow on another version may be on one engine."""
        return f"{request_id}@{self._version}" if self._version else request_id

    def probe(self) -> None:
        eos = int(self.tokenizer.eos_token_id or 0)
        # A small model of one's own may have fewer positions than a usual prompt has tokens.
        for name, length in (("short", 1), ("long", min(PROBE_TOKENS, int(self.tokenizer.model_max_length) // 2))):
            stopping = Stopping(max_tokens=3, ignore_eos=True)
            stream = self.submit(GenerationRequest(f"probe-{name}", (eos,) * length, stopping=stopping))
            *_, last = stream
            if not isinstance(last, Finished) or last.reason is not FinishReason.LENGTH:
                raise ValueError(f"the probe ended with {last}")

    def load(self) -> Load:
        return self._lease.load(self._version)

    def close(self, grace_seconds: float = 0.0) -> None:
        self._lease.close(self._version, grace_seconds)


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


class InstructionFollower(Generator):
    """A text, or a user's message, is put into words as the rows were that it learnt from."""

    kind = "instruction"

    def prompt(
        self, text: str | None = None, messages: Sequence[Message] = (), token_ids: Sequence[int] = ()
    ) -> tuple[int, ...]:
        if text is None and not messages:
            return tuple(token_ids)
        if text is not None and not text.strip():
            raise InvalidArgument("text is empty", field="text")
        if text is None:
            _check_messages(messages)
        turns = messages if text is None else [{"role": "user", "content": text}]
        return tuple(encode_request(self.tokenizer, self._asked_as or None, turns))


class TextGenerator(Generator):
    """Goes on with a text as it stands."""

    kind = "generation"


class PretrainedGenerator(Generator):
    """Goes on with a text, before it has learnt anything else."""

    kind = "pretraining"


GENERATORS: dict[str, type[Generator]] = {
    served.kind: served for served in (Generator, InstructionFollower, TextGenerator, PretrainedGenerator)
}
HOSTED = frozenset({Generator.kind, InstructionFollower.kind, TextGenerator.kind})
"""Kinds that share engines and are kept as the setting of weights says."""


def generator_of(
    kind: str, lease: Lease, tokenizer: PreTrainedTokenizerBase, resources: Resources, asked_as: str = ""
) -> Generator:
    """What serves a causal model of the kind; for a kind with methods of its own, what writes for it."""
    return GENERATORS.get(kind, Generator)(lease, tokenizer, resources, asked_as)


def serve(loaded: LoadedModel, resources: Resources) -> Generator:
    """A version with an engine of its own."""
    if isinstance(loaded.model, VirtualTokens):
        return _serve_virtual(loaded, loaded.model, resources)
    return serve_on(open_host(loaded, resources), loaded, resources)


def _serve_virtual(loaded: LoadedModel, model: VirtualTokens, resources: Resources) -> Generator:
    base: Any = model.get_base_model()
    preset = preset_of(model, loaded.card.adapter_digest, base.dtype, str(base.device))
    lease = Hosts().alone(open_host(replace(loaded, model=base), resources))
    try:
        lease.adapt(preset)
    except BaseException:
        lease.close(resources.version, 0.0)
        raise
    return generator_of(loaded.card.kind, lease, loaded.tokenizer, resources, prompt_of(loaded.card))


def serve_on(host: Host, loaded: LoadedModel, resources: Resources) -> Generator:
    """A version on an engine that no other may use."""
    card = loaded.card
    return generator_of(card.kind, Hosts().alone(host), loaded.tokenizer, resources, prompt_of(card))


def prompt_of(card: ModelCard) -> str:
    """The pipeline's own prompt; a base model's card has it among the options only."""
    return card.prompt or card.options.get("prompt") or ""
