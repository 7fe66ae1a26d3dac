"""What kinds of models can do, where several kinds answer one method."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from services.inference.engine.batcher import Ticket
from services.inference.engine.encoder import Output


class Embeds(ABC):
    """Turns texts into vectors."""

    @abstractmethod
    def submit_embedding(self, texts: Sequence[str], deadline: float | None) -> Ticket[list[Output]]:
        """One vector a text, (width,), not normalised."""


class Scores(ABC):
    """Says how well texts fit a query."""

    @abstractmethod
    def submit_scores(self, query: str, candidates: Sequence[str], deadline: float | None) -> Ticket[list[float]]:
        """One score a candidate; higher fits better."""


@dataclass(frozen=True)
class Question:
    """About a context, or for the best of several candidates; one of the two is empty."""

    question: str
    context: str = ""
    candidates: Sequence[str] = ()


@dataclass(frozen=True)
class QuestionAnswer:
    """`span` are characters of the context (0, 0 when there is no answer there), `candidate` the best one's index."""

    text: str
    score: float
    span: tuple[int, int] = (0, 0)
    candidate: int = 0
    no_answer: float = 0.0
    candidate_scores: Sequence[float] = ()


class AnswersQuestions(ABC):
    """Answers questions; `from_context` says whether from a context or from among candidates."""

    from_context: bool

    @abstractmethod
    def submit_questions(self, questions: Sequence[Question], deadline: float | None) -> Ticket[list[QuestionAnswer]]:
        """One answer a question, in their order."""


DEFAULT_NEW_TOKENS = 256


@dataclass(frozen=True)
class Rewriting:
    """Bounds of what is written: new tokens (at most: None is 256, or what the model can), beams (1 is greedy), the
    power of length that divides their scores."""

    max_tokens: int | None = None
    min_tokens: int = 0
    num_beams: int = 4
    length_penalty: float = 1.0


@dataclass(frozen=True)
class Rewritten:
    """`score` is the mean log-probability of its tokens; how many tokens were read and written."""

    text: str
    score: float
    prompt_tokens: int
    completion_tokens: int


class Rewrites(ABC):
    """Writes texts anew."""

    @abstractmethod
    def submit_texts(
        self, texts: Sequence[str], languages: tuple[str, str], bounds: Rewriting, deadline: float | None
    ) -> "PendingTexts":
        """Languages (source, target) are empty where the model knows only one. Raises InvalidArgument."""


class PendingTexts(ABC):
    """Texts that are being written."""

    @abstractmethod
    def wait(self) -> list[Rewritten]: ...

    @abstractmethod
    def cancel(self) -> None: ...

    @property
    @abstractmethod
    def queue_seconds(self) -> float: ...
