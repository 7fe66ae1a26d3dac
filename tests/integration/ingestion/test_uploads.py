"""Uploads through the real gRPC door that are cut, and go on."""

import gzip
import hashlib
import io
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from sqlalchemy import func, select

from services.ingestion.intake import spool, uploads
from services.ingestion.intake.spool import Spool
from services.ingestion.intake.uploads import Place
from shared.client import FlywheelClient
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.errors import Unavailable
from shared.storage.tables import Batch
from tests.finetuning.faults.disks import small_disk
from tests.integration.ingestion.door import Door, append_requests, lines, open_door, struct, tweets
from tests.support.wait import eventually

FILE = lines(tweets(200)).encode()


def long_rows(count: int, word: str = "tweet") -> bytes:
    """Rows of a kilobyte each."""
    return lines([{"text": f"{word} {number} {'x' * 1000}", "label": "neutral"} for number in range(count)]).encode()


def header(key: str, data: bytes = FILE, **more: object) -> pb.BatchHeader:
    known = {"pipeline": "sentiment", "batch_key": key, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return pb.BatchHeader(**{**known, **more})


def requests(head: pb.BatchHeader, data: bytes, piece: int = 1 << 20) -> Iterator[pb.ImportFileRequest]:
    yield pb.ImportFileRequest(header=head)
    for start in range(head.offset, len(data), piece):
        yield pb.ImportFileRequest(chunk=data[start : start + piece])


def held(door: Door, key: str) -> pb.Upload:
    answer: pb.Upload = door.stub.GetUpload(pb.GetUploadRequest(pipeline="sentiment", batch_key=key), timeout=20)
    return answer


def send_and_cut(door: Door, head: pb.BatchHeader, data: bytes, end: int) -> None:
    """Sends the bytes up to `end`, waits until the server has them, and cuts the stream."""
    cut = threading.Event()

    def part() -> Iterator[pb.ImportFileRequest]:
        yield from requests(head, data[:end])
        cut.wait(60)

    call = door.stub.ImportFile.future(part(), timeout=60)
    eventually(lambda: held(door, head.batch_key).received == end)
    call.cancel()
    cut.set()
    eventually(lambda: not door.rooms.uploads.open)


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return refused.value.code(), str(refused.value.details())


def left_over(door: Door) -> list[str]:
    folders = (door.settings.home / "uploads", door.settings.home / "ingestion")
    return [path.name for folder in folders for path in folder.iterdir()]


def zipped(data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.jsonl", data)
    return made.getvalue()


@pytest.mark.parametrize(
    ("pack", "step"), [(bytes, 1), (gzip.compress, 9), (zipped, 9)], ids=["every percent", "gzip", "zip"]
)
def test_an_upload_that_is_cut_at_every_percent_goes_on_each_time(
    door: Door, pack: Callable[[bytes], bytes], step: int
) -> None:
    data = pack(FILE)
    offset = 0
    for percent in range(1, 100, step):
        end = len(data) * percent // 100
        send_and_cut(door, header("cut", data, offset=offset), data, end)
        offset = held(door, "cut").received
        assert offset == end
    batch = door.stub.ImportFile(requests(header("cut", data, offset=offset), data), timeout=60)
    assert (batch.received, batch.accepted, batch.repeated_call) == (200, 200, False)
    assert held(door, "cut").batch.id == batch.id
    eventually(lambda: not left_over(door))
    assert door.build() == 1
    assert len(door.rows()) == 200


def test_rows_that_are_cut_go_on_by_their_number(door: Door) -> None:
    rows = tweets(60)
    cut = threading.Event()

    def part() -> Iterator[pb.AppendRowsRequest]:
        yield from append_requests(rows[:25], "rows")
        cut.wait(60)

    call = door.stub.AppendRows.future(part(), timeout=60)
    eventually(lambda: held(door, "rows").received == 25)
    call.cancel()
    cut.set()
    eventually(lambda: not door.rooms.uploads.open)
    rest = [pb.AppendRowsRequest(header=pb.BatchHeader(pipeline="sentiment", batch_key="rows", offset=25, size=60))]
    rest += [pb.AppendRowsRequest(rows=pb.RowChunk(rows=map(struct, rows[25:])))]
    batch = door.stub.AppendRows(iter(rest), timeout=60)
    assert (batch.received, batch.accepted) == (60, 60)


def test_what_was_cut_outlives_the_process(door: Door, tmp_path: Path) -> None:
    send_and_cut(door, header("kept"), FILE, 5000)
    eventually(lambda: any(name.endswith(".part") for name in left_over(door)))
    with open_door(door.database, door.settings.home) as another:
        upload = held(another, "kept")
        assert upload.received == 5000
        left = upload.expires_at.ToSeconds() - time.time()
        assert 0 < left <= uploads.KEEP_SECONDS
        batch = another.stub.ImportFile(requests(header("kept", offset=5000), FILE), timeout=60)
    assert batch.accepted == 200


def test_what_a_killed_process_had_on_its_disk_is_gone_on_with(door: Door, tmp_path: Path) -> None:
    data, cut = long_rows(900), threading.Event()

    def part() -> Iterator[pb.ImportFileRequest]:
        yield from requests(header("killed", data), data[:700_000], 50_000)
        cut.wait(60)

    call = door.stub.ImportFile.future(part(), timeout=60)
    eventually(lambda: held(door, "killed").received == 700_000)
    shutil.copytree(door.settings.home / "uploads", tmp_path / "after" / "uploads")  # as the disk is at this moment
    with open_door(door.database, tmp_path / "after") as another:
        offset = held(another, "killed").received
        assert 0 < offset < 700_000
        batch = another.stub.ImportFile(requests(header("killed", data, offset=offset), data), timeout=60)
    assert (batch.received, batch.accepted) == (900, 900)
    call.cancel()
    cut.set()


def test_a_stream_that_is_busy_is_left_alone_and_one_that_is_silent_is_taken_over(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = threading.Event()

    def part() -> Iterator[pb.ImportFileRequest]:
        yield from requests(header("two"), FILE[:4000])
        silent.wait(60)
        yield pb.ImportFileRequest(chunk=FILE[4000:])

    monkeypatch.setattr(spool, "IDLE_SECONDS", 3600)
    first = door.stub.ImportFile.future(part(), timeout=60)
    eventually(lambda: held(door, "two").received == 4000)
    rest = header("two", offset=4000)
    assert refusal(lambda: door.stub.ImportFile(requests(rest, FILE), timeout=20))[0] == grpc.StatusCode.UNAVAILABLE
    monkeypatch.setattr(spool, "IDLE_SECONDS", 0)
    assert door.stub.ImportFile(requests(rest, FILE), timeout=20).accepted == 200
    silent.set()
    assert refusal(first.result)[0] == grpc.StatusCode.ABORTED
    assert held(door, "two").batch.accepted == 200


def test_the_right_offset_is_told(door: Door) -> None:
    send_and_cut(door, header("there"), FILE, 3000)
    for offset in (1, 2999, 3001, len(FILE)):
        rest = requests(header("there", offset=offset), FILE)
        code, message = refusal(lambda rest=rest: door.stub.ImportFile(rest, timeout=20))
        assert code == grpc.StatusCode.FAILED_PRECONDITION
        assert "go on with offset 3000" in message
    code, message = refusal(lambda: door.stub.ImportFile(requests(header("nowhere", offset=7), FILE), timeout=20))
    assert (code, "go on with offset 0" in message) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    assert held(door, "there").received == 3000


def test_another_file_under_the_same_key_is_refused_and_may_begin_anew(door: Door) -> None:
    other = lines(tweets(200, start=1000)).encode()
    send_and_cut(door, header("same"), FILE, 3000)
    code, message = refusal(
        lambda: door.stub.ImportFile(requests(header("same", other, offset=3000), other), timeout=20)
    )
    assert (code, "another upload" in message) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    eventually(lambda: not door.rooms.uploads.open)
    batch = door.stub.ImportFile(requests(header("same", other), other), timeout=20)
    assert (batch.accepted, batch.repeated_call) == (200, False)


def test_what_is_shorter_than_it_says_was_cut_and_what_is_longer_is_wrong(door: Door) -> None:
    short = requests(header("short", size=len(FILE) + 10, sha256=""), FILE)
    assert refusal(lambda: door.stub.ImportFile(short, timeout=20))[0] == grpc.StatusCode.UNAVAILABLE
    assert held(door, "short").received == len(FILE)
    long = requests(header("long", size=100, sha256=""), FILE)
    assert refusal(lambda: door.stub.ImportFile(long, timeout=20))[0] == grpc.StatusCode.INVALID_ARGUMENT
    damaged = FILE.replace(b"tweet", b"twent", 1)
    wrong = requests(header("wrong"), damaged)
    assert refusal(lambda: door.stub.ImportFile(wrong, timeout=20))[0] == grpc.StatusCode.DATA_LOSS
    assert held(door, "long").received == held(door, "wrong").received == 0


@pytest.mark.parametrize("field", [{"size": -1}, {"offset": -1}, {"sha256": "abc"}, {"dry_run": True, "offset": 5}])
def test_a_header_that_can_not_be_is_refused(door: Door, field: dict[str, object]) -> None:
    bad = requests(header("bad", **field), b"")
    assert refusal(lambda: door.stub.ImportFile(bad, timeout=20))[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_ten_clients_with_one_key_whose_streams_are_cut_make_one_batch(door: Door) -> None:
    start = threading.Barrier(10)

    def send(number: int) -> pb.Batch:
        start.wait()
        if number % 2:
            call = door.stub.ImportFile.future(requests(header("ten"), FILE, 500), timeout=60)
            call.cancel()
        with FlywheelClient(ingestion=door.address) as client:
            file = door.settings.home / f"{number}.jsonl"
            file.write_bytes(FILE)
            return client.import_file("sentiment", file, batch_key="ten")

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(send, range(10)))
    assert len({answer.id for answer in answers}) == 1
    assert {answer.accepted for answer in answers} == {200}
    with door.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Batch)) == 1
    eventually(lambda: not left_over(door))


def test_the_client_goes_on_by_itself_and_never_goes_back(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    data = long_rows(1500)
    file = door.settings.home / "large.jsonl"
    file.write_bytes(data)
    real, cuts, began = Place.append, [400_000, 900_000, 1_300_000], list[int]()

    def failing(place: Place, piece: bytes, units: int) -> None:
        real(place, piece, units)
        if cuts and place.spool is not None and place.spool.received >= cuts[0]:
            began.append(cuts.pop(0))
            raise Unavailable("the network went away", 0.01)

    monkeypatch.setattr(Place, "append", failing)
    done: list[int] = []
    with FlywheelClient(ingestion=door.address) as client:
        batch = client.import_file("sentiment", file, progress=done.append)
    assert len(began) == 3
    assert (batch.received, batch.accepted) == (1500, 1500)
    assert done[-1] == len(data)
    sent = sum(after - before for before, after in zip([0, *done], done, strict=False) if after > before)
    assert sent < 3 * len(data)


def test_a_list_of_rows_goes_on_by_itself_and_an_iterator_says_that_it_can_not(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, cuts = Place.append, [256, 768]

    def failing(place: Place, piece: bytes, units: int) -> None:
        real(place, piece, units)
        if cuts and place.spool is not None and place.spool.received >= cuts[0]:
            cuts.pop(0)
            raise Unavailable("the network went away", 0.01)

    monkeypatch.setattr(Place, "append", failing)
    done: list[int] = []
    with FlywheelClient(ingestion=door.address) as client:
        batch = client.append_rows("sentiment", tweets(1000), batch_key="list", progress=done.append)
        assert (batch.received, batch.accepted, done[-1], cuts) == (1000, 1000, 1000, [])
        cuts.append(1)
        with pytest.raises(Unavailable):
            client.append_rows("sentiment", iter(tweets(10)), batch_key="iterator")


def test_a_key_that_was_used_for_another_file_before_its_end_is_free_for_a_client(door: Door) -> None:
    big = long_rows(1200)
    send_and_cut(door, header("mine", big), big, 4000)
    file = door.settings.home / "other.jsonl"
    file.write_bytes(long_rows(1200, "toast"))
    with FlywheelClient(ingestion=door.address) as client:
        assert client.import_file("sentiment", file, batch_key="mine").accepted == 1200


def test_a_full_disk_while_spooling_is_told_and_leaves_nothing(door: Door, tmp_path: Path) -> None:
    data = long_rows(1500)
    with small_disk(tmp_path / "disk") as disk:
        disk.leave(512 << 10)
        with open_door(door.database, disk.folder) as small:
            code, message = refusal(lambda: small.stub.ImportFile(requests(header("full", data), data), timeout=60))
            assert (code, "no room" in message) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
            assert held(small, "full").received == 0
            eventually(lambda: not left_over(small))
    assert not door.stored_parts()


def test_what_nobody_went_on_with_is_swept_and_the_oldest_makes_room(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("first", "second"):
        send_and_cut(door, header(key), FILE, 3000)
        eventually(lambda: not door.rooms.uploads.open)
    monkeypatch.setattr(uploads, "KEEP_BYTES", 4000)
    monkeypatch.setattr(uploads, "SWEEP_SECONDS", -1)
    door.append(tweets(1), "sweeps")
    assert {held(door, "first").received, held(door, "second").received} == {0, 3000}
    monkeypatch.setattr(uploads, "KEEP_SECONDS", -1)
    door.append(tweets(2), "sweeps again")
    assert held(door, "first").received == held(door, "second").received == 0


def test_an_upload_too_large_to_keep_is_read_all_the_same(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_BYTES", 1000)
    batch = door.stub.ImportFile(requests(header("large"), FILE, 300), timeout=20)
    assert batch.accepted == 200


def test_a_record_that_a_killed_process_tore_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.part"
    torn = Spool(path, uploads.rows_upload(0))
    ticket = torn.claim(0)
    for rows in (3, 4):
        torn.append(ticket, spool.record_of(b"x" * 10, rows), rows)
    torn.keep(ticket)
    path.write_bytes(path.read_bytes()[:-4])
    again = Spool.load(path)
    assert again is not None
    assert again.received == 3
    assert list(again.records()) == [(b"x" * 10, 3)]
    again.keep(0)
