"""What the service asks of anything that generates text.

`TorchEngine` is the one we ship; others fit behind the same protocol. A request may name an adapter: one
engine holds many of them over one base.
"""

import queue
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from shared.errors import FlywheelError


class FinishReason(StrEnum):
    """Why a stream ended. A deadline is never `LENGTH`."""

    EOS = "eos"
    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    ERROR = "error"


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn. Temperature 0 takes the likeliest token; more than one beam needs it."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    num_beams: int = 1
    length_penalty: float = 1.0


@dataclass(frozen=True)
class Stopping:
    """When a stream ends. `max_tokens` None means as far as the context window goes."""

    max_tokens: int | None = None
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_token_ids: frozenset[int] = frozenset()
    ignore_eos: bool = False


@dataclass(frozen=True)
class Constraint:
    """What an answer must look like; exactly one of the four is set."""

    json_schema: str | None = None
    regex: str | None = None
    choices: tuple[str, ...] = ()
    lark: str | None = None


def _nobody(seconds: float) -> None:
    """Where no one listens."""


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt as token ids. `deadline` is on the clock of `time.monotonic`, in seconds.

    `logprobs` asks for log-probabilities with so many alternatives; `n` for so many answers; `salt` (tenant and
    the caller's own) keeps cached prefixes of strangers apart; `echo` sends the prompt back first. `version` says for
    which of the versions that share an engine it runs; `on_token` hears the seconds between two of its tokens.
    """

    id: str
    prompt: tuple[int, ...]
    sampling: Sampling = Sampling()
    stopping: Stopping = Stopping()
    deadline: float | None = None
    priority: int = 0
    adapter: str | None = None
    constraint: Constraint | None = None
    logprobs: int | None = None
    n: int = 1
    salt: str = ""
    echo: bool = False
    version: str = ""
    on_token: Callable[[float], None] = _nobody


@dataclass(frozen=True)
class TokenLogprob:
    """Log-probability of a token before temperature and filters; None for the first of an echoed prompt."""

    token_id: int
    logprob: float | None
    alternatives: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Chunk:
    """Text that can no longer be taken back, and the tokens it came from; `index` says of which answer."""

    text: str
    token_ids: tuple[int, ...]
    index: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    echo: bool = False


@dataclass(frozen=True)
class Usage:
    """Tokens; `cached_tokens` of the prompt came from the prefix cache."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True)
class Candidate:
    """How one of the answers ended; `score` is its summed log-probability (by length for beams), where known."""

    reason: FinishReason
    completion_tokens: int
    score: float | None = None


@dataclass(frozen=True)
class Timings:
    """Seconds: waiting for a slot, until the first token, from arrival to the end."""

    queue_seconds: float
    first_token_seconds: float | None
    total_seconds: float


@dataclass(frozen=True)
class Finished:
    """The last output of a stream; `error` says what went wrong when the reason is `ERROR`.

    `candidates` has one entry an answer, by index; `reason` is that of the first.
    """

    reason: FinishReason
    usage: Usage
    timings: Timings
    error: str = ""
    candidates: tuple[Candidate, ...] = ()


Output = Chunk | Finished


@dataclass(frozen=True)
class Load:
    """What an engine holds now. `cache_used` is the share of cached positions that hold a token."""

    running: int = 0
    waiting: int = 0
    waiting_tokens: int = 0
    cache_used: float = 0.0
    oldest_wait_seconds: float = 0.0

    @property
    def idle(self) -> bool:
        return self.running == 0 and self.waiting == 0


class Stream:
    """The outputs of one request, written by the engine's thread and read by one reader.

    A reader that does not read blocks nobody: what waits for it is at most a chunk a token, so `max_tokens` times
    `n` small ones.
    """

    def __init__(self, request_id: str, queue_position: int) -> None:
        self.request_id = request_id
        self.queue_position = queue_position
        self._outputs: queue.SimpleQueue[Output | FlywheelError] = queue.SimpleQueue()

    def put(self, output: Output) -> None:
        self._outputs.put(output)

    def fail(self, error: FlywheelError) -> None:
        """End the stream with an error that the reader's iteration raises."""
        self._outputs.put(error)

    def __iter__(self) -> Iterator[Output]:
        """Chunks, then one `Finished`. Chunks of an answer that piled up while the reader was busy come joined."""
        while True:
            waiting = [self._outputs.get()]
            while not self._outputs.empty():
                waiting.append(self._outputs.get())
            last = waiting[-1]
            yield from _joined([output for output in waiting if isinstance(output, Chunk)])
            if isinstance(last, FlywheelError):
                raise last
            if isinstance(last, Finished):
                yield last
                return


def _joined(chunks: list[Chunk]) -> Iterator[Chunk]:
    """One chunk an answer, the echo before them."""
    if len(chunks) == 1:
        yield chunks[0]
        return
    parts: dict[tuple[bool, int], list[Chunk]] = {}
    for chunk in chunks:
        parts.setdefault((not chunk.echo, chunk.index), []).append(chunk)
    for (_, index), same in parts.items():
        yield Chunk(
            text="".join(chunk.text for chunk in same),
            token_ids=tuple(token for chunk in same for token in chunk.token_ids),
            index=index,
            logprobs=tuple(entry for chunk in same for entry in chunk.logprobs),
            echo=same[0].echo,
        )


class Engine(Protocol):
    """Generates for many requests at once. Every method may be called from any thread."""

    name: str
    max_length: int

    @property
    def healthy(self) -> bool:
        """Whether it computes; what it held when it stopped has ended with `Unavailable`."""
        ...

    def submit(self, request: GenerationRequest) -> Stream:
        """Queue a request.

        Raises `InvalidArgument` (can never fit), `ResourceExhausted` (queue full, or the deadline would pass before
        its turn), `DeadlineExceeded` (it has passed), `AlreadyExists` (id in use), `Unavailable` (closing or down).
        """
        ...

    def cancel(self, request_id: str) -> bool:
        """End a request with `CANCELLED` before the next step; False when it is not here."""
        ...

    def load(self) -> Load: ...

    def close(self, grace_seconds: float = 0.0) -> None:
        """Take no more requests, let those here finish within the grace, cancel the rest and free memory."""
        ...
