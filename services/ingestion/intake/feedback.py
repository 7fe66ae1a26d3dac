"""What users think of answers; a correction that they agree to have trained on becomes a row."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from services.ingestion.intake.receiving import Header, Receiver
from services.ingestion.reading.received import Received, check_size
from services.ingestion.rules.personal.keys import no_key
from services.ingestion.rules.personal.policy import PersonalDataRule
from shared.errors import InvalidArgument
from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS, RowError
from shared.storage.database import Database, clock
from shared.storage.repositories import batches, pipelines
from shared.storage.tables import Batch, Feedback
from shared.telemetry.metrics import FEEDBACK

SOURCE = "feedback"
MAX_REQUEST_LENGTH = 128
DIGEST_CHARACTERS = 16


@dataclass(frozen=True)
class Opinion:
    """One user's word on one answer. `input` has our row fields."""

    pipeline: str
    request_id: str
    model_version: int
    input: Mapping[str, Any]
    output: str
    rating: float | None
    correction: str | None
    comment: str
    consent: bool


class Kept(NamedTuple):
    """The feedback, and the batch of its corrected row where there is one."""

    feedback: Feedback
    batch: Batch | None


class FeedbackKeeper:
    """Keeps feedback. The same opinion on the same request, sent again, is the same feedback."""

    def __init__(self, database: Database, receiver: Receiver, max_row_bytes: int) -> None:
        self._database, self._receiver, self._max_row_bytes = database, receiver, max_row_bytes

    def record(self, opinion: Opinion) -> Kept:
        """Raises NotFound (no such pipeline) or InvalidArgument (nothing said, or a correction that can't be)."""
        with self._database.read() as session:
            spec = pipelines.spec(session, opinion.pipeline)
        _check(opinion)
        digest = _digest(opinion)
        id = f"feedback-{digest}"
        with self._database.read() as session:
            if found := session.get(Feedback, id):
                return Kept(found, batches.get(session, found.batch) if found.batch else None)
        batch = self._train_on(opinion, spec, digest) if opinion.correction is not None else None
        with self._database.write() as session:
            pipelines.lock(session, opinion.pipeline)
            feedback = session.get(Feedback, id)
            if feedback is None:
                feedback = _feedback(id, _redacted(opinion, spec), batch)
                feedback.created_at = clock(session)
                session.add(feedback)
                FEEDBACK.labels(opinion.pipeline, _rating_word(opinion.rating)).inc()
            return Kept(feedback, batch)

    def _train_on(self, opinion: Opinion, spec: PipelineSpec, digest: str) -> Batch | None:
        assert opinion.correction is not None
        row = SCHEMAS[spec.kind].corrected(opinion.input, opinion.correction)
        _check_row(row, spec, opinion, self._max_row_bytes)
        if not opinion.consent:
            return None
        header = Header(opinion.pipeline, f"feedback-{opinion.request_id}-{digest}", SOURCE)
        product = _as_product(row, spec)
        return self._receiver.receive(header, [Received(1, product, product, 0)]).batch


def _check(opinion: Opinion) -> None:
    if not opinion.request_id or len(opinion.request_id) > MAX_REQUEST_LENGTH:
        raise InvalidArgument(f"request_id must have 1 to {MAX_REQUEST_LENGTH} characters", field="request_id")
    if opinion.rating is not None and not (math.isfinite(opinion.rating) and -1 <= opinion.rating <= 1):
        raise InvalidArgument(f"rating={opinion.rating} must be -1 (bad) to 1 (good)", field="rating")
    if opinion.rating is None and opinion.correction is None and not opinion.comment:
        raise InvalidArgument("feedback needs a rating, a correction or a comment", field="rating")
    if opinion.correction is not None and not opinion.correction.strip():
        raise InvalidArgument("correction is empty", field="correction")
    for field in ("request_id", "output", "correction", "comment"):
        if "\0" in (getattr(opinion, field) or ""):
            raise InvalidArgument(f"{field} has a NUL character", field=field)


def _check_row(row: Mapping[str, Any], spec: PipelineSpec, opinion: Opinion, max_row_bytes: int) -> None:
    """A correction without consent is kept, not trained on, so it may come without the input."""
    try:
        check_size(len(json.dumps(row)), max_row_bytes)
        SCHEMAS[spec.kind].parse(row, _with_own_names(spec))
    except RowError as error:
        corrected = error.field.partition("[")[0] in SCHEMAS[spec.kind].outputs
        if not corrected and not opinion.consent and not opinion.input:
            return
        field = "correction" if corrected else f"input.{error.field}".rstrip(".")
        raise InvalidArgument(f"{field}: {error.message}", field=field) from None


def _with_own_names(spec: PipelineSpec) -> PipelineSpec:
    return spec.model_copy(update={"data": spec.data.model_copy(update={"fields": {}})})


def _as_product(row: Mapping[str, Any], spec: PipelineSpec) -> dict[str, Any]:
    """The row under the product's names, as every other row of the pipeline comes."""
    return {spec.data.fields.get(field, field): value for field, value in row.items()}


def _digest(opinion: Opinion) -> str:
    content = json.dumps(asdict(opinion), sort_keys=True, default=str)
    return hashlib.sha256(content.encode(errors="replace")).hexdigest()[:DIGEST_CHARACTERS]


def _redacted(opinion: Opinion, spec: PipelineSpec) -> Opinion:
    """The opinion without what the pipeline does not keep in clear."""
    rule = PersonalDataRule(spec.data.personal_data, no_key)
    if not rule.redacts:
        return opinion
    correction = None if opinion.correction is None else rule.redacted(opinion.correction)
    output, comment = rule.redacted(opinion.output), rule.redacted(opinion.comment)
    return replace(opinion, output=output, correction=correction, comment=comment)


def _feedback(id: str, opinion: Opinion, batch: Batch | None) -> Feedback:
    return Feedback(
        id=id,
        request_id=opinion.request_id,
        pipeline=opinion.pipeline,
        model_version=opinion.model_version or None,
        output=opinion.output,
        rating=opinion.rating,
        correction=opinion.correction,
        comment=opinion.comment,
        consent=opinion.consent,
        batch=batch.id if batch else None,
    )


def _rating_word(rating: float | None) -> str:
    if rating is None:
        return "none"
    return "good" if rating > 0 else "bad" if rating < 0 else "neutral"
