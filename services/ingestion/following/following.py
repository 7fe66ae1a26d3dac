"""Following the sources of every pipeline: a thread a source, so that one that fails or hangs stops no other."""

import os
import socket
import threading
from dataclasses import dataclass

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.ingestion.following.files import FileFollower
from services.ingestion.following.streams import StreamFollower
from services.ingestion.intake.receiving import Receiver
from services.ingestion.remote.fetching import Fetcher
from shared.config import Settings
from shared.errors import FlywheelError
from shared.pipelines.schema import PipelineSpec
from shared.pipelines.sources import FollowedSource
from shared.storage.database import Database
from shared.storage.ids import new_id
from shared.storage.tables import Pipeline
from shared.telemetry.logs import get_logger

CHECK_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 5.0
JOIN_SECONDS = 10.0
log = get_logger(__name__)

Key = tuple[str, str]
"""Pipeline and name of the source."""


@dataclass
class Followed:
    """A source that a thread follows as the pipeline's file said it."""

    revision: int
    stop: threading.Event
    thread: threading.Thread


class Following:
    """Keeps a thread for every source that a pipeline declares, and ends those that none does any more."""

    def __init__(self, settings: Settings, database: Database, receiver: Receiver, fetcher: Fetcher) -> None:
        self._settings, self._database, self._receiver, self._fetcher = settings, database, receiver, fetcher
        self.owner = f"{socket.gethostname()}-{os.getpid()}-{new_id('follower')[-9:]}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="following", daemon=True)
        self._followed: dict[Key, Followed] = {}
        self._specs: dict[str, tuple[int, PipelineSpec | None]] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends all threads; a batch that is being committed is waited for."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_SECONDS)
        self._end(list(self._followed))

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.adjust()
            except FlywheelError as error:
                log.warning("pipelines can't be looked through for sources", error=error.message)
            except Exception:
                log.exception("pipelines can't be looked through for sources")
            self._stop.wait(CHECK_SECONDS)

    def adjust(self) -> None:
        """Starts and ends threads so that they are those of the pipelines as they are now."""
        wanted = self._wanted()
        changed = [key for key, now in self._followed.items() if key not in wanted or wanted[key][0] != now.revision]
        self._end(changed)
        for key, (revision, spec, source) in wanted.items():
            if key not in self._followed and not self._stop.is_set():
                self._begin(key, revision, spec, source)

    def _wanted(self) -> dict[Key, tuple[int, PipelineSpec, FollowedSource]]:
        with self._database.read() as session:
            rows = session.execute(select(Pipeline.name, Pipeline.revision).where(Pipeline.deleted_at.is_(None))).all()
            self._specs = {row.name: self._spec(session, row.name, row.revision) for row in rows}
        return {
            (name, source.name): (revision, spec, source)
            for name, (revision, spec) in self._specs.items()
            if spec is not None
            for source in spec.data.sources
        }

    def _spec(self, session: Session, name: str, revision: int) -> tuple[int, PipelineSpec | None]:
        """Read anew only when it was changed; None for one that this release can't read."""
        known = self._specs.get(name)
        if known is not None and known[0] == revision:
            return known
        try:
            return revision, PipelineSpec.model_validate(session.get_one(Pipeline, name).spec)
        except ValidationError as error:
            log.error("a pipeline can't be read; its sources are not followed", pipeline=name, error=str(error))
            return revision, None

    def _begin(self, key: Key, revision: int, spec: PipelineSpec, source: FollowedSource) -> None:
        stop = threading.Event()
        name = f"follow-{key[0]}-{key[1]}"
        thread = threading.Thread(target=self._follow, args=(spec, source, stop), name=name, daemon=True)
        self._followed[key] = Followed(revision, stop, thread)
        thread.start()
        log.info("source is followed", pipeline=key[0], source=key[1], kind=source.kind)

    def _end(self, keys: list[Key]) -> None:
        ending = [self._followed.pop(key) for key in keys]
        for one in ending:
            one.stop.set()
        for one in ending:
            one.thread.join(JOIN_SECONDS)

    def _follow(self, spec: PipelineSpec, source: FollowedSource, stop: threading.Event) -> None:
        if source.stream:
            consumer = f"{self.owner}-{new_id('consumer')[-9:]}"
            StreamFollower(self._settings, self._database, self._receiver, spec, source, consumer).run(stop)
            return
        follower = FileFollower(self._database, self._fetcher, spec.name, source, self.owner)
        while not stop.is_set():
            try:
                follower.look()
            except Exception as error:
                log.warning("a source is not looked at", pipeline=spec.name, source=source.name, error=str(error))
            stop.wait(min(source.every / 2, LONGEST_WAIT_SECONDS))
