"""What is tracked of a run, as the messages that TensorBoard reads."""

from collections.abc import Mapping

from google.protobuf.struct_pb2 import Value

from shared.contracts.generated.flywheel.tracking.v1 import tensorboard_pb2 as pb

FILE_VERSION = "brain.Event:2"
HYPER_PARAMETERS = "hparams"
SESSION_START = "_hparams_/session_start_info"

Setting = str | bool | int | float


def opening(time: float) -> bytes:
    """The first record of an event file."""
    return pb.Event(wall_time=time, file_version=FILE_VERSION).SerializeToString()


def scalars(step: int, time: float, values: Mapping[str, float]) -> bytes:
    """Numbers by name at a step; `time` in seconds since 1970."""
    summary = pb.Summary(value=[pb.SummaryValue(tag=tag, simple_value=value) for tag, value in values.items()])
    return pb.Event(wall_time=time, step=step, summary=summary).SerializeToString()


def hyper_parameters(time: float, settings: Mapping[str, Setting]) -> bytes:
    """The settings of a run, for the tab of that name."""
    given = {name: _value(setting) for name, setting in settings.items()}
    start = pb.HyperParameters(session_start_info=pb.SessionStart(hparams=given))
    plugin = pb.PluginData(plugin_name=HYPER_PARAMETERS, content=start.SerializeToString())
    value = pb.SummaryValue(tag=SESSION_START, metadata=pb.SummaryMetadata(plugin_data=plugin))
    return pb.Event(wall_time=time, summary=pb.Summary(value=[value])).SerializeToString()


def _value(setting: Setting) -> Value:
    if isinstance(setting, bool):
        return Value(bool_value=setting)
    return Value(string_value=setting) if isinstance(setting, str) else Value(number_value=setting)
