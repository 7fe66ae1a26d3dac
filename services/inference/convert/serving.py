"""The Serving service."""

from services.inference.convert.common import duration, lineage
from services.inference.deployments.deployment import DeploymentView
from services.inference.engine.interface import Load
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2


def deployment(seen: DeploymentView, server: str) -> serving_pb2.Deployment:
    message = serving_pb2.Deployment(
        server=server,
        model=seen.key.model,
        version=seen.key.version,
        aliases=seen.aliases,
        state=f"DEPLOYMENT_STATE_{seen.state.name}",
        error=seen.error,
        lineage=lineage(seen.lineage),
    )
    if seen.swap_seconds is not None:
        message.swap.CopyFrom(duration(seen.swap_seconds))
    if seen.ready_at is not None:
        message.ready_at.FromDatetime(seen.ready_at)
    return message


def load(seen: Load) -> serving_pb2.Load:
    return serving_pb2.Load(
        running=seen.running,
        waiting=seen.waiting,
        waiting_tokens=seen.waiting_tokens,
        cache_used_ratio=seen.cache_used,
        oldest_wait=duration(seen.oldest_wait_seconds),
    )
