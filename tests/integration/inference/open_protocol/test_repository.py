"""Versions come and go through the repository calls."""

from functools import partial

import grpc

from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from shared.contracts.generated.inference import grpc_service_pb2 as pb
from tests.integration.inference.open_protocol.asking import Asker, asking, refused
from tests.integration.inference.platform import Platform
from tests.support.wait import eventually


def index(asker: Asker, ready: bool = False) -> dict[tuple[str, str], str]:
    found = asker.call("RepositoryIndex", pb.RepositoryIndexRequest(ready=ready)).models
    return {(one.name, one.version): one.state for one in found}


def load(asker: Asker, version: str = "", model: str = "helper") -> None:
    request = pb.RepositoryModelLoadRequest(model_name=model)
    if version:
        request.parameters["version"].string_param = version
    asker.call("RepositoryModelLoad", request)


def unload(asker: Asker, version: int = 0, model: str = "helper") -> None:
    request = pb.RepositoryModelUnloadRequest(model_name=model)
    request.parameters["unload_dependents"].bool_param = False
    if version:
        request.parameters["version"].int64_param = version
    asker.call("RepositoryModelUnload", request)


def test_a_version_is_loaded_beside_the_champion_and_unloaded_again(helper: Platform) -> None:
    asker = Asker(helper.channel)
    assert index(asker) == {("helper", "1"): "READY"}
    load(asker, "2")
    assert index(asker) == {("helper", "1"): "READY", ("helper", "2"): "READY"}
    assert asker.call("ModelReady", pb.ModelReadyRequest(name="helper", version="2")).ready
    assert asker.infer(asking("helper", "a", version="2", max_tokens=1)).model_version == "2"
    assert asker.infer(asking("helper", "a", max_tokens=1)).model_version == "1"
    versions = asker.call("ModelMetadata", pb.ModelMetadataRequest(name="helper")).versions
    assert list(versions) == ["1", "2"]
    unload(asker)
    assert index(asker, ready=True) == {("helper", "1"): "READY"}


def test_what_answers_for_an_alias_stays(helper: Platform) -> None:
    asker = Asker(helper.channel)
    for version in (0, 1):
        code, words = refused(partial(unload, asker, version))
        assert code is grpc.StatusCode.FAILED_PRECONDITION, words
    assert refused(lambda: unload(asker, 2))[0] is grpc.StatusCode.NOT_FOUND
    assert index(asker) == {("helper", "1"): "READY"}


def test_a_pinned_version_stays_pinned_when_it_is_loaded_again(helper: Platform) -> None:
    asker = Asker(helper.channel)
    model = common_pb2.ModelRef(name="helper", version=2)
    helper.serving.LoadModel(serving_pb2.LoadModelRequest(model=model, pinned=True), timeout=20)
    load(asker, "2")
    assert helper.deployment("helper", 2).pinned


def test_a_version_with_a_share_of_the_traffic_stays(helper: Platform) -> None:
    asker = Asker(helper.channel)
    load(asker, "2")
    half = serving_pb2.TrafficShare(version=2, share=0.5)
    helper.serving.SetTraffic(serving_pb2.SetTrafficRequest(model="helper", shares=[half]), timeout=10)
    eventually(lambda: helper.deployment("helper", 2).share == 0.5)
    assert refused(lambda: unload(asker))[0] is grpc.StatusCode.FAILED_PRECONDITION
    assert index(asker)[("helper", "2")] == "READY"


def test_the_base_model_has_the_version_0(helper: Platform) -> None:
    asker = Asker(helper.channel)
    load(asker, "base")
    assert index(asker)[("helper", "0")] == "READY"
    for version in ("0", "base"):
        assert asker.infer(asking("helper", "a", version=version, max_tokens=1)).model_version == "0"
        assert asker.call("ModelReady", pb.ModelReadyRequest(name="helper", version=version)).ready
    unload(asker)
    assert ("helper", "0") not in index(asker, ready=True)


def test_bad_loads_are_refused(helper: Platform) -> None:
    asker = Asker(helper.channel)
    assert refused(lambda: load(asker, model="nobody"))[0] is grpc.StatusCode.NOT_FOUND
    assert refused(lambda: load(asker, "9"))[0] is grpc.StatusCode.NOT_FOUND
    assert refused(lambda: load(asker, "newest"))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert refused(lambda: load(asker, model=""))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert refused(lambda: unload(asker, model="nobody"))[0] is grpc.StatusCode.NOT_FOUND
    configured = pb.RepositoryModelLoadRequest(model_name="helper")
    configured.parameters["config"].string_param = "{}"
    code, words = refused(lambda: asker.call("RepositoryModelLoad", configured))
    assert (code, "no parameter 'config'" in words) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    odd = pb.RepositoryModelLoadRequest(model_name="helper")
    odd.parameters["version"].bytes_param = b"1"
    assert refused(lambda: asker.call("RepositoryModelLoad", odd))[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_a_draining_server_is_not_ready(helper: Platform) -> None:
    asker = Asker(helper.channel)
    assert helper.application is not None
    helper.application._drain()
    assert not asker.call("ServerReady", pb.ServerReadyRequest()).ready
    assert not asker.call("ModelReady", pb.ModelReadyRequest(name="helper")).ready
    assert asker.call("ServerLive", pb.ServerLiveRequest()).live
    assert refused(lambda: asker.infer(asking("helper", "a")))[0] is grpc.StatusCode.UNAVAILABLE
