"""What many messages have in common: references, lineage, times."""

from services.inference.answering.answers import Times
from services.inference.answering.requests import ModelRef
from services.inference.models.lineage import CHAMPION, Lineage
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.rpc.times import duration


def model_ref(message: common_pb2.ModelRef) -> ModelRef:
    return ModelRef(message.name, message.alias or CHAMPION, message.version)


def lineage(of: Lineage) -> common_pb2.Lineage:
    return common_pb2.Lineage(
        model=of.model,
        version=of.version,
        weights_digest=of.weights_digest,
        adapter_digest=of.adapter_digest,
        run=of.run,
        dataset_version=of.dataset_version,
        report=of.report,
        engine=of.engine,
    )


def timings(times: Times) -> common_pb2.Timings:
    return common_pb2.Timings(
        queue=duration(times.queue),
        compute=duration(times.compute),
        total=duration(times.total),
        first_token=None if times.first_token is None else duration(times.first_token),
    )
