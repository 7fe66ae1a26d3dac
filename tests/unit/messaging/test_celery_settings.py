"""The settings that were measured beforehand stay as they are."""

import pytest

from shared.config import load_settings
from shared.contracts.routes import QUEUES
from shared.errors import InvalidArgument
from shared.messaging.app import build_app
from shared.messaging.celery_settings import broker_url, renewal_seconds, transport_options

SETTINGS = load_settings(broker_url="redis://127.0.0.1:1/0", visibility_seconds=300)


def test_what_loses_or_hoards_messages_stays_off_and_what_keeps_them_on() -> None:
    conf = build_app(SETTINGS).conf
    assert {
        name: conf[name]
        for name in (
            "task_acks_late",
            "task_acks_on_failure_or_timeout",
            "task_reject_on_worker_lost",
            "task_create_missing_queues",
            "task_ignore_result",
            "worker_pool",
            "worker_prefetch_multiplier",
            "worker_disable_prefetch",
            "worker_enable_remote_control",
            "worker_cancel_long_running_tasks_on_connection_loss",
            "worker_hijack_root_logger",
            "worker_redirect_stdouts",
            "broker_connection_retry_on_startup",
            "broker_connection_max_retries",
            "broker_channel_error_retry",
            "result_backend",
        )
    } == {
        "task_acks_late": True,
        "task_acks_on_failure_or_timeout": True,
        "task_reject_on_worker_lost": False,
        "task_create_missing_queues": False,
        "task_ignore_result": True,
        "worker_pool": "threads",
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_enable_remote_control": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "result_backend": None,
    }


def test_only_protobuf_is_accepted() -> None:
    conf = build_app(SETTINGS).conf
    assert conf.accept_content == [conf.task_serializer] == ["flywheel-protobuf"]


def test_every_queue_of_the_routes_is_declared_and_no_other() -> None:
    assert sorted(queue.name for queue in build_app(SETTINGS).conf.task_queues) == list(QUEUES)


def test_the_broker_s_sockets_time_out_and_stay_alive() -> None:
    options = transport_options(SETTINGS)
    assert options["visibility_timeout"] == 300
    assert 10 <= options["socket_timeout"] <= 30
    assert options["socket_keepalive"] is True
    assert options["priority_steps"] == [0]


@pytest.mark.parametrize(("visibility", "renewal"), [(300, 30), (3600, 30), (50, 5), (2, 0.2)])
def test_claims_are_renewed_ten_times_in_a_visibility_timeout_and_every_30_s_at_most(
    visibility: int, renewal: float
) -> None:
    assert renewal_seconds(SETTINGS.model_copy(update={"visibility_seconds": visibility})) == pytest.approx(renewal)


@pytest.mark.parametrize(
    ("url", "message"), [("", "is not set"), ("amqp://broker", "'amqp'"), ("nonsense", "nonsense")]
)
def test_a_broker_url_that_is_none_of_redis_is_refused(url: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        broker_url(load_settings(broker_url=url))
