"""Where paraphrases are kept: in the store, for as long as anything may be trained on them again.

They belong to the job that a chain of clones began with, or to the search of that job, so that every attempt, clone,
trial and verification reads the same bytes, and none translates again.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy.orm import Session

from services.finetuning.paraphrasing.drawing import Drawn
from services.finetuning.spec import Paraphrases, TrainingSpec
from shared.errors import DataCorrupted, NotFound
from shared.pipelines.back_translation import BackTranslation
from shared.storage.artifacts import Artifacts
from shared.storage.digests import file_digest
from shared.storage.tables import Job

ROWS, ABOUT = "paraphrases.parquet", "about.json"
SCHEMA = pa.schema([("row_id", pa.string()), ("field", pa.string()), ("text", pa.string())])


def origin(session: Session, job: Job) -> str:
    """Id of the job that a job goes back to, by clones and verifications; of a trial that of its search."""
    while job.clone_of and (before := session.get(Job, job.clone_of)) is not None:
        job = before
    return job.search or job.id


def place_of(spec: TrainingSpec, keys: BackTranslation, origin: str) -> str:
    """URI of what these keys make of these rows: a clone with other keys or rows has its own."""
    before = spec.trained_before.digest if spec.trained_before else ""
    decides = [spec.kind, spec.dataset.digest, before, spec.seed, keys.model_dump()]
    return (
        f"paraphrases/{spec.pipeline}/{origin}/{sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]}"
    )


def kept(artifacts: Artifacts, uri: str) -> Paraphrases | None:
    """What is there, verified; None when nothing is. Raises DataCorrupted."""
    try:
        folder = artifacts.fetch_folder(uri)
    except NotFound:
        return None
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    return Paraphrases(folder / ROWS, file_digest(folder / ROWS), tuple(about["by"]))


def keep(
    artifacts: Artifacts, uri: str, drawn: Sequence[Drawn], texts: Sequence[str | None], by: Sequence[str]
) -> Paraphrases:
    """Stores paraphrases of the drawn texts. Those of another trial that was first win."""
    rows = [
        {"row_id": one.row_id, "field": one.field, "text": text}
        for one, text in zip(drawn, texts, strict=True)
        if text is not None
    ]
    with TemporaryDirectory() as name:
        folder = Path(name)
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / ROWS)
        (folder / ABOUT).write_text(json.dumps({"by": list(by), "drawn": len(drawn), "made": len(rows)}) + "\n")
        with suppress(DataCorrupted):
            artifacts.put_folder(folder, uri)
    stored = kept(artifacts, uri)
    assert stored is not None
    return stored
