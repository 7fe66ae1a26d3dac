"""Who may do what through the Open Inference Protocol, and how often, when the server wants keys."""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from shared.contracts.generated.inference import grpc_service_pb2 as pb
from shared.modeling.quiet import quiet_libraries
from shared.storage.database import Database
from tests.integration.inference.open_protocol.asking import Asker, asking, facts, refused
from tests.integration.inference.platform import Platform
from tests.support.wait import eventually

KEYS = """
- {key: the-key-of-operators, tenant: operators, roles: [call, operate]}
- {key: the-key-of-callers-0, tenant: callers, models: [helper], priority_max: 5}
- {key: the-key-of-strangers, tenant: strangers, models: [other]}
- {key: the-key-of-the-slow0, tenant: slow, requests_per_second: 0.01, burst: 3}
- {key: the-key-of-the-short, tenant: short, tokens_per_minute: 1}
"""
DENIED = grpc.StatusCode.PERMISSION_DENIED
ASKED = asking("helper", "hello", max_tokens=2)
LOAD = pb.RepositoryModelLoadRequest(model_name="helper")
INDEX = pb.RepositoryIndexRequest()


def key(name: str) -> dict[str, Any]:
    return {"metadata": [("authorization", f"Bearer the-key-of-{name}")]}


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory, sqlite_with_tables: Path) -> Iterator[Asker]:
    folder = tmp_path_factory.mktemp("keys")
    (folder / "flywheel.db").write_bytes(sqlite_with_tables.read_bytes())
    database = Database(f"sqlite:///{folder / 'flywheel.db'}")
    quiet_libraries()
    platform = Platform(folder, database, api_keys=KEYS)
    platform.declare("helper", "chat")
    platform.point("helper", platform.add_version("helper", "chat", 1))
    platform.start()
    made = Asker(platform.channel)
    ready = pb.ModelReadyRequest(name="helper")
    eventually(lambda: made.call("ModelReady", ready, **key("operators")).ready)
    yield made
    platform.close()
    database.close()


def test_without_a_key_only_health_is_told(asker: Asker) -> None:
    assert asker.call("ServerLive", pb.ServerLiveRequest()).live
    assert asker.call("ServerReady", pb.ServerReadyRequest()).ready
    for act in (
        lambda: asker.infer(ASKED),
        lambda: list(asker.stream(iter([ASKED]))),
        lambda: asker.call("ServerMetadata", pb.ServerMetadataRequest()),
        lambda: asker.call("RepositoryIndex", INDEX),
        lambda: asker.call("RepositoryModelLoad", LOAD),
    ):
        assert refused(act)[0] is grpc.StatusCode.UNAUTHENTICATED


def test_callers_ask_and_operators_load(asker: Asker) -> None:
    assert asker.infer(ASKED, **key("callers-0")).model_version == "1"
    assert refused(lambda: asker.call("RepositoryModelLoad", LOAD, **key("callers-0")))[0] is DENIED
    unload = pb.RepositoryModelUnloadRequest(model_name="helper")
    assert refused(lambda: asker.call("RepositoryModelUnload", unload, **key("callers-0")))[0] is DENIED
    asker.call("RepositoryModelLoad", LOAD, **key("operators"))


def test_a_key_for_other_models_neither_asks_nor_sees_this_one(asker: Asker) -> None:
    stranger = key("strangers")
    assert refused(lambda: asker.infer(ASKED, **stranger))[0] is DENIED
    assert refused(lambda: list(asker.stream(iter([ASKED]), **stranger)))[0] is DENIED
    for method, request in (
        ("ModelReady", pb.ModelReadyRequest(name="helper")),
        ("ModelMetadata", pb.ModelMetadataRequest(name="helper")),
        ("ModelConfig", pb.ModelConfigRequest(name="helper")),
        ("ModelStatistics", pb.ModelStatisticsRequest(name="helper")),
        ("ModelStatistics", pb.ModelStatisticsRequest()),
    ):
        assert refused(partial(asker.call, method, request, **stranger))[0] is DENIED
    assert not asker.call("RepositoryIndex", INDEX, **stranger).models
    assert asker.call("RepositoryIndex", INDEX, **key("callers-0")).models


def test_a_later_request_of_a_stream_is_looked_at_too(asker: Asker) -> None:
    requests = [ASKED, asking("helper", "hello", priority=50)]
    code, words = refused(lambda: list(asker.stream(iter(requests), **key("callers-0"))))
    assert (code, "may use at most 5" in words) == (DENIED, True)


def test_each_request_of_a_stream_counts_against_the_rate(asker: Asker) -> None:
    parts = list(asker.stream(iter([ASKED] * 5), **key("the-slow0")))
    failures = [one for one in parts if one.error_message]
    assert [facts(one.infer_response)["reason"] for one in failures] == ["RESOURCE_EXHAUSTED"] * 2
    assert refused(lambda: asker.infer(ASKED, **key("the-slow0")))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_tokens_of_a_stream_are_charged_as_they_come(asker: Asker) -> None:
    answered = threading.Event()

    def requests() -> Iterator[pb.ModelInferRequest]:
        yield ASKED
        answered.wait(20)
        yield ASKED

    call = asker.stream(requests(), **key("the-short"))
    assert not next(call).error_message
    answered.set()
    failures = [one for one in call if one.error_message]
    assert [facts(one.infer_response)["reason"] for one in failures] == ["RESOURCE_EXHAUSTED"]
