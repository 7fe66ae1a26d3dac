"""Texts, and pairs of texts, to labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from services.inference.answering.answers import AnswerLog, Times
from services.inference.answering.asking import Ask, Asking
from services.inference.answering.asking import OnGone as OnGone
from services.inference.answering.checks import MAX_TEXTS, check_classified, check_list
from services.inference.answering.holding import Models
from services.inference.answering.metering import metered
from services.inference.answering.requests import ModelRef
from services.inference.engine.attribution import Piece
from services.inference.engine.batcher import Ticket
from services.inference.kinds.classification import Classifier
from services.inference.models.lineage import Lineage
from shared.errors import InvalidArgument

METHOD = "Classify"
Labels = list[tuple[str, float]]
Given = list[str]
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class ClassifyAnswer:
    """One list of (label, probability) a text, best first, and which labels the model gives; where asked for, its words
    and what they contributed."""

    request_id: str
    results: list[Labels]
    given: list[Given]
    lineage: Lineage
    times: Times
    attributions: list[list[Piece]] = field(default_factory=list)


@dataclass(frozen=True)
class _Found:
    results: list[Labels]
    given: list[Given]
    attributions: list[list[Piece]]


class Classifying:
    def __init__(self, models: Models, answers: AnswerLog) -> None:
        self._models = models
        self._asking = Asking(models, answers)

    def classify(
        self,
        model: ModelRef,
        texts: Sequence[str],
        top_k: int,
        request_id: str,
        deadline: float,
        on_gone: OnGone,
        pairs: Pairs = (),
        explain: bool = False,
    ) -> ClassifyAnswer:
        """Labels texts (or pairs) before `deadline` (on the clock of `time.monotonic`); with `explain` also says why.

        Raises the errors of shared.errors.
        """
        with metered(METHOD) as meter:
            check_classified(texts, pairs, explain)
            if top_k < 0:
                raise InvalidArgument(f"top_k is {top_k}; it must be 0 (all) or more", field="top_k")
            ask = Ask(model, request_id, deadline, on_gone)
            answered = self._asking.ask(
                meter,
                ask,
                Classifier,
                lambda classifier: _submit(classifier, texts, pairs, deadline).then(
                    partial(_finish, classifier, pairs or texts, top_k, deadline if explain else None)
                ),
                lambda found: _remembered(texts, pairs, found),
            )
            found = answered.result
            compare = partial(_agrees, texts, pairs, found.given)
            self._models.copy(model, answered.request_id, Classifier, compare)
            return ClassifyAnswer(
                answered.request_id, found.results, found.given, answered.lineage, answered.times, found.attributions
            )

    def tokenize(self, model: ModelRef, texts: Sequence[str], deadline: float) -> list[tuple[list[int], list[str]]]:
        """Ids and pieces of each text, as the model's tokenizer cuts it, uncut in length."""
        with metered("Tokenize") as meter:
            check_list("texts", texts, MAX_TEXTS)
            with self._models.hold_any(model, deadline) as (served, _):
                meter.model = model.name
                tokenizer = served.tokenizer
                ids = [list(tokenizer(text, verbose=False)["input_ids"]) for text in texts]
                return [(one, list(tokenizer.convert_ids_to_tokens(one))) for one in ids]


def _submit(classifier: Classifier, texts: Sequence[str], pairs: Pairs, deadline: float) -> Ticket[list[list[float]]]:
    return classifier.submit_pairs(pairs, deadline) if pairs else classifier.submit(texts, deadline)


def _finish(
    classifier: Classifier,
    inputs: Sequence[str | tuple[str, str]],
    top_k: int,
    explain_until: float | None,
    rows: list[list[float]],
) -> _Found:
    """Ranked labels, and where there is a time to explain until, what spoke for the best."""
    results = [_best(row, classifier.labels, top_k) for row in rows]
    given = [classifier.given(row) for row in rows]
    if explain_until is None:
        return _Found(results, given, [])
    best = [max(range(len(row)), key=row.__getitem__) for row in rows]
    return _Found(results, given, classifier.explain(inputs, best, explain_until))


def _remembered(texts: Sequence[str], pairs: Pairs, found: _Found) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    asked: dict[str, Any] = {"pairs": [list(pair) for pair in pairs]} if pairs else {"texts": list(texts)}
    return asked, {"labels": [given[0] if len(given) == 1 else sorted(given) for given in found.given]}


def _agrees(texts: Sequence[str], pairs: Pairs, given: Sequence[Given], shadow: Classifier, deadline: float) -> bool:
    """Whether a shadow gives every text the same labels."""
    rows = _submit(shadow, texts, pairs, deadline).wait()
    return [set(shadow.given(row)) for row in rows] == list(map(set, given))


def _best(row: Sequence[float], labels: Sequence[str], top_k: int) -> Labels:
    ranked = sorted(zip(labels, row, strict=True), key=lambda pair: -pair[1])
    return ranked[:top_k] if top_k else ranked
