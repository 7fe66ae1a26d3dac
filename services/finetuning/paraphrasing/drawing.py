"""Which texts of the train rows are paraphrased."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from services.finetuning.spec import TrainingSpec
from shared.errors import DataCorrupted
from shared.pipelines.back_translation import READ, BackTranslation


@dataclass(frozen=True)
class Drawn:
    """A text of a row."""

    row_id: str
    field: str
    text: str


def drawn_texts(spec: TrainingSpec, keys: BackTranslation) -> list[Drawn]:
    """Sorted by row id; of rows that only are replayed none. Raises DataCorrupted."""
    known = spec.trained_before.parts if spec.trained_before else frozenset()
    found: list[Drawn] = []
    for part in spec.dataset.parts:
        if part.digest in known:
            continue
        try:
            fields = [name for name in READ[spec.kind] if name in pq.read_schema(part.path).names]
            table = pq.read_table(part.path, columns=["row_id", *fields], filters=[("split", "=", "train")])
        except (pa.ArrowException, OSError) as error:
            raise DataCorrupted(f"dataset: part {part.path.name} can't be read: {error}") from None
        rows = (row for row in table.to_pylist() if keys.draws(spec.seed, row["row_id"]))
        found += [Drawn(row["row_id"], field, row[field]) for row in rows for field in fields if row[field]]
    return sorted(found, key=lambda one: (one.row_id, one.field))
