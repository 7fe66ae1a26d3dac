"""A loaded model version that answers: a classifier or a generator."""

from collections.abc import Sequence
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from services.inference.engine.batcher import Batcher, Ticket
from services.inference.engine.interface import (
    Engine,
    Finished,
    FinishReason,
    GenerationRequest,
    Load,
    Stopping,
    Stream,
)
from shared.errors import InvalidArgument
from shared.modeling.kinds.classification import encode_texts
from shared.modeling.kinds.turns import ROLES, Message, encode_prompt

UNCUT = 1 << 30


class Served(Protocol):
    """What every loaded model can do."""

    kind: str
    engine_name: str
    tokenizer: PreTrainedTokenizerBase

    def probe(self) -> None:
        """Answer a small request through the path of real ones, at several sizes; raises what goes wrong."""
        ...

    def load(self) -> Load: ...

    def close(self, grace_seconds: float = 0.0) -> None: ...


class Classifier:
    """Labels texts. Texts are cut on the right at the length the model was trained and judged with."""

    kind = "classification"
    engine_name = "torch"

    def __init__(
        self,
        batcher: Batcher,
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        max_length: int,
    ) -> None:
        self.tokenizer = tokenizer
        self.labels = tuple(labels)
        self._batcher = batcher
        self._max_length = max_length

    def submit(self, texts: Sequence[str], deadline: float | None) -> Ticket:
        ids, _ = encode_texts(self.tokenizer, texts, self._max_length)
        return self._batcher.submit(ids, deadline)

    def probe(self) -> None:
        for texts in (["probe"], ["a somewhat longer probe"] * 8):
            for row in self.submit(texts, deadline=None).wait():
                if len(row) != len(self.labels):
                    raise ValueError(f"the model gives {len(row)} scores for {len(self.labels)} labels")

    def load(self) -> Load:
        return self._batcher.load()

    def close(self, grace_seconds: float = 0.0) -> None:
        self._batcher.close(grace_seconds)


class Generator:
    """Writes text."""

    kind = "chat"

    def __init__(self, engine: Engine, tokenizer: PreTrainedTokenizerBase) -> None:
        self.engine_name = engine.name
        self.tokenizer = tokenizer
        self._engine = engine

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
