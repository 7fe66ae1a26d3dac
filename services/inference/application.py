"""The inference server, put together: doors, models, the follower of aliases, the log of answers."""

import os
import signal
import socket
import threading

from services.inference.answering.answers import AnswerLog
from services.inference.answering.asking import Asking
from services.inference.answering.classifying import Classifying
from services.inference.answering.explaining import Explaining
from services.inference.answering.feedback import FeedbackForwarder
from services.inference.answering.generating import Generating
from services.inference.answering.holding import Models
from services.inference.answering.shadowing import Shadows
from services.inference.answering.tally import Tally
from services.inference.answering.tensors import Tensors
from services.inference.audit import Audit
from services.inference.convert.feedback import feedback_sender
from services.inference.deployments.following import Follower
from services.inference.deployments.health import Health
from services.inference.deployments.records import DeploymentRecords
from services.inference.deployments.registry import Registry
from services.inference.deployments.sharing import TrafficTable
from services.inference.doors import inference, open_protocol, serving
from services.inference.doors.inference import INFERENCE, InferenceDoor
from services.inference.doors.open_protocol import OpenProtocolDoor
from services.inference.doors.serving import ServingDoor
from services.inference.engine.compute import ComputeThread
from services.inference.models.catalogue import Catalogue
from services.inference.models.loader import Loader, TorchLoader
from services.inference.models.memory import memory_limit
from services.inference.operating import Operating
from shared.config import Settings
from shared.errors import Unavailable
from shared.modeling.devices import choose_device
from shared.rpc.channel import open_channel
from shared.rpc.limits import Limits
from shared.rpc.security import Security
from shared.rpc.server import Server
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.telemetry.logs import get_logger

SPARE_THREADS = 64  # of the gRPC server, beyond the streams that may wait: health, operators, refusals
LAST_WORDS_SECONDS = 0.5

log = get_logger(__name__)


class Application:
    """Everything that one inference process runs. `address` is where its gRPC server listens."""

    def __init__(self, settings: Settings, database: Database, loader: Loader | None = None) -> None:
        """`loader` other than the one for torch is for measuring everything but the models."""
        self._grace = settings.grace_seconds
        self._stopping = threading.Event()
        security = Security.of(settings)
        threads = settings.max_waiting_requests + SPARE_THREADS
        self._server = Server(settings.listen, threads=threads, security=security, limits=Limits.of(settings))
        self.address = self._server.address
        self.name = f"{socket.gethostname()}:{self.address.rpartition(':')[2]}"
        self._compute = ComputeThread(settings.threads or max(1, (os.cpu_count() or 1) // 2))
        self._registry = Registry(lambda seen: self._health.changed(seen))
        self._health = Health(self._registry, INFERENCE, self._server.set_serving)
        self._records = DeploymentRecords(database, self.name)
        artifacts = Artifacts(settings.resolved_artifacts_url, settings.cache_folder, settings.artifacts_endpoint)
        loader = loader or TorchLoader(settings, artifacts, self._compute, self._registry.is_busy)
        limit = memory_limit(settings.memory_bytes, choose_device(settings.device))
        self._catalogue = Catalogue(database)
        self._follower = Follower(database, self._catalogue, self._registry, loader, self._records, limit)
        self._tally = Tally()
        self._answers = AnswerLog(database, self._tally.count)
        self._shadows = Shadows(self._registry)
        self._models = Models(self._registry, self._follower, self._shadows)
        self._traffic = TrafficTable(database)
        self._audit = Audit(database, self.name)
        ingestion = settings.ingestion_address or "127.0.0.1:1"
        self._channel = open_channel(ingestion, field="FLYWHEEL_INGESTION_ADDRESS", security=security)
        self._open_doors()

    def start(self) -> None:
        """Answers calls and follows the aliases."""
        self._records.remove(stale=True)
        self._answers.start()
        self._shadows.start()
        self._follower.start()
        self._server.start()

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT, then drains."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        self._stopping.wait()
        self.stop()

    def stop(self) -> None:
        """Refuses new requests, lets running ones finish within the grace, and goes."""
        self._drain()
        self._shadows.stop()
        left = self._registry.wait_idle(self._grace)
        log.info("drained", cut_short=left)
        self._follower.stop()
        self._server.stop(LAST_WORDS_SECONDS)
        self._registry.close()
        self._answers.stop()
        self._forget()
        self._channel.close()
        self._compute.close()

    def _open_doors(self) -> None:
        classifying = Classifying(self._models, self._answers)
        asking = Asking(self._models, self._answers)
        generating = Generating(self._models, self._answers)
        feedback = FeedbackForwarder(self._answers, feedback_sender(self._channel))
        operating = Operating(
            self._registry,
            self._follower,
            self._models,
            self._traffic,
            generating,
            self._audit,
            on_drain=self._health.drain,
        )
        explaining = Explaining(self._answers, self._catalogue)
        inference.register(self._server, InferenceDoor(classifying, generating, explaining, feedback, asking))
        serving.register(self._server, ServingDoor(operating, self.name))
        tensors = Tensors(asking, classifying, generating)
        open_protocol.register(
            self._server, OpenProtocolDoor(tensors, operating, self._tally, lambda: self._models.ready)
        )

    def _drain(self) -> None:
        self._models.refuse()
        self._health.drain()

    def _forget(self) -> None:
        """Takes the rows of this server out; they grow stale by themselves where the database is away."""
        try:
            self._records.remove()
        except Unavailable as error:
            log.warning("the rows of this server stay for a minute", error=str(error))
