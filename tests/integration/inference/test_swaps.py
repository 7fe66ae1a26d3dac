"""Versions change under load; clients notice nothing but the version in the lineage."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import grpc
import pytest

from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from shared.storage.tables import Deployment
from tests.integration.inference.platform import Platform, text_of
from tests.support.wait import eventually

READY = serving_pb2.DEPLOYMENT_STATE_READY
WARM = serving_pb2.DEPLOYMENT_STATE_WARM
FAILED = serving_pb2.DEPLOYMENT_STATE_FAILED


class Clients:
    """Calls without pause from several threads; keeps versions in order and every error."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.versions: list[int] = []
        self.scores: dict[int, set[float]] = {}
        self.errors: list[str] = []
        self._stop = threading.Event()

    def called_since(self, seen: int) -> bool:
        return len(self.versions) > seen + 20

    def call(self) -> None:
        while not self._stop.is_set():
            try:
                answer = self._platform.classify(texts=("good film, bad film",))
            except grpc.RpcError as error:
                self.errors.append(f"{error.code()} {error.details()}")
                continue
            self.versions.append(answer.lineage.version)
            scores = {one.label: one.score for one in answer.results[0].labels}
            self.scores.setdefault(answer.lineage.version, set()).add(round(scores["good"], 4))


@contextmanager
def calling(platform: Platform, threads: int = 3) -> Iterator[Clients]:
    clients = Clients(platform)
    running = [threading.Thread(target=clients.call) for _ in range(threads)]
    for one in running:
        one.start()
    try:
        yield clients
    finally:
        clients._stop.set()
        for one in running:
            one.join()


def serving(platform: Platform, version: int) -> bool:
    return platform.classify().lineage.version == version


def start_with(platform: Platform, versions: int, kind: str = "classification", name: str = "mood") -> None:
    platform.declare(name, kind)
    for seed in range(1, versions + 1):
        platform.add_version(name, kind, seed)
    platform.point(name, 1)
    platform.start()
    eventually(lambda: any(one.aliases for one in platform.deployments().values()))


def test_versions_are_swapped_under_load_without_an_error(platform: Platform) -> None:
    start_with(platform, versions=4)
    with calling(platform) as clients:
        for version in (2, 3, 4, 3):
            platform.point("mood", version)
            eventually(partial(serving, platform, version))
            seen = len(clients.versions)
            eventually(partial(clients.called_since, seen))
    assert clients.errors == []
    assert set(clients.versions) == {1, 2, 3, 4}
    for version, scores in clients.scores.items():
        assert len(scores) == 1, f"version {version} gave {scores}: an answer mixed versions"
    assert len({next(iter(scores)) for scores in clients.scores.values()}) == 4


def test_an_old_stream_ends_on_the_weights_it_began_with(platform: Platform) -> None:
    start_with(platform, versions=3, kind="chat", name="helper")
    fields: dict[str, Any] = {"stopping": pb.Stopping(max_tokens=300, ignore_eos=True)}
    alone = text_of(list(platform.generate(**fields)))
    stream = platform.generate(**fields)
    events = [next(stream)]
    platform.point("helper", 2)
    eventually(lambda: platform.holds("helper", 2))
    fresh = list(platform.generate(stopping=pb.Stopping(max_tokens=5, ignore_eos=True)))
    events += list(stream)
    assert events[0].accepted.lineage.version == 1
    assert text_of(events) == alone
    assert fresh[0].accepted.lineage.version == 2


def test_the_version_before_stays_warm_and_rollback_needs_no_load(platform: Platform) -> None:
    start_with(platform, versions=3)
    for version in (2, 3):
        platform.point("mood", version)
        eventually(partial(serving, platform, version))
    eventually(
        lambda: (
            {key: one.state for key, one in platform.deployments().items()}
            == {
                ("mood", 2): WARM,
                ("mood", 3): READY,
            }
        )
    )
    before = platform.deployments()["mood", 2].ready_at
    platform.point("mood", 2, kind="rollback")
    eventually(lambda: serving(platform, 2))
    after = platform.deployments()["mood", 2]
    assert after.ready_at == before
    assert after.swap.ToNanoseconds() > 0


def test_a_version_that_can_not_be_loaded_leaves_the_old_one_serving(platform: Platform) -> None:
    start_with(platform, versions=1)
    platform.add_version("mood", "classification", seed=2)
    uri = sorted((platform.folder / "artifacts" / "models" / "mood").iterdir())[-1]
    weights = uri / "model.safetensors"
    sound = weights.read_bytes()
    weights.write_bytes(sound[:-8] + b"flipped!")
    platform.point("mood", 2)
    broken = eventually(lambda: _failed(platform, 2))
    assert broken is not None
    assert "SHA-256" in broken.error
    assert serving(platform, 1)
    weights.write_bytes(sound)
    eventually(lambda: serving(platform, 2))
    assert platform.deployments()["mood", 2].error == ""


def _failed(platform: Platform, version: int) -> serving_pb2.Deployment | None:
    found = platform.deployments().get(("mood", version))
    return found if found is not None and found.state == FAILED else None


def test_a_candidate_answers_beside_the_champion_and_leaves_when_its_alias_goes(platform: Platform) -> None:
    start_with(platform, versions=2)
    candidate = common_pb2.ModelRef(name="mood", alias="candidate")
    platform.point("mood", 2, alias="candidate", kind="candidate")
    eventually(lambda: platform.holds("mood", 2))
    answer = platform.inference.Classify(pb.ClassifyRequest(model=candidate, texts=["a"]), timeout=10)
    assert answer.lineage.version == 2
    assert serving(platform, 1)
    platform.point("mood", None, alias="candidate", kind="candidate")
    eventually(lambda: ("mood", 2) not in platform.deployments())


def test_an_operator_loads_and_unloads_a_version(platform: Platform) -> None:
    start_with(platform, versions=2)
    model = common_pb2.ModelRef(name="mood", version=2)
    loaded = platform.serving.LoadModel(serving_pb2.LoadModelRequest(model=model), timeout=20)
    assert (loaded.state, loaded.version) == (READY, 2)
    gone = platform.serving.UnloadModel(serving_pb2.UnloadModelRequest(model=model), timeout=30)
    assert gone.state == serving_pb2.DEPLOYMENT_STATE_UNLOADED
    assert ("mood", 2) not in platform.deployments()


def test_a_server_that_drains_finishes_what_runs_and_refuses_the_rest(platform: Platform) -> None:
    start_with(platform, versions=1, kind="chat", name="helper")
    stream = platform.generate(stopping=pb.Stopping(max_tokens=300, ignore_eos=True))
    next(stream)
    platform.serving.Drain(serving_pb2.DrainRequest(), timeout=30)
    with pytest.raises(grpc.RpcError) as refused:
        list(platform.generate())
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "shutting down" in str(refused.value.details())
    *_, last = stream
    assert last.finished.usage.completion_tokens == 300


def test_a_server_that_stops_takes_its_rows_with_it(platform: Platform) -> None:
    start_with(platform, versions=1)

    def rows() -> int:
        with platform.database.read() as session:
            return session.query(Deployment).count()

    eventually(lambda: rows() == 1)
    platform.stop()
    assert rows() == 0
