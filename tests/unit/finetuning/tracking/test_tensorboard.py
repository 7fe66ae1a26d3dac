"""Event files as TensorBoard reads them."""

from pathlib import Path

from services.finetuning import convert
from services.finetuning.tracking.tensorboard import TensorBoard, crc32c, record
from services.finetuning.tracking.tracker import Experiment, Point
from shared.contracts.generated.flywheel.tracking.v1 import tensorboard_pb2 as pb
from shared.storage.artifacts import Artifacts
from tests.support.tensorboard import events_of, series

ANOTHER_WRITERS = (
    "1800000000000000a37f4b220900000040fc54d9411a0d627261696e2e4576656e743a32eced8f9d3d000000000000006049f1ec09000020"
    "40fc54d94110ac022a2f0a110a0a747261696e2f6c6f7373150000003f0a1a0a13747261696e2f6c6561726e696e675f7261746515000080"
    "3e65ec6fd9"
)
"""The file that tensorboardX 2.6.5 writes of the same two numbers at step 300."""


def experiment(attempt: int = 1) -> Experiment:
    return Experiment("mood", "job-1", f"run-{attempt}", attempt, {"method.name": "full", "seed": 1, "quiet": True})


def points(*steps: int) -> list[Point]:
    return [Point(step, 1.7e9 + step, {"train/loss": 1 / step}) for step in steps]


def write(folder: Path, attempt: int, *steps: int) -> TensorBoard:
    board = TensorBoard(folder)
    board.begin(experiment(attempt))
    for point in points(*steps):
        board.point(point)
    return board


def test_the_checksum_is_that_of_the_rfc() -> None:
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_a_file_has_the_bytes_of_another_writer() -> None:
    numbers = {"train/loss": 0.5, "train/learning_rate": 0.25}
    written = record(convert.opening(1.7e9)) + record(convert.scalars(300, 1.7e9 + 0.5, numbers))
    assert written.hex() == ANOTHER_WRITERS


def test_settings_are_hyper_parameters_of_their_type(tmp_path: Path) -> None:
    write(tmp_path, 1).end("succeeded")
    opening, settings = events_of(next(tmp_path.iterdir()))
    assert opening.file_version == "brain.Event:2"
    plugin = settings.summary.value[0].metadata.plugin_data
    given = pb.HyperParameters.FromString(plugin.content).session_start_info.hparams
    assert plugin.plugin_name == "hparams"
    assert (given["method.name"].string_value, given["seed"].number_value, given["quiet"].bool_value) == (
        "full",
        1,
        True,
    )


def test_points_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    write(tmp_path, 1, 1, 2)
    assert series(next(tmp_path.iterdir())) == {"train/loss": {1: 1.0, 2: 0.5}}


def test_a_later_run_replaces_the_file_of_an_earlier_one(tmp_path: Path) -> None:
    write(tmp_path, 1, 1, 2, 3)  # killed: never ended
    write(tmp_path, 2, 1, 2).end("succeeded")
    (path,) = tmp_path.iterdir()
    assert list(series(path)["train/loss"]) == [1, 2]


def test_the_store_keeps_the_newest_run_whatever_is_stored_last(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path / "store"), tmp_path / "cache")
    first, second = write(tmp_path / "a", 1, 1, 2, 3), write(tmp_path / "b", 2, 1, 2)
    for board in (first, second, first):
        board.store(artifacts, "runs/mood/job-1/tensorboard")
    assert artifacts.list("runs/mood/job-1/tensorboard") == ["events.out.tfevents.0000000002.run-2"]
