"""The model repository and statistics of the Open Inference Protocol."""

from collections.abc import Mapping

from services.inference.answering.tally import Answered
from services.inference.deployments.deployment import DeploymentView, State
from services.inference.models.lineage import Key
from shared.contracts.generated.inference import grpc_service_pb2 as pb
from shared.errors import InvalidArgument

STATES = {
    State.LOADING: "LOADING",
    State.READY: "READY",
    State.WARM: "READY",
    State.DRAINING: "UNLOADING",
    State.FAILED: "UNAVAILABLE",
    State.UNLOADED: "UNAVAILABLE",
}

TAKEN = {"version", "unload_dependents"}
"""Nothing depends on a model here, so that clients may say what they like about what does."""


def index_entry(seen: DeploymentView) -> pb.RepositoryIndexResponse.ModelIndex:
    return pb.RepositoryIndexResponse.ModelIndex(
        name=seen.key.model, version=str(seen.key.version), state=STATES[seen.state], reason=seen.error
    )


def version_of(parameters: Mapping[str, pb.ModelRepositoryParameter]) -> str:
    """The parameter `version`; empty when there is none. Raises InvalidArgument for others."""
    for name in parameters.keys() - TAKEN:
        raise InvalidArgument(f"no parameter {name!r}; the only one is version", field=f"parameters.{name}")
    if "version" not in parameters:
        return ""
    one = parameters["version"]
    choice = one.WhichOneof("parameter_choice")
    if choice not in ("string_param", "int64_param"):
        raise InvalidArgument("parameters.version must be a text or a whole number", field="parameters.version")
    return str(getattr(one, choice))


def statistics(answered: Mapping[Key, Answered]) -> pb.ModelStatisticsResponse:
    return pb.ModelStatisticsResponse(model_stats=[_version(key, one) for key, one in answered.items()])


def _version(key: Key, answered: Answered) -> pb.ModelStatistics:
    def duration(nanoseconds: int) -> pb.StatisticDuration:
        return pb.StatisticDuration(count=answered.requests, ns=nanoseconds)

    queue, compute = int(answered.queue_seconds * 1e9), int(answered.compute_seconds * 1e9)
    return pb.ModelStatistics(
        name=key.model,
        version=str(key.version),
        last_inference=int(answered.last * 1000),
        inference_count=answered.requests,
        execution_count=answered.requests,
        inference_stats=pb.InferStatistics(
            success=duration(queue + compute), queue=duration(queue), compute_infer=duration(compute)
        ),
    )
