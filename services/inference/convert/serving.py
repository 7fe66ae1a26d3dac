"""The Serving service."""

from collections.abc import Iterable, Sequence

from services.inference.convert.common import lineage
from services.inference.deployments.deployment import DeploymentView
from services.inference.engine.interface import Load
from services.inference.models.lineage import Key
from services.inference.models.traffic import Share, Traffic
from services.inference.operating import ServerLoad
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from shared.rpc.times import duration


def deployment(seen: DeploymentView, server: str) -> serving_pb2.Deployment:
    message = serving_pb2.Deployment(
        server=server,
        model=seen.key.model,
        version=seen.key.version,
        aliases=seen.aliases,
        state=f"DEPLOYMENT_STATE_{seen.state.name}",
        error=seen.error,
        lineage=lineage(seen.lineage),
        memory_bytes=seen.memory_bytes,
        in_flight=seen.in_flight,
        pinned=seen.pinned,
        share=seen.share,
        shadow_share=seen.shadow_share,
        healthy=seen.healthy,
    )
    if seen.swap_seconds is not None:
        message.swap.CopyFrom(duration(seen.swap_seconds))
    if seen.ready_at is not None:
        message.ready_at.FromDatetime(seen.ready_at)
    return message


def load(seen: ServerLoad) -> serving_pb2.Load:
    total = seen.total
    return serving_pb2.Load(
        running=total.running,
        waiting=total.waiting,
        waiting_tokens=total.waiting_tokens,
        cache_used_ratio=total.cache_used,
        oldest_wait=duration(total.oldest_wait_seconds),
        versions=[_version_load(key, one) for key, one in seen.versions],
        memory_bytes=seen.memory_bytes,
        memory_limit_bytes=seen.memory_limit_bytes,
    )


def traffic_wanted(message: serving_pb2.SetTrafficRequest) -> Traffic:
    return Traffic(message.model, _shares(message.shares), _shares(message.shadows))


def traffic(seen: Traffic, absent: Sequence[int]) -> serving_pb2.Traffic:
    message = serving_pb2.Traffic(
        model=seen.model,
        shares=[serving_pb2.TrafficShare(version=one.version, share=one.share) for one in seen.shares],
        shadows=[serving_pb2.TrafficShare(version=one.version, share=one.share) for one in seen.shadows],
        absent=absent,
    )
    if seen.set_at is not None:
        message.set_at.FromDatetime(seen.set_at)
    return message


def _shares(messages: Iterable[serving_pb2.TrafficShare]) -> tuple[Share, ...]:
    return tuple(Share(one.version, one.share) for one in messages)


def _version_load(key: Key, seen: Load) -> serving_pb2.VersionLoad:
    return serving_pb2.VersionLoad(
        model=key.model,
        version=key.version,
        running=seen.running,
        waiting=seen.waiting,
        waiting_tokens=seen.waiting_tokens,
        cache_used_ratio=seen.cache_used,
        oldest_wait=duration(seen.oldest_wait_seconds),
    )
