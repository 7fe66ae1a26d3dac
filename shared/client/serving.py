"""Calls for operators of an inference server."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.client.answers import Deployment
from shared.client.connection import Connection
from shared.client.reading import read
from shared.contracts.generated.flywheel.common.v1 import common_pb2 as common
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.serving_pb2_grpc import ServingStub


@dataclass(frozen=True)
class TrafficShare:
    version: int
    share: float


@dataclass(frozen=True)
class Traffic:
    """Shares beside the champion's, and shadows that get copies."""

    model: str
    shares: tuple[TrafficShare, ...]
    shadows: tuple[TrafficShare, ...]
    set_at: datetime | None
    absent: tuple[int, ...]
    """Versions in it that do not answer on the server asked; their share goes to the champion."""


class ServingCalls:
    """Loads versions and shares traffic between them. Raises the errors of shared.errors."""

    _inference: Connection

    def load_model(self, model: str, version: int, *, pinned: bool = False) -> Deployment:
        """Loads a version beside the others and waits until it answers; pinned ones stay whatever needs the memory."""
        request = pb.LoadModelRequest(model=common.ModelRef(name=model, version=version), pinned=pinned)
        return read(Deployment, self._inference.call(self._serving.LoadModel, request))

    def unload_model(self, model: str, version: int) -> Deployment:
        """Frees a version that neither an alias nor traffic names."""
        request = pb.UnloadModelRequest(model=common.ModelRef(name=model, version=version))
        return read(Deployment, self._inference.call(self._serving.UnloadModel, request, repeatable=False))

    def traffic(self, model: str) -> Traffic:
        return read(Traffic, self._inference.call(self._serving.GetTraffic, pb.GetTrafficRequest(model=model)))

    def set_traffic(
        self, model: str, shares: Mapping[int, float] | None = None, shadows: Mapping[int, float] | None = None
    ) -> Traffic:
        """Gives versions shares of the champion's requests, and copies of so many to shadows; nothing clears both."""
        request = pb.SetTrafficRequest(model=model, shares=_shares(shares), shadows=_shares(shadows))
        return read(Traffic, self._inference.call(self._serving.SetTraffic, request))

    @property
    def _serving(self) -> ServingStub:
        return self._inference.stub(ServingStub)


def _shares(given: Mapping[int, float] | None) -> list[pb.TrafficShare]:
    return [pb.TrafficShare(version=version, share=share) for version, share in (given or {}).items()]
