"""Texts to labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from services.inference.answering.answers import AnswerLog, Times
from services.inference.answering.holding import Models
from services.inference.answering.metering import metered
from services.inference.answering.requests import ModelRef, check_classify, check_texts
from services.inference.kinds.classification import Classifier
from services.inference.models.lineage import Lineage
from shared.storage.ids import new_id
from shared.telemetry import metrics

METHOD = "Classify"
Labels = list[tuple[str, float]]
OnGone = Callable[[Callable[[], None]], bool]
"""Registers what to do when the client goes away; False when it is gone already."""


@dataclass(frozen=True)
class ClassifyAnswer:
    """One list of (label, probability) a text, best first."""

    request_id: str
    results: list[Labels]
    lineage: Lineage
    times: Times


class Classifying:
    def __init__(self, models: Models, answers: AnswerLog) -> None:
        self._models = models
        self._answers = answers

    def classify(
        self,
        model: ModelRef,
        texts: Sequence[str],
        top_k: int,
        request_id: str,
        deadline: float,
        on_gone: OnGone,
    ) -> ClassifyAnswer:
        """Labels texts before `deadline` (on the clock of `time.monotonic`). Raises the errors of shared.errors."""
        with metered(METHOD) as meter:
            check_classify(texts, top_k, request_id)
            request_id = request_id or new_id("request")
            with self._models.hold(model, Classifier, deadline, request_id) as (classifier, lineage):
                meter.model = model.name
                ticket = classifier.submit(texts, deadline)
                if not on_gone(ticket.cancel):
                    ticket.cancel()
                rows = ticket.wait()
                labels = classifier.labels
            results = [_best(row, labels, top_k) for row in rows]
            queue = ticket.queue_seconds
            times = Times(queue=queue, compute=max(meter.seconds - queue, 0.0), total=meter.seconds)
            metrics.INFERENCE_QUEUE_SECONDS.labels(model.name).observe(queue)
            output = {"labels": [result[0][0] for result in results]}
            self._answers.add(request_id, METHOD, {"texts": list(texts)}, output, lineage, times)
            self._models.copy(model, request_id, Classifier, partial(_agrees, texts, output["labels"]))
            return ClassifyAnswer(request_id, results, lineage, times)

    def tokenize(self, model: ModelRef, texts: Sequence[str], deadline: float) -> list[tuple[list[int], list[str]]]:
        """Ids and pieces of each text, as the model's tokenizer cuts it, uncut in length."""
        with metered("Tokenize") as meter:
            check_texts(texts)
            with self._models.hold_any(model, deadline) as (served, _):
                meter.model = model.name
                tokenizer = served.tokenizer
                ids = [list(tokenizer(text, verbose=False)["input_ids"]) for text in texts]
                return [(one, list(tokenizer.convert_ids_to_tokens(one))) for one in ids]


def _agrees(texts: Sequence[str], labels: Sequence[str], shadow: Classifier, deadline: float) -> bool:
    """Whether a shadow gives every text the same best label."""
    rows = shadow.submit(texts, deadline).wait()
    return [_best(row, shadow.labels, 1)[0][0] for row in rows] == list(labels)


def _best(row: Sequence[float], labels: Sequence[str], top_k: int) -> Labels:
    ranked = sorted(zip(labels, row, strict=True), key=lambda pair: -pair[1])
    return ranked[:top_k] if top_k else ranked
