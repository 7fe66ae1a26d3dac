"""Baselines for kinds that write: the untouched model, asked plainly or after examples; counts of tokens; and texts
that take no model at all."""

import math
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.quality.baselines.ngrams import NgramModel
from benchmarks.quality.baselines.rewriting import first_sentences, from_memory
from benchmarks.quality.contenders import Answer, Contender, Tools
from benchmarks.quality.material import Material, Row
from benchmarks.quality.prompting import Writer
from services.evaluation.kinds import find_kind as find_judge
from shared.modeling.bases import resolve_base
from shared.modeling.devices import fast_at_bfloat16
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.base import IGNORED, Example
from shared.modeling.kinds.writing import Writing
from shared.modeling.loading import LoadedModel, load_base
from shared.pipelines.methods import resolve_method

SHOTS = 3
SHOWN_TOKENS = 768
"""What examples may take of the model's context."""


def untouched(material: Material, seed: int, tools: Tools) -> Answer:
    """The base model as it is."""
    judge = find_judge(material.spec.kind, material.spec.options)
    return Answer(judge.predict(load_untouched(material, tools), material.test, lambda done: None))


def after_examples(material: Material, seed: int, tools: Tools) -> Answer:
    """The base model, with a few rows and their answers before each row (in-context learning)."""
    loaded = load_untouched(material, tools)
    writer, kind = Writer(loaded), _kind(material, loaded)
    limit = loaded.card.max_length
    shown = _shown(kind, loaded, material, seed)
    rows = material.test[: material.prompted]
    examples = kind.encode(loaded.tokenizer, rows, (), limit).examples
    asked = [shown + kind.asked(loaded.tokenizer, row, limit) for row in rows]
    return Answer(
        {
            "loss": [writer.nats(shown, example.ids, example.targets) for example in examples],
            "tokens": [example.weight for example in examples],
            "answers": writer.complete(asked, material.spec.options.answer_tokens),
        }
    )


def counted(material: Material, seed: int, tools: Tools, order: int) -> Answer:
    """Counts of the base model's tokens; it writes nothing worth reading."""
    loaded = load_untouched(material, tools)
    kind = _kind(material, loaded)
    model = NgramModel(order, len(loaded.tokenizer))
    for example in kind.encode(loaded.tokenizer, material.train, (), loaded.card.max_length).examples:
        for at in learnt_places(example):
            model.learn(example.ids, at)
    examples = kind.encode(loaded.tokenizer, material.test, (), loaded.card.max_length).examples
    losses = [sum(model.nats(example.ids, at) for at in learnt_places(example)) for example in examples]
    return _answer(material, [""] * len(examples), losses, [example.weight for example in examples])


def without_model(material: Material, seed: int, tools: Tools, write: Callable[[Material], list[str]]) -> Answer:
    """Texts for all test rows; there is no likelihood to speak of."""
    rows = len(material.test)
    return _answer(material, write(material), [math.nan] * rows, [1] * rows)


def _same(material: Material, field: str) -> list[str]:
    return [row[field] for row in material.test]


def _first(material: Material, field: str, count: int) -> list[str]:
    return [first_sentences(row[field], count) for row in material.test]


def _remembered(material: Material, asked: str, written: str) -> list[str]:
    known = [(row[asked], row[written]) for row in material.train]
    return from_memory(known, [row[asked] for row in material.test])


def _answer(material: Material, texts: list[str], losses: list[float], tokens: list[int]) -> Answer:
    return Answer({"loss": losses, "tokens": tokens, "answers": texts[: material.spec.options.answered_rows]})


def load_untouched(material: Material, tools: Tools) -> LoadedModel:
    study = material.study
    dtype = "bfloat16" if fast_at_bfloat16("cpu") else "float32"
    method = resolve_method(study.kind, {"name": "full", **study.methods.get("full", {})})
    return load_base(
        resolve_base(study.base, tools.bases),
        study.kind,
        max_length=method.max_length,
        dtype=dtype,
        options=material.spec.options,
    )


def _kind(material: Material, loaded: LoadedModel) -> Writing:
    kind = find_kind(material.spec.kind, material.spec.options)
    assert isinstance(kind, Writing)
    return kind.of(loaded.model)


def _shown(kind: Writing, loaded: LoadedModel, material: Material, seed: int) -> list[int]:
    """Token ids of as many drawn train rows as there is room for, answers included."""
    drawn: Sequence[Row] = random.Random(seed).sample(material.train, min(len(material.train), 4 * SHOTS))
    ids: list[int] = []
    taken = 0
    for example in kind.encode(loaded.tokenizer, drawn, (), loaded.card.max_length).examples:
        if taken < SHOTS and len(ids) + len(example.ids) <= SHOWN_TOKENS:
            ids += example.ids
            taken += 1
    return ids


def learnt_places(example: Example) -> list[int]:
    """Positions that are predicted; the first one has nothing before it."""
    return [at for at, target in enumerate(example.targets) if at > 0 and target != IGNORED]


def _text(name: str, write: Callable[..., list[str]], **settings: Any) -> Contender:
    return Contender(name, partial(without_model, write=partial(write, **settings)), settings)


ASKED = (
    Contender("zero-shot", untouched),
    Contender("few-shot", after_examples, {"shots": SHOTS, "shown_tokens": SHOWN_TOKENS}, seeded=True),
)
COUNTED = (
    Contender("unigrams", partial(counted, order=1), {"order": 1}),
    Contender("trigrams", partial(counted, order=3), {"order": 3}),
)
TRANSLATION = (
    _text("copy", _same, field="source"),
    _text("memory", _remembered, asked="source", written="target"),
    *ASKED,
)
SUMMARISATION = (
    _text("first-sentence", _first, field="document", count=1),
    _text("first-three", _first, field="document", count=3),
    _text("memory", _remembered, asked="document", written="summary"),
    *ASKED,
)
CONVERSATION = (*COUNTED, *ASKED)
