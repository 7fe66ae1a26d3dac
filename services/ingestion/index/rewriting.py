"""The index of a batch whose part is written anew with fewer rows."""

from contextlib import ExitStack
from pathlib import Path
from typing import IO

from services.ingestion.index.deriving import remembered, segment_of_part
from services.ingestion.index.indexes import bands_of
from services.ingestion.index.segment import Segment, made, read_segment, write_segment
from services.ingestion.scratch import scratch_file
from shared.pipelines.schema import PipelineSpec
from shared.storage.artifacts import Artifacts
from shared.storage.tables import Batch


def rewritten_index(
    artifacts: Artifacts, batch: Batch, spec: PipelineSpec, part: IO[bytes] | None, folder: Path
) -> IO[bytes]:
    """A new segment for the batch: the rows of its new part (None: no row is left), and the sides of all inputs that
    it ever had. `batch` still names the files of before. Raises NotFound or DataCorrupted when they are damaged."""
    source, bands = batch.id, bands_of(spec)
    rest = made([source], bands, {})
    if part is not None:
        part.seek(0)
        rest = segment_of_part(part, spec.name, spec.kind, source, bands)
    before = _before(artifacts, batch, spec)
    with ExitStack() as unless_whole:
        file = unless_whole.enter_context(scratch_file(folder))
        write_segment(file, remembered(rest, before))
        unless_whole.pop_all()
    return file


def _before(artifacts: Artifacts, batch: Batch, spec: PipelineSpec) -> Segment:
    if batch.index_uri:
        return read_segment(artifacts.fetch_file(batch.index_uri, batch.index_digest))
    if not batch.part_uri:
        return made([batch.id], None, {})
    return segment_of_part(
        artifacts.fetch_file(batch.part_uri, batch.part_digest), spec.name, spec.kind, batch.id, None
    )
