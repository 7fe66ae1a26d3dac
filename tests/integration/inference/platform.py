"""What the other services would write, and a client of the inference server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from services.inference.application import Application
from shared.config import Settings, load_settings
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub
from shared.contracts.generated.flywheel.inference.v1.serving_pb2_grpc import ServingStub
from shared.modeling.card import ModelCard
from shared.rpc.channel import open_channel
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database, clock
from shared.storage.ids import new_id
from shared.storage.repositories import models
from shared.storage.tables import Pipeline
from tests.support.tiny_models import tiny_decoder, tiny_model

LABELS = ("bad", "good", "neutral")


class Platform:
    """Declares pipelines, adds versions, moves aliases; `start` runs the server."""

    def __init__(self, folder: Path, database: Database, **settings: Any) -> None:
        self.folder = folder
        self.database = database
        self.settings: Settings = load_settings(
            home=folder,
            database_url=str(database.engine.url),
            artifacts_url=str(folder / "artifacts"),
            grace_seconds=5,
            threads=1,
            device="cpu",
            **settings,
        )
        self.artifacts = Artifacts(self.settings.resolved_artifacts_url, folder / "cache")
        self.application: Application | None = None
        self._channel: grpc.Channel | None = None

    def start(self) -> None:
        self.application = Application(self.settings, self.database)
        self.application.start()
        self.connect(self.application.address)

    def connect(self, address: str) -> None:
        self._channel = open_channel(address, retries=False)
        self.inference = InferenceStub(self._channel)
        self.serving = ServingStub(self._channel)

    def stop(self) -> None:
        if self.application is not None:
            self.application.stop()
            self.application = None

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self.stop()

    @property
    def channel(self) -> grpc.Channel:
        assert self._channel is not None
        return self._channel

    def declare(self, name: str, kind: str) -> None:
        base = tiny_decoder(self.folder / f"{name}-base") if kind == "chat" else self.folder / "none"
        with self.database.write() as session:
            now = clock(session)
            spec = {"name": name, "kind": kind, "base": str(base)}
            session.add(Pipeline(name=name, revision=1, spec=spec, created_at=now, updated_at=now))

    def add_version(self, model: str, kind: str, seed: int, labels: tuple[str, ...] = LABELS) -> int:
        """A version with random weights; returns its number."""
        return self.add_folder(model, tiny_model(self.folder / f"{model}-{seed}", kind, labels, seed), seed + 1)

    def add_folder(self, model: str, folder: Path, dataset_version: int = 1) -> int:
        """A version of a model folder with a card; returns its number."""
        card = ModelCard.read(folder)
        uri = f"models/{model}/{new_id('v')}"
        self.artifacts.put_folder(folder, uri)
        with self.database.write() as session:
            row = models.add_version(
                session,
                model=model,
                kind=card.kind,
                method="full",
                base=card.base,
                base_digest=card.base_digest,
                weights_uri=uri,
                weights_digest=card.weights_digest,
                labels=list(card.labels),
                job=new_id("job"),
                run=card.run,
                dataset_version=dataset_version,
            )
            return row.version

    def point(self, model: str, version: int | None, alias: str = "champion", kind: str = "promotion") -> None:
        with self.database.write() as session:
            models.move_alias(session, model, alias, version, kind, "test", "because")

    def classify(
        self, model: str = "mood", texts: tuple[str, ...] = ("good film",), timeout: float = 20
    ) -> pb.ClassifyResponse:
        request = pb.ClassifyRequest(model=common_pb2.ModelRef(name=model), texts=texts)
        answer: pb.ClassifyResponse = self.inference.Classify(request, timeout=timeout)
        return answer

    def generate(
        self, text: str = "how do I open the door?", model: str = "helper", timeout: float = 30, **fields: Any
    ) -> Iterator[pb.GenerateResponse]:
        reference = fields.pop("reference", common_pb2.ModelRef(name=model))
        messages = pb.Messages(messages=[common_pb2.Message(role="user", content=text)])
        request = pb.GenerateRequest(model=reference, messages=messages, **fields)
        stream: Iterator[pb.GenerateResponse] = self.inference.Generate(request, timeout=timeout)
        return stream

    def holds(self, model: str, version: int) -> bool:
        """Whether the version answers for an alias."""
        found = self.deployments().get((model, version))
        return found is not None and bool(found.aliases)

    def deployment(self, model: str, version: int) -> serving_pb2.Deployment:
        """An empty message when it is not held."""
        return self.deployments().get((model, version), serving_pb2.Deployment())

    def deployments(self) -> dict[tuple[str, int], serving_pb2.Deployment]:
        found = self.serving.ListDeployments(serving_pb2.ListDeploymentsRequest(), timeout=30).deployments
        return {(one.model, one.version): one for one in found}


def text_of(events: list[pb.GenerateResponse]) -> str:
    return "".join(event.chunk.text for event in events)
