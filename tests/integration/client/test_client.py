"""The client against real gRPC servers: answers, deadlines, retries, errors."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.client import FlywheelClient
from shared.embedded.state import PlatformState, ServiceState
from shared.errors import DeadlineExceeded, GateNotPassed, NotFound, Unavailable
from tests.integration.client.servers import Fleet
from tests.support.processes import free_ports


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    yield fleet
    fleet.stop()


@pytest.fixture
def client(fleet: Fleet) -> Iterator[FlywheelClient]:
    with connect(fleet.address) as client:
        yield client


def connect(address: str, *, timeout: float = 10, patience: float = 5) -> FlywheelClient:
    return FlywheelClient(inference=address, ingestion=address, control=address, timeout=timeout, patience=patience)


def test_an_answer_names_its_version_and_its_labels_best_first(client: FlywheelClient) -> None:
    answer = client.classify("sentiment", ["a", "b"])
    assert [result.best.label for result in answer.results] == ["positive", "positive"]
    assert (answer.lineage.model, answer.lineage.version) == ("sentiment", 2)
    assert answer.timings.total == pytest.approx(0.012)
    assert answer.timings.first_token is None
    assert answer.request_id


def test_a_call_is_repeated_with_the_same_request_id_while_the_service_is_away(
    fleet: Fleet, client: FlywheelClient
) -> None:
    fleet.inference.failures = 3
    client.classify("sentiment", "a")
    assert len({request.request_id for request in fleet.inference.requests}) == 1
    assert len(fleet.inference.requests) == 4


def test_a_restarted_server_is_not_seen_by_its_client(fleet: Fleet, client: FlywheelClient) -> None:
    client.classify("sentiment", "a")
    fleet.stop()
    comeback = threading.Timer(0.7, fleet.start, (fleet.address,))
    comeback.start()
    assert client.classify("sentiment", "b").lineage.version == 2
    comeback.join()


def test_a_server_that_stays_away_is_named_with_its_address() -> None:
    address = f"127.0.0.1:{free_ports()[0]}"
    with connect(address, patience=0.3) as client:
        began = time.monotonic()
        with pytest.raises(Unavailable, match=f"inference at {address} can't be reached"):
            client.classify("sentiment", "a")
        assert time.monotonic() - began < 5


def test_every_call_has_a_deadline(fleet: Fleet) -> None:
    fleet.inference.wait_seconds = 2
    with connect(fleet.address, timeout=0.2) as client, pytest.raises(DeadlineExceeded):
        client.classify("sentiment", "a")


def test_errors_come_back_as_they_were_raised(client: FlywheelClient) -> None:
    with pytest.raises(NotFound, match="nearest: 'job-1'") as found:
        client.job("job-7")
    assert found.value.metadata == {"job": "job-7"}
    with pytest.raises(GateNotPassed, match="verdict is fail"):
        client.promote("sentiment", 3)


def test_an_answer_streams(client: FlywheelClient) -> None:
    answer = client.chat("support", "Good morning", max_tokens=8)
    assert [chunk.text for chunk in answer] == ["Good ", "morning", "!"]
    assert answer.accepted is not None
    assert answer.accepted.lineage.version == 2
    assert answer.finished is not None
    assert (answer.finished.reason, answer.finished.usage.completion_tokens) == ("eos", 3)


def test_a_stream_cut_before_its_first_chunk_is_asked_for_again(fleet: Fleet, client: FlywheelClient) -> None:
    fleet.inference.cut_after = 0
    assert client.chat("support", "hello").read_all() == "Good morning!"
    assert len({request.request_id for request in fleet.inference.requests}) == 1


def test_a_stream_cut_later_is_not_asked_for_again(fleet: Fleet, client: FlywheelClient) -> None:
    fleet.inference.cut_after = 1
    answer = client.chat("support", "hello")
    with pytest.raises(Unavailable):
        answer.read_all()
    assert answer.text == "Good "
    assert len(fleet.inference.requests) == 1


def test_leaving_a_stream_cancels_it_on_the_server(fleet: Fleet, client: FlywheelClient) -> None:
    fleet.inference.wait_seconds = 0.3
    with client.chat("support", "hello") as answer:
        assert next(iter(answer)).text == "Good "
    assert fleet.inference.cancelled.wait(5)


def test_rows_are_sent_in_bounded_messages(fleet: Fleet, client: FlywheelClient) -> None:
    seen: list[int] = []
    batch = client.append_rows(
        "sentiment", ({"text": f"row {n}", "nested": {"n": n}} for n in range(700)), batch_key="k", progress=seen.append
    )
    assert (batch.accepted, batch.state) == (700, "accepted")
    assert batch.quarantine_reasons[0].reason == "UNKNOWN_LABEL"
    assert fleet.ingestion.chunks == [256, 256, 188]
    assert fleet.ingestion.rows[699]["text"] == "row 699"
    assert seen == [256, 512, 700]
    assert fleet.ingestion.header is not None
    assert fleet.ingestion.header.batch_key == "k"


def test_large_rows_make_smaller_messages(fleet: Fleet, client: FlywheelClient) -> None:
    client.append_rows("sentiment", [{"text": "x" * 300_000} for _ in range(8)])
    assert sum(fleet.ingestion.chunks) == 8
    assert max(fleet.ingestion.chunks) <= 3


def test_a_list_of_rows_is_sent_again_and_an_iterator_is_not(fleet: Fleet, client: FlywheelClient) -> None:
    fleet.ingestion.failures = 1
    assert client.append_rows("sentiment", [{"text": "a"}]).accepted == 1
    fleet.ingestion.failures = 1
    with pytest.raises(Unavailable):
        client.append_rows("sentiment", iter([{"text": "a"}]))


def test_a_file_is_one_batch_by_its_content(fleet: Fleet, client: FlywheelClient, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"text": "a"}\n' * 60_000)
    batch = client.import_file("sentiment", file)
    assert fleet.ingestion.file == file.read_bytes()
    assert fleet.ingestion.header is not None
    first = fleet.ingestion.header.batch_key
    client.import_file("sentiment", file)
    assert fleet.ingestion.header.batch_key == first
    assert (batch.state, batch.reason) == ("rejected", "no row can be used")


def test_pages_are_read_to_the_limit(client: FlywheelClient) -> None:
    assert len(client.batches(limit=250)) == 250
    assert [batch.id for batch in client.batches(limit=0)] == [f"batch-{n}" for n in range(450)]


def test_a_watch_goes_on_where_it_was_cut(fleet: Fleet, client: FlywheelClient) -> None:
    events = list(client.watch("job-1"))
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert fleet.control.asked_from == [0, 3]
    assert events[4].detail == {"step": 5.0, "loss": 0.5}
    assert events[0].job.state == "succeeded"
    assert events[0].job.loss is None


def test_each_train_call_has_its_own_key_unless_one_is_given(fleet: Fleet, client: FlywheelClient) -> None:
    client.train("sentiment")
    client.train("sentiment")
    client.train("sentiment", idempotency_key="mine")
    assert len(set(fleet.control.keys)) == 3
    assert fleet.control.keys[2] == "mine"


def test_feedback_without_consent_makes_no_batch(client: FlywheelClient) -> None:
    assert client.feedback("r-1", correction="negative").batch is None
    kept = client.feedback("r-1", correction="negative", consent=True)
    assert kept.batch is not None
    assert kept.batch.id == "batch-9"


def test_the_platform_in_home_is_found(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    services = {name: ServiceState(fleet.address, "", True, 1) for name in ("inference", "ingestion", "control")}
    PlatformState(str(tmp_path), 1, True, "", services).write()
    with FlywheelClient.from_environment(home=tmp_path) as client:
        assert client.status().queues == {"ingestion": 3}


def test_without_a_platform_the_error_says_what_to_do(tmp_path: Path) -> None:
    with FlywheelClient.from_environment(home=tmp_path) as client, pytest.raises(Unavailable, match="flywheel up"):
        client.status()


def test_one_client_serves_many_threads(client: FlywheelClient) -> None:
    versions: list[int] = []
    threads = [
        threading.Thread(target=lambda: versions.append(client.classify("sentiment", "a").lineage.version))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert versions == [2] * 8
