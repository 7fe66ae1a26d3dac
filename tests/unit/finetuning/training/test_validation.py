"""What a long validation tells."""

from pathlib import Path

import pytest

from services.finetuning.training import events as events_of_training
from services.finetuning.training.events import Events
from tests.support.training_runs import make_spec, named, run, some_rows


@pytest.mark.parametrize("kind", ["classification", "embedding"])
def test_it_says_that_it_goes_on(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_of_training, "ALIVE_SECONDS", 0.0)
    rows = some_rows("classification", 4) + some_rows("classification", 6, "validation", 100)
    for row in rows:
        row |= {"query": row["text"], "positives": [f"{row['text']} again"], "negatives": []}
    _, events = run(make_spec(tmp_path, kind, rows, {"name": "full", "batch_size": 2, "epochs": 1}))
    said = [event["event"] for event in events]
    assert said.index("alive") < said.index("validation")
    assert len(named(events, "alive")) >= 3, "one a batch"


def test_it_says_so_now_and_then_only(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(Events, "send", lambda self, event, **values: told.append(event))
    events = Events(-1)
    for _ in range(100):
        events.alive()
    assert told == []
