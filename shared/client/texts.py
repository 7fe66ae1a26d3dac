"""What the methods beside Classify and Generate answer. Characters count from 0; ends lie after the last."""

from dataclasses import dataclass

from shared.client.answers import Lineage, Timings


@dataclass(frozen=True)
class Entity:
    """`score` is the mean probability of its words' tags."""

    label: str
    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class TaggedText:
    """Entities in the order of the text."""

    entities: tuple[Entity, ...]


@dataclass(frozen=True)
class TagAnswer:
    results: tuple[TaggedText, ...]
    lineage: Lineage
    timings: Timings
    request_id: str


@dataclass(frozen=True)
class Relation:
    """`direction` is "head_to_tail", "tail_to_head", or empty for a label without one."""

    label: str
    score: float
    direction: str


@dataclass(frozen=True)
class RelationAnswer:
    results: tuple[Relation, ...]
    lineage: Lineage
    timings: Timings
    request_id: str


@dataclass(frozen=True)
class Span:
    start: int
    end: int


@dataclass(frozen=True)
class QuestionAnswer:
    """`text` is empty when the context holds no answer; `candidate` means something with candidates only."""

    text: str
    span: Span | None
    candidate: int
    score: float
    no_answer: float
    candidate_scores: tuple[float, ...]


@dataclass(frozen=True)
class QuestionsAnswer:
    answers: tuple[QuestionAnswer, ...]
    lineage: Lineage
    timings: Timings
    request_id: str


@dataclass(frozen=True)
class Vector:
    values: tuple[float, ...]


@dataclass(frozen=True)
class EmbedAnswer:
    vectors: tuple[Vector, ...]
    lineage: Lineage
    timings: Timings
    request_id: str


@dataclass(frozen=True)
class ScoreAnswer:
    """One score a candidate; higher fits better."""

    scores: tuple[float, ...]
    lineage: Lineage
    timings: Timings
    request_id: str


@dataclass(frozen=True)
class Rewritten:
    """`score` is the mean log-probability of its tokens."""

    text: str
    score: float


@dataclass(frozen=True)
class RewriteAnswer:
    """Translations or summaries."""

    results: tuple[Rewritten, ...]
    lineage: Lineage
    timings: Timings
    request_id: str


@dataclass(frozen=True)
class Tokens:
    ids: tuple[int, ...]
    pieces: tuple[str, ...]


@dataclass(frozen=True)
class TokenizeAnswer:
    results: tuple[Tokens, ...]
