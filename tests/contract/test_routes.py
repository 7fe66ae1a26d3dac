"""The one table of routes, and the envelope that travels on them."""

from datetime import UTC, datetime

import pytest

from shared.contracts import messages
from shared.contracts.codec import SCHEMA_REVISION, decode, encode
from shared.contracts.messages import Envelope, RunJob
from shared.contracts.routes import QUEUES, ROUTES, RUN_JOB, Route
from shared.errors import InvalidArgument

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GOLDEN = bytes.fromhex(
    "0801120c6d73672d30303030303030311a1d666c79776865656c2e66696e6574756e696e672e76312e52756e4a6f62"
    "22070a056a6f622d31320608a5ebdcca06"
)
"""RunJob(job="job-1") at revision 1: old workers and new ones must agree on these bytes."""


def test_every_route_has_a_queue_and_a_message_of_its_domain() -> None:
    for task, route in ROUTES.items():
        assert task == route.task
        domain = task.partition(".")[0]
        assert route.queue == domain
        assert set(route.queues) <= set(QUEUES)
        assert route.type_name.startswith(f"flywheel.{domain}.v1.")


def test_every_queue_message_has_a_route() -> None:
    routed = {route.message for route in ROUTES.values()}
    named = {getattr(messages, name) for name in messages.__all__} - {Envelope}
    assert routed == named


def test_a_device_picks_the_queue_of_a_route_that_knows_it() -> None:
    assert RUN_JOB.queue_for("gpu") == "finetuning.gpu"
    with pytest.raises(InvalidArgument, match="cpu, gpu"):
        RUN_JOB.queue_for("tpu")


def test_the_envelope_s_bytes_do_not_change() -> None:
    assert encode(RUN_JOB, RunJob(job="job-1"), "msg-00000001", MOMENT).hex() == GOLDEN.hex()
    delivery = decode(RUN_JOB.task, GOLDEN)
    assert delivery.message == RunJob(job="job-1")
    assert (delivery.message_id, delivery.created_at) == ("msg-00000001", MOMENT)


@pytest.mark.parametrize("route", ROUTES.values(), ids=lambda route: route.task)
def test_every_message_survives_the_envelope(route: Route) -> None:
    data = encode(route, route.message(), "msg-1", MOMENT, {"traceparent": "00-1-2-01"})
    delivery = decode(route.task, data)
    assert (delivery.route, delivery.message) == (route, route.message())
    assert delivery.trace_context == {"traceparent": "00-1-2-01"}


def test_what_is_no_envelope_of_ours_is_refused() -> None:
    good = encode(RUN_JOB, RunJob(job="job-1"), "msg-1", MOMENT)
    newer = Envelope.FromString(good)
    newer.schema_revision = SCHEMA_REVISION + 1
    broken = Envelope.FromString(good)
    broken.payload = b"\xff"
    for task, data, reason in (
        ("no.such", good, "no route"),
        (RUN_JOB.task, b"\xff\xff", "can't be decoded"),
        (RUN_JOB.task, b"", "revision 0"),
        (RUN_JOB.task, newer.SerializeToString(), "revision 2"),
        ("control.consider_verdict", good, "not 'flywheel.finetuning.v1.RunJob'"),
        (RUN_JOB.task, broken.SerializeToString(), "can't be decoded"),
    ):
        with pytest.raises(InvalidArgument, match=reason):
            decode(task, data)
