"""Languages of a dataset version, told by a sample of its rows when somebody asks."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from services.ingestion.queries import languages
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from tests.integration.ingestion.door import Door, tweets

CHINESE = "今天的天气非常好，我们去公园走走吧"
ENGLISH = "The weather is very nice today, so we walk in the park"


def written(door: Door, chinese: int, english: int, short: int) -> None:
    texts = [f"{CHINESE}{n}" for n in range(chinese)] + [f"{ENGLISH} {n}" for n in range(english)]
    door.append([{"text": text, "label": "neutral"} for text in [*texts, *map(str, range(short))]], "written")
    door.build()


def told(door: Door, version: int = 0) -> dict[str, Any]:
    request = pb.GetDatasetVersionRequest(pipeline="sentiment", version=version, languages=True)
    statistics = MessageToDict(door.stub.GetDatasetVersion(request, timeout=60).statistics)
    found: dict[str, Any] = statistics.get(languages.KEY, {})
    return found


def test_every_row_of_a_small_version_is_looked_at_once_and_only_when_somebody_asks(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(door, chinese=6, english=3, short=1)
    assert languages.KEY not in door.version().statistics
    expected = {"rows": 10, "of": 10, "languages": {"zh": 6, "en": 3, "unknown": 1}}
    assert told(door) == expected
    assert list(door.version().statistics[languages.KEY]["languages"])
    monkeypatch.setattr(languages, "sample", None)
    assert told(door, version=1) == expected, "and kept with the version"


def test_of_a_large_version_the_rows_whose_ids_come_first_are_looked_at(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(languages, "SAMPLE", 40)
    written(door, chinese=100, english=100, short=0)
    first = sorted((row.id, row.fields["text"]) for row in door.rows())[:40]
    chinese = sum(text.startswith(CHINESE) for _, text in first)
    found = told(door)
    assert (found["rows"], found["of"]) == (40, 200)
    assert found["languages"] == {"zh": chinese, "en": 40 - chinese}


def test_test_rows_that_may_not_judge_are_no_part_of_it(door: Door) -> None:
    door.append(tweets(60), "first")
    door.build()
    batch = door.version().batches[0]
    door.stub.HoldBatch(pb.HoldBatchRequest(id=batch, reason="a look"), timeout=20)
    door.build()
    door.stub.ReleaseBatch(pb.ReleaseBatchRequest(id=batch, reason="fine"), timeout=20)
    door.build()
    found, splits = told(door), door.version().splits
    assert splits.test == 0
    assert found["rows"] == found["of"] == splits.train + splits.validation < 60


def test_a_version_whose_rows_can_not_be_read_is_told_without(door: Door) -> None:
    written(door, chinese=3, english=0, short=0)
    (part,) = door.stored_parts()
    folder = Path(door.settings.resolved_artifacts_url) / "datasets" / "sentiment" / "parts"
    (folder / part).write_bytes(b"damaged")
    assert told(door) == {}


def test_an_expired_version_is_told_without(door: Door) -> None:
    written(door, chinese=3, english=0, short=0)
    door.stub.DeleteRows(pb.DeleteRowsRequest(pipeline="sentiment", sources=["tests"], reason="gone"), timeout=20)
    assert told(door, version=1) == {}
