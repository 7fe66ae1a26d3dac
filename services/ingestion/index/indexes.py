"""A pipeline's index of rows in this process, kept up with the database's list of batches."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock

from sqlalchemy.orm import Session

from services.ingestion.index.deriving import segment_of_part
from services.ingestion.index.segment import Segment, made, read_segment, write_segment
from services.ingestion.index.view import ACCEPTED, HELD, View, state_key
from services.ingestion.near.bands import Bands, banded
from shared.errors import DataCorrupted, NotFound
from shared.pipelines.schema import PipelineSpec
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.ids import new_id
from shared.storage.repositories import row_index
from shared.storage.repositories.row_index import Entry
from shared.telemetry.logs import get_logger

SEED = 0xF1
MANY = 32
FETCHERS = 16
"""Files that are fetched from afar at once when a process starts with a long list of batches."""
log = get_logger(__name__)


class Indexes:
    """The index of every pipeline that this process has taken rows for. Threads may share it."""

    def __init__(self, database: Database, artifacts: Artifacts, folder: Path) -> None:
        self._database, self._artifacts, self._folder = database, artifacts, folder
        self._lock = Lock()
        self._found: dict[str, _Index] = {}

    def view(self, spec: PipelineSpec) -> View:
        """What the index holds now. Raises Unavailable when database or store do not answer."""
        with self._database.read() as session:
            return self.view_in(session, spec)

    def view_in(self, session: Session, spec: PipelineSpec) -> View:
        """The same inside a transaction; under the pipeline's lock nothing is newer."""
        bands = bands_of(spec)
        with self._lock:
            index = self._found.get(spec.name)
            if index is None or index.bands != bands:
                index = self._found[spec.name] = _Index(spec, bands, self._artifacts, self._folder)
        return index.advance(session)


def bands_of(spec: PipelineSpec) -> Bands | None:
    """How the shingles of a pipeline's rows are banded; None when it does not look for near copies."""
    near = spec.data.near_duplicates
    return Bands.for_threshold(near.threshold, SEED) if near.enabled else None


class _Index:
    def __init__(self, spec: PipelineSpec, bands: Bands | None, artifacts: Artifacts, folder: Path) -> None:
        self._pipeline, self._kind, self.bands, self._artifacts = spec.name, spec.kind, bands, artifacts
        self._view = View(bands, folder)
        self._sources: dict[str, str] = {}
        """Batch -> its source that counts now."""
        self._loaded: set[str] = set()
        self._lock = Lock()

    def advance(self, session: Session) -> View:
        with self._lock:
            found = row_index.changes(session, self._pipeline, self._view.change)
            if not found:
                return self._view
            states, wanted = dict(self._view.states), {}
            for entry in found:
                states.pop(self._sources.pop(entry.batch, ""), None)
                if entry.state in (ACCEPTED, HELD) and (entry.part_uri or entry.index_uri):
                    source = self._sources[entry.batch] = state_key(
                        entry.batch, entry.index_digest or entry.part_digest
                    )
                    states[source] = entry.state
                    if source not in self._loaded:
                        wanted[source] = entry
            segments = self._load(list(wanted.items()))
            self._loaded |= wanted.keys()
            self._view = self._view.with_batches(found[-1].change, states, segments)
            return self._view

    def _load(self, wanted: Sequence[tuple[str, Entry]]) -> list[tuple[int, Segment]]:
        if len(wanted) < MANY or self._artifacts.is_local:
            segments = [self._segment(source, entry) for source, entry in wanted]
        else:
            with ThreadPoolExecutor(FETCHERS) as pool:
                segments = list(pool.map(lambda one: self._segment(*one), wanted))
        return [(entry.change, segment) for (_, entry), segment in zip(wanted, segments, strict=True)]

    def _segment(self, source: str, entry: Entry) -> Segment:
        """A batch whose files are damaged has no rows here; the builder finds out and holds it."""
        try:
            return replace(self._banded(source, entry), sources=(source,))
        except (NotFound, DataCorrupted) as error:
            log.error("a batch can't be indexed", pipeline=self._pipeline, batch=entry.batch, error=str(error))
            return made([source], self.bands, {})

    def _banded(self, source: str, entry: Entry) -> Segment:
        if entry.index_uri:
            with suppress(NotFound, DataCorrupted):
                return self._fitting(read_segment(self._artifacts.fetch_file(entry.index_uri, entry.index_digest)))
        return self._derived(source, entry)

    def _fitting(self, segment: Segment) -> Segment:
        """The segment banded as this index is. Raises NotFound when it has no shingles and they are needed."""
        if segment.bands == self.bands:
            return segment
        names = ("set_clusters", "set_sides", "set_sources", "offsets", "members", "bands")
        plain = {name: column for name, column in segment.columns.items() if name not in names}
        if self.bands is None:
            return made(segment.sources, None, plain)
        if segment.bands is None:
            raise NotFound("no shingles")
        sets = {name: segment[name] for name in names[:3]}
        return made(segment.sources, self.bands, plain | sets, segment.sets, banded(segment.sets, self.bands))

    def _derived(self, source: str, entry: Entry) -> Segment:
        """From the batch's part; once on a machine."""
        how = f"{self.bands.hashes}-{self.bands.count}" if self.bands else "plain"
        kept = self._artifacts.cache / "index" / self._pipeline / f"{entry.part_digest}.{how}"
        with suppress(FileNotFoundError, DataCorrupted):
            return read_segment(kept)
        part = self._artifacts.fetch_file(entry.part_uri, entry.part_digest)
        segment = segment_of_part(part, self._pipeline, self._kind, source, self.bands)
        kept.parent.mkdir(parents=True, exist_ok=True)
        aside = kept.with_name(new_id("aside"))
        try:
            with aside.open("wb") as file:
                write_segment(file, segment)
            aside.replace(kept)
        finally:
            aside.unlink(missing_ok=True)
        return segment
