"""Which languages a dataset version is written in: counted in a sample of its rows, when somebody asks, and then kept.

The sample are the rows whose ids come first. Ids are hashes of what rows say, so it is drawn evenly, and the same rows
are drawn whoever asks (bottom-k sampling: Cohen and Kaplan, PODC 2007).
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.ingestion.figures.vocabulary import texts_of
from services.ingestion.rules.languages import UNKNOWN, probabilities
from shared.errors import DataCorrupted, NotFound
from shared.rows import SCHEMAS
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.datasets import READ_ROWS, Manifest, Part, read_manifest
from shared.storage.repositories import datasets
from shared.telemetry.logs import get_logger

SAMPLE = 2000
"""Rows that are looked at."""
MARGIN = 1.2
"""So many times the sample is read, so that chance leaves it full."""
JUDGED = 500
"""Characters of a row that are looked at."""
HEAD = 16
"""Characters of an id in its first 64 bits."""
KEY = "language_sample"
"""In a version's statistics: {"rows": looked at, "of": rows of the version, "languages": {language: rows}}."""
UNREADABLE = (NotFound, DataCorrupted, pa.ArrowException)
"""It expired meanwhile, or is damaged; its other figures still count."""
log = get_logger(__name__)


class Drawn(NamedTuple):
    row_id: str
    text: str


class LanguageSamples:
    """Adds the sample to the statistics of versions that have none yet."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database, self._artifacts = database, artifacts

    def ensure(self, pipeline: str, version: int) -> None:
        """Of the version, 0 for the newest sealed one. Nothing is added to one that can't be read. Raises NotFound."""
        with self._database.read() as session:
            found = datasets.get(session, pipeline, version)
        if found.state != "sealed" or KEY in found.statistics:
            return
        try:
            told = sample(self._artifacts, read_manifest(self._artifacts, found.manifest_uri))
        except UNREADABLE as error:
            log.warning("languages can't be told", pipeline=pipeline, version=found.version, error=str(error))
            return
        with self._database.write() as session:
            row = datasets.get(session, pipeline, found.version)
            row.statistics = {**row.statistics, KEY: told}


def sample(artifacts: Artifacts, manifest: Manifest) -> dict[str, Any]:
    """Rows by language, the commonest first; `unknown` are those that are too short to tell. Raises what is
    UNREADABLE."""
    rows = sum(part.rows for part in manifest.parts)
    drawn = [one for part in manifest.parts if part.rows for one in _drawn(artifacts, manifest.kind, part, rows)]
    seen = Counter(_language(one.text) for one in sorted(drawn)[:SAMPLE])
    return {"rows": seen.total(), "of": rows, "languages": dict(seen.most_common())}


def _drawn(artifacts: Artifacts, kind: str, part: Part, rows: int) -> Iterator[Drawn]:
    """Of a part the rows that may be among the first of `rows`."""
    schema, share = SCHEMAS[kind], MARGIN * SAMPLE / rows
    below = f"{int(share * 2.0 ** (4 * HEAD)):0{HEAD}x}" if share < 1 else "g"
    with pq.ParquetFile(artifacts.fetch_file(part.uri, part.digest)) as file:
        texts = [name for name in schema.columns if name in schema.texts and name in file.schema_arrow.names]
        for chunk in file.iter_batches(READ_ROWS, columns=["row_id", "split", *texts]):
            wanted = pc.less(chunk["row_id"], below)
            wanted = wanted if part.test else pc.and_(wanted, pc.not_equal(chunk["split"], "test"))
            for row in chunk.filter(wanted).to_pylist():
                yield Drawn(row["row_id"], "\n".join(texts_of(schema, row))[:JUDGED])


def _language(text: str) -> str:
    shares = probabilities(text)
    return max(shares, key=lambda language: shares[language]) if shares else UNKNOWN
