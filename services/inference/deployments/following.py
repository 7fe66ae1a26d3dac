"""Follows aliases and traffic: loads what they name beside what serves, then switches new requests over.

One thread decides and switches; another one loads. So a rollback to a version that is still warm does not
wait behind a load.
"""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

from services.inference.deployments.deployment import State
from services.inference.deployments.gauges import report_load, show_champion
from services.inference.deployments.records import DeploymentRecords
from services.inference.deployments.registry import Registry
from services.inference.deployments.sharing import TrafficTable
from services.inference.models.catalogue import Catalogue, PointedAt, Snapshot
from services.inference.models.lineage import CHAMPION, Key
from services.inference.models.loader import Loader
from shared.errors import FlywheelError, NotFound, ResourceExhausted, Unavailable
from shared.storage.database import Database, clock
from shared.storage.digests import each_file_once
from shared.telemetry import metrics
from shared.telemetry.logs import get_logger

POLL_SECONDS = 0.2
BEAT_SECONDS = 2.0
HEALTH_SECONDS = 0.05  # an engine that stops begins again after 0.2 s at the earliest
DRAIN_SECONDS = 60.0  # that a load waits for the requests of a version that gives way

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
        memory_limit: int,
    ) -> None:
        """`memory_limit` is what the loaded versions may take together, in bytes."""
        self.memory_limit = memory_limit
        self.snapshot: Snapshot | None = None
        self._database = database
        self._catalogue = catalogue
        self._registry = registry
        self._loader = loader
        self._records = records
        self._table = TrafficTable(database)
        self._trouble = ""
        self._missing: set[Key] = set()
        self._looking = threading.Lock()
        self._looked: Snapshot | None = None
        self._looked_at = 0.0
        self._started_at: datetime | None = None
        self._loading: dict[Key, Future[None]] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._health = threading.Thread(target=self._watch_health, name="health", daemon=True)

    def start(self) -> None:
        with self._database.read() as session:
            self._started_at = clock(session)
        self._thread.start()
        self._health.start()

    def stop(self) -> None:
        """Ends following; waits for a load in progress, so that nothing comes up after the end."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()
        self._health.join()
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

    def follow(self) -> Snapshot:
        """One look at the database and what follows from it."""
        snapshot = self._catalogue.snapshot()
        for (model, alias), target in snapshot.aliases.items():
            self._follow_alias(Key(model, target.version), alias, target)
        for model, alias in self._registry.pointed_at():
            if (model, alias) not in snapshot.aliases:
                self._registry.release_alias(model, alias)
        self.snapshot = snapshot
        self._follow_traffic(snapshot)
        for key in self._registry.superfluous(snapshot.targets):
            self._registry.free(key)
        return snapshot

    def look(self) -> Snapshot | None:
        """What the database says now, read once for all who ask at the same time; when it does not answer, what it
        said last. None before the first answer."""
        asked_at = time.monotonic()
        with self._looking:
            if self._looked_at >= asked_at:
                return self._looked
            self._looked_at = time.monotonic()
            try:
                self._looked = self._catalogue.snapshot()
            except Unavailable:
                self._looked = self.snapshot
            return self._looked

    def versions(self, model: str) -> set[int]:
        """The versions that a model has."""
        return self._catalogue.versions(model)

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
                self._note("")
            except FlywheelError as error:
                self._note(str(error))
            except Exception:
                log.exception("following the aliases failed")
            report_load(self._registry.served())
            idle += POLL_SECONDS
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    def _watch_health(self) -> None:
        """Apart from following, which waits for the database."""
        while not self._stopping.wait(HEALTH_SECONDS):
            self._registry.check_health()

    def _note(self, trouble: str) -> None:
        """Says once what goes wrong, however long it does, and when it is over."""
        if trouble and trouble != self._trouble:
            log.warning("following the aliases failed", error=trouble)
        elif self._trouble and not trouble:
            log.info("following the aliases again")
        self._trouble = trouble

    def _follow_traffic(self, snapshot: Snapshot) -> None:
        for model, traffic in snapshot.traffic.items():
            champion = snapshot.aliases.get((model, CHAMPION))
            if champion is not None and champion.version in traffic.versions:
                self._table.promoted(model, champion.version)
            for version in sorted(traffic.versions):
                if not self._registry.answers(Key(model, version)):
                    self._load_wanted(Key(model, version))
        self._registry.share(snapshot.traffic)

    def _follow_alias(self, key: Key, alias: str, target: PointedAt) -> None:
        before = self._registry.serving(key.model, alias)
        if before == key:
            return
        held = self._registry.state(key)
        if held is not None and held.answers:
            self._switch(key, alias, target, before)
        elif held is None or held.state is not State.LOADING:
            self._load_wanted(key)

    def _load_wanted(self, key: Key) -> None:
        """Begins to load what an alias or traffic names; one that is gone must not stop what follows the others."""
        try:
            self.ensure(key, on_demand=False)
        except NotFound as error:
            if key not in self._missing:
                log.warning("a version that is wanted does not exist", error=str(error))
            self._missing.add(key)

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
            self._load_beside(key)
            log.info("version loaded", model=key.model, version=key.version)
        except Exception as error:
            self._registry.failed(key, str(error) or type(error).__name__, isinstance(error, ResourceExhausted))
            log.warning("version could not be loaded", model=key.model, version=key.version, error=str(error))
        finally:
            with self._lock:
                del self._loading[key]
            done.set_result(None)
            self._wake.set()

    def _load_beside(self, key: Key) -> None:
        record = self._catalogue.record(key)
        with each_file_once():
            self._make_room(key, self._loader.memory_needed(record))
            served, lineage = self._loader.load(record)
        try:
            self._make_room(key, served.memory_bytes)  # what was needed was an estimate, this is what it takes
        except ResourceExhausted:
            served.close()
            raise
        self._registry.loaded(key, served, lineage, datetime.now(UTC))

    def _make_room(self, key: Key, need: int) -> None:
        targets = self.snapshot.targets if self.snapshot else frozenset[Key]()
        for gone in self._registry.make_room(key, need, self.memory_limit, targets, DRAIN_SECONDS):
            metrics.INFERENCE_EVICTIONS.labels(gone.model).inc()
            log.info("version gave way", model=gone.model, version=gone.version, to=str(key))
