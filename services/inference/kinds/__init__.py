"""How each task kind is served; one file a kind."""

from collections.abc import Callable, Mapping
from typing import Any

from services.inference.kinds.answer_selection import AnswerSelector
from services.inference.kinds.base import Resources, Served
from services.inference.kinds.capabilities import AnswersQuestions, Embeds, Scores
from services.inference.kinds.classification import Classifier
from services.inference.kinds.embedding import Embedder
from services.inference.kinds.encoders import EncoderModel
from services.inference.kinds.generation import Generator, InstructionFollower, PretrainedGenerator, TextGenerator
from services.inference.kinds.generation import serve as serve_generator
from services.inference.kinds.pretraining import base_options as base_options
from services.inference.kinds.pretraining import serve_pretrained
from services.inference.kinds.question_answering import Reader
from services.inference.kinds.ranking import Ranker
from services.inference.kinds.relation_extraction import RelationExtractor
from services.inference.kinds.rewriting import Summariser, Translator, serve_summariser, serve_translator
from services.inference.kinds.token_classification import Tagger
from shared.errors import FailedPrecondition
from shared.modeling.loading import LoadedModel

_CLASSES: Mapping[str, tuple[type[Any], ...]] = {
    served.kind: (served,)
    for served in (
        Classifier,
        Generator,
        InstructionFollower,
        TextGenerator,
        Tagger,
        RelationExtractor,
        Reader,
        AnswerSelector,
        Embedder,
        Ranker,
        Translator,
        Summariser,
    )
} | {PretrainedGenerator.kind: (PretrainedGenerator, Embedder)}
"""What models of a kind are served as; pretraining makes two sorts."""
_SERVERS: Mapping[str, Callable[[LoadedModel, Resources], Served]] = {
    **{kind: classes[0] for kind, classes in _CLASSES.items()},
    **dict.fromkeys(("chat", "instruction", "generation"), serve_generator),
    "pretraining": serve_pretrained,
    "translation": serve_translator,
    "summarisation": serve_summariser,
}
_METHODS: Mapping[str, type[Any]] = {
    "Classify": Classifier,
    "Generate": Generator,
    "TagTokens": Tagger,
    "ExtractRelations": RelationExtractor,
    "AnswerQuestion": AnswersQuestions,
    "Translate": Translator,
    "Summarize": Summariser,
    "Embed": Embeds,
    "Score": Scores,
    "Tokenize": object,
}


def serve(kind: str, loaded: LoadedModel, resources: Resources) -> Served:
    """A served model of the task kind. Raises FailedPrecondition for a kind that is not served."""
    server = _SERVERS.get(kind)
    if server is None:
        raise FailedPrecondition(f"no engine serves the task kind {kind!r}", kind=kind)
    return server(loaded, resources)


def answers(kind: str, wanted: type[Any]) -> bool:
    """Whether models of the kind are what a method wants."""
    return any(issubclass(served, wanted) for served in _CLASSES.get(kind, ()))


def kinds_with(wanted: type[Any]) -> list[str]:
    """The kinds whose models are what a method wants."""
    return [kind for kind in _CLASSES if answers(kind, wanted)]


def methods_of(kind: str) -> list[str]:
    """The methods that models of the kind answer."""
    return [method for method, wanted in _METHODS.items() if answers(kind, wanted)]


def kind_of_base(kind: str) -> str:
    """What the untouched base model of a pipeline of this kind is: an encoder without its head gives vectors."""
    headed = all(issubclass(served, EncoderModel) for served in _CLASSES.get(kind, ()))
    return Embedder.kind if kind in _CLASSES and headed else kind
