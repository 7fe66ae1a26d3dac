"""Outputs of models on test rows, kept in the artifact store, so that no model is judged twice on equal rows.

They are named after what made them: weights, adapter, rows and how they were asked. So the champion costs nothing
as long as its test rows stay the same, and an evaluation that starts again takes up what it had.
"""

import json
from collections.abc import Sequence
from hashlib import sha256

from services.evaluation.frozen import FrozenRows
from services.evaluation.kinds.base import JudgedKind, Outputs, Step
from services.evaluation.subjects import Subject
from shared.errors import NotFound
from shared.storage.artifacts import Artifacts


def outputs_of(artifacts: Artifacts, kind: JudgedKind, subject: Subject, rows: FrozenRows, step: Step) -> Outputs:
    """Kept outputs, or new ones from the model, which is loaded only then."""
    uri = _uri(kind.outputs_format, subject.digests, rows.digest)
    try:
        kept: Outputs = json.loads(artifacts.read_bytes(uri))
    except NotFound:
        outputs = kind.predict(subject.load(), rows.rows, step)
        artifacts.write_bytes(uri, json.dumps(outputs).encode())
        return outputs
    step(kind.work(rows.rows))
    return kept


def _uri(outputs_format: str, digests: Sequence[str], rows: str) -> str:
    key = sha256(json.dumps([outputs_format, *digests, rows]).encode()).hexdigest()
    return f"evaluation/outputs/{key}.json"
