"""Train texts in other words, as the supervisor has had them made."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.finetuning.spec import FailureReason, TrainingSpec
from services.finetuning.training.failures import TrainingFailed
from shared.modeling.digests import file_digest
from shared.pipelines.back_translation import READ

OfTexts = Mapping[tuple[str, str], str]
"""By row id and the text as it stands in the row."""


def read_paraphrases(spec: TrainingSpec, rows: Sequence[Mapping[str, Any]]) -> OfTexts:
    """Those of the rows; empty where the method asks for none. Raises TrainingFailed (BAD_DATA)."""
    augmentation, given = spec.method.augmentation, spec.paraphrases
    if augmentation is None or augmentation.back_translation is None:
        return {}
    if given is None:
        raise TrainingFailed(FailureReason.BAD_SPEC, "spec.paraphrases: the method asks for them; name their file")
    if not given.path.is_file() or file_digest(given.path) != given.digest:
        raise _bad(f"{given.path.name} is missing or does not have the digest of the spec")
    try:
        made = pq.read_table(given.path, columns=["row_id", "field", "text"]).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise _bad(f"{given.path.name} can't be read: {error}") from None
    texts = {(one["row_id"], one["field"]): one["text"] for one in made}
    return {
        (row["row_id"], row[field]): texts[row["row_id"], field]
        for row in rows
        for field in READ[spec.kind]
        if (row["row_id"], field) in texts
    }


def paraphrased(spec: TrainingSpec) -> dict[str, str]:
    """Who translated and what came of it, for the model's lineage; empty without back-translation."""
    given = spec.paraphrases
    return {"paraphrases": f"back-translated by {', '.join(given.by)}, {given.digest}"} if given else {}


def _bad(message: str) -> TrainingFailed:
    return TrainingFailed(FailureReason.BAD_DATA, f"paraphrases: {message}")
