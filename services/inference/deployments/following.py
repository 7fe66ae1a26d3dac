"""Follows the aliases: loads what they point at beside what serves, then switches new requests over.

One thread decides and switches; another one loads. So a rollback to a version that is still warm does not
wait behind a load.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

from services.inference.deployments.deployment import State
from services.inference.deployments.gauges import report_load, show_champion
from services.inference.deployments.records import DeploymentRecords
from services.inference.deployments.registry import Registry
from services.inference.models.catalogue import Catalogue, PointedAt, Snapshot
from services.inference.models.lineage import CHAMPION, Key
from services.inference.models.loader import Loader
from shared.errors import FlywheelError
from shared.storage.database import Database, clock
from shared.telemetry import metrics
from shared.telemetry.logs import get_logger

POLL_SECONDS = 0.2
BEAT_SECONDS = 2.0
KEEP_ON_DEMAND = 2

log = get_logger(__name__)


class Follower:
    """`start` it once; `snapshot` is what the database said last (None before the first answer)."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        registry: Registry,
        loader: Loader,
        records: DeploymentRecords,
    ) -> None:
        self.snapshot: Snapshot | None = None
        self._database = database
        self._catalogue = catalogue
        self._registry = registry
        self._loader = loader
        self._records = records
        self._started_at: datetime | None = None
        self._loading: dict[Key, Future[None]] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        with self._database.read() as session:
            self._started_at = clock(session)
        self._thread.start()

    def stop(self) -> None:
        """Ends following; waits for a load in progress, so that nothing comes up after the end."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def ensure(self, key: Key, on_demand: bool = True) -> "Future[None]":
        """Loads a version unless it is held; done when it answers or failed. Raises NotFound."""
        with self._lock:
            running = self._loading.get(key)
            if running is not None:
                return running
            record = self._catalogue.record(key)
            done: Future[None] = Future()
            if not self._registry.start_loading(record, on_demand):
                done.set_result(None)
                return done
            self._loading[key] = done
            self._pool.submit(self._load, key, done)
            return done

    def follow(self) -> None:
        """One look at the database and what follows from it."""
        snapshot = self._catalogue.snapshot()
        for (model, alias), target in snapshot.aliases.items():
            self._follow_alias(Key(model, target.version), alias, target)
        for model, alias in self._registry.pointed_at():
            if (model, alias) not in snapshot.aliases:
                self._registry.release_alias(model, alias)
        targets = {Key(model, target.version) for (model, _), target in snapshot.aliases.items()}
        for key in self._registry.superfluous(targets, KEEP_ON_DEMAND):
            self._registry.free(key)
        self.snapshot = snapshot

    def _run(self) -> None:
        written = -1
        idle = 0.0
        while not self._stopping.is_set():
            try:
                self.follow()
                revision = self._registry.wait_for_change(-1, 0)
                if revision != written:
                    self._records.write(self._registry.views())
                    written, idle = revision, 0.0
                elif idle >= BEAT_SECONDS:
                    self._records.beat()
                    idle = 0.0
            except FlywheelError as error:
                log.warning("following the aliases failed", error=str(error))
            except Exception:
                log.exception("following the aliases failed")
            report_load(self._registry.served())
            idle += POLL_SECONDS
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    def _follow_alias(self, key: Key, alias: str, target: PointedAt) -> None:
        before = self._registry.serving(key.model, alias)
        if before == key:
            return
        held = self._registry.state(key)
        if held is not None and held.state in (State.READY, State.WARM):
            self._switch(key, alias, target, before)
        elif held is None or held.state is State.FAILED:
            self.ensure(key, on_demand=False)

    def _switch(self, key: Key, alias: str, target: PointedAt, before: Key | None) -> None:
        with self._database.read() as session:
            seconds = (clock(session) - target.moved_at).total_seconds()
        fresh = self._started_at is not None and target.moved_at >= self._started_at
        self._registry.switch(key, alias, max(seconds, 0.0) if fresh else None)
        held = self._registry.state(key)
        log.info("alias followed", model=key.model, alias=alias, version=key.version, seconds=round(seconds, 3))
        if fresh:
            metrics.INFERENCE_SWAP_SECONDS.labels(key.model).observe(max(seconds, 0.0))
        if alias == CHAMPION and held is not None:
            show_champion(held.lineage)

    def _load(self, key: Key, done: "Future[None]") -> None:
        try:
            record = self._catalogue.record(key)
            served, lineage = self._loader.load(record)
            self._registry.loaded(key, served, lineage, datetime.now(UTC))
            log.info("version loaded", model=key.model, version=key.version)
        except Exception as error:
            self._registry.failed(key, str(error) or type(error).__name__)
            log.warning("version could not be loaded", model=key.model, version=key.version, error=str(error))
        finally:
            with self._lock:
                del self._loading[key]
            done.set_result(None)
            self._wake.set()
