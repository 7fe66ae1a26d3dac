"""What the inference service answers. Times are seconds."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Lineage:
    """Where an answer came from."""

    model: str
    version: int
    """0 when the untouched base model answered."""
    weights_digest: str
    adapter_digest: str
    run: str
    dataset_version: int
    report: str
    engine: str


@dataclass(frozen=True)
class Timings:
    queue: float
    compute: float
    total: float
    first_token: float | None


@dataclass(frozen=True)
class LabelScore:
    """`given`: the label is the likeliest, or (of a model that gives any number) reaches the model's threshold."""

    label: str
    score: float
    given: bool


@dataclass(frozen=True)
class Attribution:
    """What a word contributed to the best label; `in_pair`: it stands in the second text."""

    text: str
    start: int
    end: int
    score: float
    in_pair: bool


@dataclass(frozen=True)
class Classification:
    """Labels of one text, best first; with `explain` its words and what they contributed."""

    labels: tuple[LabelScore, ...]
    attributions: tuple[Attribution, ...] = ()

    @property
    def best(self) -> LabelScore:
        return self.labels[0]

    @property
    def given(self) -> tuple[str, ...]:
        """The labels that the model gives the text, best first; of a model that gives any number perhaps none."""
        return tuple(one.label for one in self.labels if one.given)


@dataclass(frozen=True)
class ClassifyAnswer:
    """One result a text, in the order of the texts."""

    results: tuple[Classification, ...]
    lineage: Lineage
    timings: Timings
    request_id: str


@dataclass(frozen=True)
class Accepted:
    """The request has a place in the queue."""

    request_id: str
    lineage: Lineage
    queue_position: int
    prompt_tokens: int


@dataclass(frozen=True)
class Alternative:
    """A token that could have stood here."""

    token_id: int
    text: str
    logprob: float


@dataclass(frozen=True)
class TokenLogprob:
    """Natural logarithm of a token's probability, before temperature and filters; None for the first of a prompt."""

    token_id: int
    text: str
    logprob: float | None
    alternatives: tuple[Alternative, ...]
    """The likeliest tokens at this place, best first."""


@dataclass(frozen=True)
class Chunk:
    """Text as it is made; `index` says of which answer."""

    text: str
    token_ids: tuple[int, ...]
    index: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    echo: bool = False
    """This is the prompt sent back."""


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    """Of all answers."""
    cached_tokens: int = 0
    """Prompt tokens whose work was taken from the cache."""


@dataclass(frozen=True)
class Candidate:
    """How one of several answers ended."""

    index: int
    reason: str
    completion_tokens: int
    score: float | None
    """Sum of its log-probabilities, by length for beams; None without log-probabilities or beams."""


@dataclass(frozen=True)
class Finished:
    """How an answer ended: eos, stop, length, cancelled, deadline or error; the first answer where there are several."""

    reason: str
    usage: Usage
    timings: Timings
    candidates: tuple[Candidate, ...] = ()
    error: str = ""
    seed: int | None = None
    """What the tokens were drawn with, asked for or not; None where nothing is drawn."""


@dataclass(frozen=True)
class AliasChange:
    """One move of an alias; version 0 is none. kind: candidate, promotion or rollback."""

    alias: str
    from_version: int
    to_version: int
    kind: str
    reason: str
    changed_at: datetime | None


@dataclass(frozen=True)
class Explanation:
    """Where an earlier answer came from."""

    request_id: str
    method: str
    lineage: Lineage
    timings: Timings
    created_at: datetime | None
    history: tuple[AliasChange, ...]
    """Moves of aliases to or from the version that answered, oldest first."""
    promoted_at: datetime | None
    """When it last became champion before the answer."""
    replaced_at: datetime | None
    """When another took its place after that."""


@dataclass(frozen=True)
class Deployment:
    """A version that an inference server holds."""

    server: str
    model: str
    version: int
    aliases: tuple[str, ...]
    state: str
    error: str
    swap: float | None
    """From the alias move seen to the first request it could answer."""
    ready_at: datetime | None
    lineage: Lineage
    memory_bytes: int = 0
    in_flight: int = 0
    """Requests that it is answering."""
    pinned: bool = False
    share: float = 0.0
    """Of the champion's requests."""
    shadow_share: float = 0.0
    healthy: bool = True
