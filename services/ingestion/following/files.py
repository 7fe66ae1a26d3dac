"""Looking at a followed folder or prefix: what is new or changed there becomes an import, once.

An import's id is made of what it is about (pipeline, source, path, identity), so that the table of imports is the memory
of what was seen, however many processes look and whatever they forget. One that failed for a reason that may pass is asked for
again; one whose file is no good stays failed until the file is another one.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote

from services.ingestion.remote.fetching import Fetcher
from services.ingestion.remote.places import Found
from shared.errors import FlywheelError, NotFound
from shared.pipelines.sources import FollowedSource
from shared.storage.database import Database
from shared.storage.repositories import failed_imports, imports, sources
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import INGESTION_SOURCE_FAILING, INGESTION_SOURCE_PENDING

LOOK_SECONDS = 120.0
"""A look that takes longer has lost its process; another one looks."""
MOST_UNDER_WAY = 100
"""Imports of a source that wait or run; the next ones are asked for when some have ended."""
MOST_UNSETTLED = 10_000
CHECK_AT_ONCE = 500
log = get_logger(__name__)


class FileFollower:
    """Looks at one source; any number of processes may, and one at a time does."""

    def __init__(self, database: Database, fetcher: Fetcher, pipeline: str, source: FollowedSource, owner: str) -> None:
        self._database, self._fetcher, self._owner = database, fetcher, owner
        self._pipeline, self._source = pipeline, source
        self._seen: set[str] = set()
        """Ids of imports that there are, of files that were there at the last look."""

    def look(self) -> bool:
        """Looks if it is time to; what goes wrong is kept with the source. Returns whether it looked."""
        pipeline, source = self._pipeline, self._source
        with self._database.write() as session:
            if not sources.begin_look(session, pipeline, source.name, self._owner, source.every, LOOK_SECONDS):
                return False
            state = sources.held(session, pipeline, source.name)
            before = dict(state.cursor.get("unsettled", {}))
        try:
            unsettled, waiting = self._take_stock(before)
            seen: dict[str, Any] = {"cursor": {"unsettled": unsettled}, "pending": waiting, "error": ""}
        except FlywheelError as error:
            seen = {"error": error.message}
        except Exception as error:
            log.exception("a source can't be looked at", pipeline=pipeline, source=source.name)
            seen = {"error": f"{type(error).__name__}: {error}"}
        with self._database.write() as session:
            sources.end_look(session, pipeline, source.name, self._owner, **seen)
            waiting = imports.under_way(session, pipeline, source.name) + int(seen.get("pending", 0))
            trouble = failed_imports.trouble(session, pipeline, source.name)
        INGESTION_SOURCE_PENDING.labels(pipeline, source.name).set(waiting)
        INGESTION_SOURCE_FAILING.labels(pipeline, source.name).set(bool(seen["error"] or trouble.reason))
        return True

    def _take_stock(self, before: dict[str, str]) -> tuple[dict[str, str], int]:
        """Asks for imports of what is new and settled. Returns what is not settled yet, and how many files wait."""
        unsettled: dict[str, str] = {}
        fresh: list[tuple[str, Found]] = []
        still_there: set[str] = set()
        for found in self._files():
            id = self._id(found)
            still_there.add(id)
            if id in self._seen:
                continue
            if self._is_settled(found, before):
                fresh.append((id, found))
            elif len(unsettled) < MOST_UNSETTLED:
                unsettled[found.name] = found.identity
        self._seen &= still_there
        waiting = self._ask(fresh)
        self._ask_again(still_there)
        return unsettled, waiting + len(unsettled)

    def _files(self) -> Iterator[Found]:
        place = self._fetcher.place(self._source.full_uri)
        try:
            yield from place.files()
        except NotFound:
            if self._source.kind == "folder":
                raise

    def _is_settled(self, found: Found, before: dict[str, str]) -> bool:
        """A file must look the same twice; an object is there only when it is whole."""
        return self._source.kind == "s3" or before.get(found.name) == found.identity

    def _ask(self, fresh: Sequence[tuple[str, Found]]) -> int:
        """Returns how many have to wait for the next look."""
        known = self._known([id for id, _ in fresh])
        new = [(id, found) for id, found in fresh if id not in known]
        with self._database.write() as session:
            room = MOST_UNDER_WAY - imports.under_way(session, self._pipeline, self._source.name)
            asked = list(islice(new, max(0, room)))
            there = imports.known(session, [id for id, _ in asked])
            for id, found in asked:
                if id not in there:
                    imports.ask(
                        session, self._pipeline, self._uri(found), self._said(), source=self._source.name, id=id
                    )
        self._seen.update(id for id, _ in asked)
        return len(new) - len(asked)

    def _ask_again(self, there: set[str]) -> None:
        """For files that failed and are still there, as soon as it is time; the rest is left to the next look."""
        pipeline, source = self._pipeline, self._source.name
        with self._database.write() as session:
            due = failed_imports.note_there(session, pipeline, source, there)
            room = MOST_UNDER_WAY - imports.under_way(session, pipeline, source)
            for id in due[: max(0, room)]:
                failed_imports.ask_again(session, id)

    def _known(self, ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(ids), CHECK_AT_ONCE):
            with self._database.read() as session:
                found |= imports.known(session, ids[start : start + CHECK_AT_ONCE])
        self._seen |= found
        return found

    def _id(self, found: Found) -> str:
        """Another one when the file is, or when it is to be read in another way."""
        content = repr((self._pipeline, self._source.full_uri, found.name, found.identity, self._said()))
        return f"import-{hashlib.sha256(content.encode()).hexdigest()[:20]}"

    def _uri(self, found: Found) -> str:
        name = found.name if self._source.kind == "s3" else quote(found.name)
        return self._source.full_uri + name

    def _said(self) -> dict[str, object]:
        source = self._source
        return {
            "source": source.name,
            "format": source.format,
            "encoding": source.encoding,
            "licence": source.licence,
            "fields": source.fields,
        }
