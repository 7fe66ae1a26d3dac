"""Texts there and back: what is asked for, what is left out, where the rest is kept."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from services.finetuning.paraphrasing.drawing import drawn_texts
from services.finetuning.paraphrasing.keeping import keep, kept, origin, place_of
from services.finetuning.paraphrasing.translating import TEXTS_AT_ONCE, there_and_back
from services.finetuning.spec import TrainedBefore, TrainingSpec
from shared.client.answers import Lineage, Timings
from shared.client.texts import RewriteAnswer, Rewritten
from shared.errors import DataCorrupted
from shared.pipelines.back_translation import BackTranslation, ServedModel
from shared.storage.artifacts import Artifacts
from shared.storage.repositories import jobs
from shared.storage.tables import Job
from tests.integration.finetuning.support import World, pipeline_spec
from tests.support.s3 import S3
from tests.support.training_runs import make_spec, some_rows

KEYS = BackTranslation(there="en-de", back="de-en@4", share=1.0)


class Server:
    """Two models: `there` turns words around, `back` puts them right and says more, but for some texts."""

    def __init__(self, **said: str) -> None:
        self.said = said
        self.asked: list[tuple[str, int]] = []

    def __call__(self, key: str, model: ServedModel, texts: Sequence[str]) -> RewriteAnswer:
        self.asked.append((key, len(texts)))
        made = [self.said.get(text, text[::-1] if key == "there" else f" {text[::-1]} indeed ") for text in texts]
        lineage = Lineage(model.name, model.version or 7, "", "", "", 1, "", "torch")
        return RewriteAnswer(tuple(Rewritten(text, 0.0) for text in made), lineage, Timings(0, 0, 0, None), "r")


def test_every_text_comes_back_in_other_words_in_batches() -> None:
    texts, done = [f"text {index}" for index in range(TEXTS_AT_ONCE + 1)], list[int]()
    server = Server()
    made = there_and_back(texts, KEYS, server, done.append)
    assert made.texts == tuple(f"{text} indeed" for text in texts)
    assert made.by == ("en-de@7", "de-en@4")
    assert server.asked == [("there", 16), ("back", 16), ("there", 1), ("back", 1)]
    assert done == [16, 17]


def test_what_comes_back_empty_or_unchanged_or_can_not_be_sent_is_left_out() -> None:
    server = Server(lost=" ", emas=" same\n", kcalb="", taht="that one")
    made = there_and_back(["lost", "same", "black", "that", " ", "x" * 65_537], KEYS, server, lambda done: None)
    assert made.texts == (None, None, None, "that one", None, None)
    assert server.asked == [("there", 4), ("back", 3)]
    assert there_and_back(["lost"], KEYS, Server(lost=""), lambda done: None).texts == (None,)


@pytest.fixture
def spec(tmp_path: Path) -> TrainingSpec:
    pairs = [
        {**row, "text_pair": "a pair" if index else None} for index, row in enumerate(some_rows("classification", 6))
    ]
    rest = [{**row, "text_pair": None} for row in some_rows("classification", 3, "test", 100)]
    method = {"augmentation": {"back_translation": KEYS.model_dump()}}
    return make_spec(tmp_path, "classification", [*pairs, *rest], method)


def test_train_rows_only_are_drawn_and_those_that_are_learnt(spec: TrainingSpec) -> None:
    drawn = drawn_texts(spec, KEYS)
    assert [(one.row_id, one.field) for one in drawn][:3] == [
        ("row-0000", "text"),
        ("row-0001", "text"),
        ("row-0001", "text_pair"),
    ]
    assert len(drawn) == 11
    (part,) = spec.dataset.parts
    before = TrainedBefore(1, "d", frozenset({part.digest}))
    assert drawn_texts(replace(spec, trained_before=before), KEYS) == []
    part.path.write_bytes(b"no parquet")
    with pytest.raises(DataCorrupted, match=r"part\.parquet"):
        drawn_texts(spec, KEYS)


def test_what_is_kept_is_found_again_and_the_first_wins(spec: TrainingSpec, world: World) -> None:
    drawn = drawn_texts(spec, KEYS)[:2]
    uri = place_of(spec, KEYS, "job-1")
    assert kept(world.artifacts, uri) is None
    made = keep(world.artifacts, uri, drawn, ["other words", None], ("en-de@7", "de-en@4"))
    assert pq.read_table(made.path).to_pylist() == [{"row_id": "row-0000", "field": "text", "text": "other words"}]
    assert keep(world.artifacts, uri, drawn, ["third words", None], ("en-de@8",)) == made == kept(world.artifacts, uri)
    (world.artifacts.fetch_folder(uri) / "paraphrases.parquet").write_bytes(b"x")
    with pytest.raises(DataCorrupted):
        kept(world.artifacts, uri)


def test_what_is_kept_is_read_on_another_machine(spec: TrainingSpec, tmp_path: Path, s3: S3) -> None:
    here, there = (Artifacts(s3.url, tmp_path / name, s3.endpoint) for name in ("here", "there"))
    made = keep(here, "paraphrases/a", drawn_texts(spec, KEYS)[:1], ["other words"], ("en-de@7",))
    found = kept(there, "paraphrases/a")
    assert found is not None
    assert (found.digest, found.by) == (made.digest, made.by)
    assert found.path != made.path
    assert kept(there, "paraphrases/b") is None


def test_the_place_is_another_for_other_keys_rows_and_origins(spec: TrainingSpec) -> None:
    changed: list[tuple[TrainingSpec, BackTranslation, str]] = [
        (spec, KEYS, "job-1"),
        (spec, KEYS, "job-2"),
        (replace(spec, seed=1), KEYS, "job-1"),
        (replace(spec, dataset=replace(spec.dataset, digest="e")), KEYS, "job-1"),
        (spec, KEYS.model_copy(update={"share": 0.5}), "job-1"),
    ]
    assert len({place_of(*one) for one in changed}) == len(changed)
    longer = replace(spec, method=spec.method.model_copy(update={"epochs": 9}), job="job-9")
    assert place_of(longer, KEYS, "job-1") == place_of(spec, KEYS, "job-1")


def test_clones_verifications_and_trials_go_back_to_one_origin(world: World) -> None:
    def made(**about: Any) -> Job:
        with world.database.write() as session:
            given: dict[str, Any] = {
                "pipeline": "mood",
                "dataset_version": 1,
                "spec": pipeline_spec("nowhere"),
                "trigger": "manual",
            }
            return jobs.create(session, **given, max_attempts=1, **about)

    first, trials = made(), [made(search="search-1", sort="trial", trial=number) for number in range(2)]
    clone = made(clone_of=first.id)
    winner = made(clone_of=trials[1].id, search="search-1")
    verified = [made(clone_of=job.id, sort="verify", verifies=1) for job in (clone, winner)]
    with world.database.read() as session:
        assert {origin(session, job) for job in (first, clone, verified[0])} == {first.id}
        assert {origin(session, job) for job in (*trials, winner, verified[1])} == {"search-1"}
        assert origin(session, made(clone_of="job-that-is-gone")) not in (first.id, "job-that-is-gone")
