"""TensorBoard's event files: one a run, with all of the job's points since its first step.

A run that goes on from a checkpoint writes the points before it again, in a file of its own, and the files of earlier
runs go away: no step is there twice, whatever the runs before had written beyond their last checkpoint.

Written here and not by a library: torch.utils.tensorboard and tensorboardX both import torch, which this process does
not, and the format is a few lines (TFRecord: length, CRC-32C, data, CRC-32C).
"""

import struct
import time
from pathlib import Path

from services.finetuning import convert
from services.finetuning.tracking.tracker import Experiment, Point
from shared.storage.artifacts import Artifacts

PATTERN = "events.out.tfevents.*"
"""What follows is the attempt's number, where others have the time: names sort by it."""
POLYNOMIAL = 0x82F63B78
"""Castagnoli's, bits reversed."""
MASK = 0xA282EAD8


class TensorBoard:
    """Writes to `folder` on this machine as the run goes on; `store` copies what is there to the artifact store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder

    def begin(self, experiment: Experiment) -> None:
        now = time.time()
        self._folder.mkdir(parents=True, exist_ok=True)
        earlier = list(self._folder.glob(PATTERN))
        self._path = self._folder / f"events.out.tfevents.{experiment.attempt:010d}.{experiment.run}"
        self._append(convert.opening(now))
        self._append(convert.hyper_parameters(now, experiment.settings))
        for path in earlier:
            path.unlink(missing_ok=True)

    def point(self, point: Point) -> None:
        self._append(convert.scalars(point.step, point.time, point.values))

    def end(self, state: str) -> None:
        """Nothing is held open: whatever ends a run, its points are there."""

    def store(self, artifacts: Artifacts, uri: str) -> None:
        """Puts the file under `uri`, in place of those of earlier runs; a later run's stays. Raises Unavailable."""
        for path in self._folder.glob(PATTERN):
            there = artifacts.list(uri)
            if any(name > path.name for name in there):
                continue
            artifacts.write_bytes(f"{uri}/{path.name}", path.read_bytes())
            for earlier in there:
                if earlier < path.name:
                    artifacts.delete(f"{uri}/{earlier}")

    def _append(self, event: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(record(event))


def record(data: bytes) -> bytes:
    """Data as one TFRecord."""
    length = struct.pack("<Q", len(data))
    return length + _masked_crc(length) + data + _masked_crc(data)


def crc32c(data: bytes) -> int:
    """CRC-32C (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _masked_crc(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF)


def _row(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
    return value


_TABLE = tuple(_row(byte) for byte in range(256))
