"""Training on paraphrases: read in about every other epoch, known to the embedding, part of what a run is."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.finetuning.spec import EXIT_DRAINED, EXIT_FAILED, EXIT_FINISHED, Paraphrases, TrainingSpec
from services.finetuning.training.examples.augmentation import Augmented
from services.finetuning.training.examples.paraphrases import read_paraphrases
from shared.modeling.card import ModelCard
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.changing import Changeable
from shared.modeling.loading import load_tokenizer
from shared.pipelines.train_rows import Augmentation
from tests.support.tiny_models import tiny_encoder
from tests.support.training_runs import StopAfter, make_spec, named, run, some_rows, weights_of

KEYS = {"back_translation": {"there": "en-de", "back": "de-en", "share": 1.0}}
OTHER = "key film door zebra quark"
ROWS = [*some_rows("classification", 12), *some_rows("classification", 4, "validation", 12)]


def _spec(folder: Path, rows: list[dict[str, str]] | None = None, **changes: Any) -> TrainingSpec:
    made = (
        [{"row_id": f"row-{index:04d}", "field": "text", "text": OTHER} for index in range(6)] if rows is None else rows
    )
    spec = make_spec(folder, "classification", ROWS, {"augmentation": KEYS}, **changes)
    path = folder / "paraphrases.parquet"
    pq.write_table(pa.Table.from_pylist(made), path)
    return replace(spec, paraphrases=Paraphrases(path, sha256(path.read_bytes()).hexdigest(), ("en-de@1", "de-en@2")))


def test_a_row_is_read_in_other_words_in_half_of_the_epochs(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_encoder(tmp_path / "base"))
    kind = cast(Changeable, find_kind("classification"))
    rows = [
        {"row_id": f"row-{index}", "text": "a good film", "text_pair": "a bad film", "label": "x"}
        for index in range(40)
    ]
    other = {(row["row_id"], text): OTHER for row in rows[:20] for text in ("a good film", "a bad film")}

    def ids(seed: int, epoch: int) -> list[list[int]]:
        made = Augmented(kind, tokenizer, rows, ("x", "y"), 64, Augmentation(), seed, other)
        return [example.ids for example in made.encode(epoch).examples]

    plain, new = tokenizer("a good film", "a bad film").input_ids, tokenizer(OTHER, OTHER).input_ids
    epochs = [ids(0, epoch) for epoch in range(10)]
    assert all(one in (plain, new) for epoch in epochs for one in epoch), "both texts of a row alike"
    assert all(epoch[20:] == [plain] * 20 for epoch in epochs)
    assert 70 < sum(one == new for epoch in epochs for one in epoch) < 130
    assert epochs[3] == ids(0, 3) != ids(1, 3)


def test_a_run_learns_words_that_only_paraphrases_have_and_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    whole, parts = _spec(tmp_path / "whole", seed=3), _spec(tmp_path / "parts", seed=3)
    code, _ = run(whole)
    assert code == EXIT_FINISHED
    assert run(parts, StopAfter(2))[0] == EXIT_DRAINED
    code, events = run(parts)
    assert (code, named(events, "started")[0]["start_step"]) == (EXIT_FINISHED, 2)
    assert weights_of(parts.output_dir) == weights_of(whole.output_dir)
    assert whole.paraphrases is not None
    said = ModelCard.read(whole.output_dir).conditions["paraphrases"]
    assert said == f"back-translated by en-de@1, de-en@2, {whole.paraphrases.digest}"
    none = _spec(tmp_path / "none", [{"row_id": "row-none", "field": "text", "text": OTHER}], seed=3)
    assert run(none)[0] == EXIT_FINISHED
    assert weights_of(none.output_dir) != weights_of(whole.output_dir)


def test_paraphrases_are_part_of_what_a_run_is(tmp_path: Path) -> None:
    spec = _spec(tmp_path)
    assert spec.paraphrases is not None
    assert TrainingSpec.from_json(spec.to_json()) == spec
    moved = replace(spec.paraphrases, path=tmp_path / "elsewhere", by=("en-de@5",))
    assert replace(spec, paraphrases=moved).identity("b") == spec.identity("b")
    changed = replace(spec.paraphrases, digest="e" * 64)
    assert replace(spec, paraphrases=changed).identity("b") != spec.identity("b")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda spec: replace(spec, paraphrases=None), "spec.paraphrases"),
        (lambda spec: replace(spec, paraphrases=replace(spec.paraphrases, digest="f" * 64)), "digest"),
        (lambda spec: replace(spec, paraphrases=replace(spec.paraphrases, path=spec.work_dir / "gone")), "missing"),
    ],
    ids=["none", "altered", "gone"],
)
def test_paraphrases_that_are_not_what_they_were_end_the_run(tmp_path: Path, damage: Any, words: str) -> None:
    code, events = run(damage(_spec(tmp_path)))
    (failed,) = named(events, "failed")
    assert code == EXIT_FAILED
    assert failed["reason"] in ("BAD_SPEC", "BAD_DATA")
    assert words in failed["message"]


def test_a_run_without_back_translation_reads_none(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "classification", ROWS, {"augmentation": {"word_swap": 0.1}})
    assert read_paraphrases(spec, ROWS) == {}
