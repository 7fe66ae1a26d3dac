"""Celery's settings, each with the reason why it is not left to its default.

They were measured against celery 5.7.0 and kombu 5.7.0; look again when a version moves.
"""

from typing import Any

from kombu.entity import Queue

from shared.config import Settings
from shared.contracts.routes import QUEUES
from shared.errors import InvalidArgument
from shared.messaging.serializer import SERIALIZER

SCHEMES = ("redis", "rediss", "redis+socket", "sentinel")
TRANSPORT = "shared.messaging.transport:Transport"
SOCKET_SECONDS = 15
CONNECT_SECONDS = 3
RENEWALS_PER_VISIBILITY = 10
LONGEST_RENEWAL_SECONDS = 30


def broker_url(settings: Settings) -> str:
    """The broker's URL. Raises InvalidArgument when there is none, or it is not Redis's."""
    url = settings.broker_url
    if not url:
        raise InvalidArgument("FLYWHEEL_BROKER_URL is not set; `flywheel up` starts a broker and sets it")
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise InvalidArgument(f"FLYWHEEL_BROKER_URL has the scheme {scheme!r}; {', '.join(SCHEMES)}")
    return url


def renewal_seconds(settings: Settings) -> float:
    """Time between two renewals of a claim: a tenth of the visibility timeout, 30 s at most."""
    return min(LONGEST_RENEWAL_SECONDS, settings.visibility_seconds / RENEWALS_PER_VISIBILITY)


def transport_options(settings: Settings) -> dict[str, Any]:
    """What kombu's Redis transport is told."""
    return {
        "visibility_timeout": settings.visibility_seconds,
        # kombu looks for unrenewed messages every `interval` s, but only at each `throttle`-th time
        "unacked_restore_interval": max(1, min(10, settings.visibility_seconds // 10)),
        "unacked_restore_throttle": 1,
        # no Redis priorities: one list a queue
        "priority_steps": [0],
        "socket_timeout": SOCKET_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": 25,
        # the outbox publishes again; a blind second try inside the client only hides an outage
        "retry_on_timeout": False,
    }


def impatient(settings: Settings, seconds: float) -> dict[str, Any]:
    """Transport options for a connection that had better fail than wait: one try."""
    one_try = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    return {**transport_options(settings), **one_try, "socket_timeout": seconds, "socket_connect_timeout": seconds}


def celery_settings(settings: Settings) -> dict[str, Any]:
    """Everything that differs from Celery's defaults, or must not change with them."""
    return {
        "broker_url": broker_url(settings),
        "broker_transport": TRANSPORT,
        "broker_transport_options": transport_options(settings),
        # a broker that is away, at the start or later, is waited for without end
        "broker_connection_retry_on_startup": True,
        "broker_connection_retry": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "broker_connection_timeout": CONNECT_SECONDS,
        # a queue is spelt right or refused
        "task_queues": [Queue(name, routing_key=name) for name in QUEUES],
        "task_create_missing_queues": False,
        "task_default_queue": QUEUES[0],
        # bytes of protobuf, and nothing that could be code
        "task_serializer": SERIALIZER,
        "accept_content": [SERIALIZER],
        "result_accept_content": [SERIALIZER],
        # results are rows
        "result_backend": None,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        # gone from the broker when handled; what failed is in the outbox, so it is acknowledged too
        "task_acks_late": True,
        "task_acks_on_failure_or_timeout": True,
        "task_reject_on_worker_lost": False,
        "task_track_started": False,
        # one message a thread, none hoarded
        "worker_pool": "threads",
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_enable_prefetch_count_reduction": False,
        # True lost the task in three of three broker restarts
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # jobs are cancelled by a row, not by remote control
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        # logs are ours, and standard output carries the ready line
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "enable_utc": True,
    }
