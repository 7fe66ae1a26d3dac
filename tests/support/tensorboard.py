"""Reading TensorBoard's event files, every checksum checked."""

import struct
from pathlib import Path

from services.finetuning.tracking.tensorboard import record
from shared.contracts.generated.flywheel.tracking.v1 import tensorboard_pb2 as pb


def events_of(path: Path) -> list[pb.Event]:
    """All records; raises AssertionError for one that is torn or damaged."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        payload = data[12 : 12 + length]
        assert record(payload) == data[: 16 + length]
        found.append(pb.Event.FromString(payload))
        data = data[16 + length :]
    return found


def series(path: Path) -> dict[str, dict[int, float]]:
    """Tag -> step -> value; raises AssertionError for a step that is there twice."""
    found: dict[str, dict[int, float]] = {}
    for event in events_of(path):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                points = found.setdefault(value.tag, {})
                assert event.step not in points, f"step {event.step} of {value.tag} is there twice"
                points[event.step] = value.simple_value
    return found
