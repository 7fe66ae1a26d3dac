"""A small world for supervisor tests: a sealed dataset version, a job, and a supervisor with its own folder."""

import json
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.finetuning.process import STANDBY
from services.finetuning.spare import Spares
from services.finetuning.supervisor import Supervisor
from shared.config import Settings, load_settings
from shared.contracts.messages import RunJob
from shared.errors import Unavailable
from shared.messaging.handler import HandlerContext
from shared.pipelines.schema import PipelineSpec
from shared.storage.artifacts import Artifacts, file_digest
from shared.storage.database import Database, clock
from shared.storage.datasets import Manifest, Part
from shared.storage.repositories import jobs
from shared.storage.tables import DatasetVersion, Evaluation, Job, JobEvent, ModelVersion, OutboxMessage, Run
from tests.support.warm_training import WarmSpares

SCRIPTED = Path(__file__).with_name("scripted_training.py")
LABELS = ("bad", "good")


def scripted(behaviour: str) -> tuple[str, ...]:
    """A fake training process, for what a real one does only by accident; see scripted_training.py."""
    return (sys.executable, str(SCRIPTED), behaviour)


@dataclass
class World:
    """One worker's surroundings."""

    database: Database
    settings: Settings
    artifacts: Artifacts
    draining: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def make(cls, database: Database, home: Path, artifacts_url: str = "", **settings: Any) -> "World":
        values = {"home": home, "lease_seconds": 2, "grace_seconds": 10, "threads": 1, **settings}
        made = load_settings(**values)
        url = artifacts_url or made.resolved_artifacts_url
        return cls(database, made, Artifacts(url, made.cache_folder, made.artifacts_endpoint))

    def limit(self, **settings: Any) -> None:
        """Changes settings for the attempts that begin from now on."""
        self.settings = self.settings.model_copy(update=settings)

    def dataset(self, rows: int = 24) -> int:
        """Seals a version of two classes that differ in one word; returns its number."""
        return seal(self.database, self.artifacts, self.settings.home / "part.parquet", rows)

    def job(self, version: int = 1, base: str = "nowhere", max_attempts: int = 3, **spec: Any) -> str:
        with self.database.write() as session:
            return jobs.create(
                session,
                pipeline="mood",
                dataset_version=version,
                spec=pipeline_spec(base, **spec),
                trigger="manual",
                max_attempts=max_attempts,
            ).id

    def supervisor(self, command: Sequence[str] = STANDBY) -> Supervisor:
        return Supervisor(self.settings, self.artifacts, Unspared(command))

    def run(self, job: str, command: Sequence[str] = STANDBY) -> None:
        """Handles the job's message as a worker would."""
        self.supervisor(command).run_job(RunJob(job=job), self.context())

    def train(self, job: str) -> None:
        """The same with the real training process, forked from one that has imported everything."""
        with WarmSpares() as spares:
            Supervisor(self.settings, self.artifacts, spares).run_job(RunJob(job=job), self.context())

    def start(self, job: str, command: Sequence[str] = STANDBY) -> threading.Thread:
        """The same, in a thread."""
        thread = threading.Thread(target=self.run, args=(job, command), daemon=True)
        thread.start()
        return thread

    def context(self) -> HandlerContext:
        return HandlerContext("msg-1", self.draining, self.database)

    def get(self, job: str) -> Job:
        with self.database.read() as session:
            return jobs.get(session, job)

    def want(self, job: str, wanted: jobs.Wanted) -> None:
        with self.database.write() as session:
            jobs.want(session, job, wanted)

    def runs(self, job: str) -> list[Run]:
        with self.database.read() as session:
            return list(session.scalars(select(Run).where(Run.job == job).order_by(Run.attempt)))

    def events(self, job: str, kind: str) -> list[dict[str, Any]]:
        with self.database.read() as session:
            query = select(JobEvent.detail).where(JobEvent.job == job, JobEvent.kind == kind)
            return list(session.scalars(query.order_by(JobEvent.sequence)))

    def versions(self) -> list[ModelVersion]:
        with self.database.read() as session:
            return list(session.scalars(select(ModelVersion).order_by(ModelVersion.version)))

    def evaluations(self) -> list[Evaluation]:
        with self.database.read() as session:
            return list(session.scalars(select(Evaluation)))

    def messages(self, task: str) -> int:
        with self.database.read() as session:
            return len(list(session.scalars(select(OutboxMessage.id).where(OutboxMessage.task == task))))

    def reclaim(self) -> list[str]:
        with self.database.write() as session:
            return jobs.reclaim_lost(session)


class Unsteady(Database):
    """The same database through a door that can be shut."""

    def __init__(self, real: Database) -> None:
        self._real = real
        self.away = False

    @contextmanager
    def write(self) -> Iterator[Session]:
        if self.away:
            raise Unavailable("the database does not answer")
        with self._real.write() as session:
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        if self.away:
            raise Unavailable("the database does not answer")
        with self._real.read() as session:
            yield session


class Unspared(Spares):
    """No process ahead of time: most tests need none."""

    def refill(self) -> None:
        pass


def pipeline_spec(base: str, **spec: Any) -> dict[str, Any]:
    given = {"name": "mood", "kind": "classification", "labels": LABELS, "base": base, **spec}
    given.setdefault("method", {"name": "full", "batch_size": 4, "precision": "float32", "epochs": 2})
    return PipelineSpec.model_validate(json.loads(json.dumps(given))).model_dump(mode="json")


def seal(database: Database, artifacts: Artifacts, scratch: Path, rows: int) -> int:
    scratch.parent.mkdir(parents=True, exist_ok=True)
    labels = [LABELS[i % 2] for i in range(rows)]
    texts = [f"a {label} film number {i}" for i, label in enumerate(labels)]
    splits = ["validation" if i % 6 == 5 else "train" for i in range(rows)]
    ids = [f"{i:064x}" for i in range(rows)]
    pq.write_table(pa.table({"row_id": ids, "split": splits, "text": texts, "label": labels}), scratch)
    uri = "datasets/mood/part-1.parquet"
    artifacts.write_bytes(uri, scratch.read_bytes())
    train = splits.count("train")
    part = Part("batch-1", uri, file_digest(scratch), train, rows - train, 0, True)
    manifest = Manifest("mood", 1, "classification", "d" * 64, (part,))
    artifacts.write_bytes("datasets/mood/1.json", manifest.to_json())
    with database.write() as session:
        session.add(
            DatasetVersion(
                pipeline="mood",
                version=1,
                state="sealed",
                manifest_uri="datasets/mood/1.json",
                created_at=clock(session),
            )
        )
    return 1
