"""Augmented rows: changed anew every epoch, the same again for the same seed, never without a word."""

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.finetuning.spec import EXIT_DRAINED, EXIT_FINISHED
from services.finetuning.training.examples.augmentation import (
    Augmented,
    changed,
    drop_tokens,
    with_swaps,
    without_words,
)
from services.finetuning.training.model.compact import CompactEmbedding
from shared.modeling.kinds import KINDS, find_kind
from shared.modeling.kinds.base import Example
from shared.modeling.kinds.changing import Changeable
from shared.modeling.loading import load_tokenizer
from shared.pipelines.methods import resolve_method
from shared.pipelines.reading import load_pipeline
from shared.pipelines.train_rows import NOT_AUGMENTED, Augmentation
from shared.rows.words import split_words
from tests.support.tiny_models import tiny_encoder
from tests.support.training_runs import StopAfter, make_spec, run, some_rows, weights_of

EVERYTHING: dict[str, Any] = {"token_dropout": 0.2, "word_swap": 0.3, "word_delete": 0.2}
LONG = "how do I open the door when it is raining and the key of the door is in the other coat"
CHOICES: dict[str, dict[str, Any]] = {
    "classification": {"text": LONG, "text_pair": LONG.upper(), "label": "door", "labels": None},
    "embedding": {"query": LONG, "positives": ["turn the key"], "negatives": ["push the fox"]},
    "ranking": {"query": LONG, "positives": ["turn the key"], "negatives": ["push the fox"]},
    "answer_selection": {"question": LONG, "candidates": ["turn the key", "push the fox"], "answer": 0},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("augmentation") / "base")


def _rows(kind: str, count: int = 6) -> list[dict[str, Any]]:
    return [{"row_id": f"row-{index}", "split": "train", **CHOICES[kind]} for index in range(count)]


def _augmented(base: Path, kind: str, seed: int = 0, **keys: Any) -> Augmented:
    labels = ("door", "key") if kind == "classification" else ()
    found = cast(Changeable, find_kind(kind))
    return Augmented(found, load_tokenizer(base), _rows(kind), labels, 64, Augmentation(**keys), seed)


def _plain(base: Path, kind: str) -> list[Example]:
    labels = ("door", "key") if kind == "classification" else ()
    return find_kind(kind).encode(load_tokenizer(base), _rows(kind), labels, 64).examples


@given(st.text(), st.floats(0, 1), st.floats(0, 0.9), st.integers(0, 100))
def test_a_text_keeps_at_least_one_of_its_words_and_gets_no_new_one(
    text: str, swap: float, delete: float, seed: int
) -> None:
    found = changed(text, Augmentation(word_swap=swap, word_delete=delete), random.Random(seed))
    letters = Counter("".join(split_words(found)))
    assert letters <= Counter("".join(split_words(text)))
    assert bool(letters) == bool(split_words(text))


def test_swapped_words_are_the_same_words_between_the_same_gaps() -> None:
    found = with_swaps("one, two;  three — four!", 1.0, random.Random(3))
    assert sorted(split_words(found)) == sorted(split_words("one, two;  three — four!"))
    assert found != "one, two;  three — four!"
    assert re.sub(r"\w+", "", found) == ", ;   — !"


def test_chinese_is_changed_by_characters() -> None:
    found = without_words("我想打开这扇门但是我没有钥匙", 0.4, random.Random(1))
    assert 0 < len(found) < 14
    assert sorted(with_swaps("我想打开门", 1.0, random.Random(1))) == sorted("我想打开门")


def test_about_the_asked_share_is_changed() -> None:
    text = " ".join(f"w{index}" for index in range(2000))
    words = text.split()
    left = without_words(text, 0.25, random.Random(0)).split()
    moved = sum(a != b for a, b in zip(words, with_swaps(text, 0.25, random.Random(0)).split(), strict=True))
    assert 0.7 < len(left) / 2000 < 0.8
    assert 0.2 < moved / 2000 < 0.3


def test_special_tokens_stay_and_segments_go_with_their_tokens() -> None:
    ids, segments = [2, 10, 11, 12, 3, 20, 21, 3], [0, 0, 0, 0, 0, 1, 1, 1]
    masked, kept = drop_tokens((ids, segments), 0.9, 4, {2, 3}, random.Random(0))
    assert kept == segments
    assert [masked[0], masked[4], masked[7]] == [2, 3, 3]
    assert 4 in masked
    assert any(token >= 10 for token in masked)
    shorter, along = drop_tokens((ids, segments), 0.9, None, {2, 3}, random.Random(0))
    assert along is not None
    assert len(shorter) == len(along) < len(ids)
    assert all(segment == segments[ids.index(token)] for token, segment in zip(shorter[:-1], along, strict=False))


@pytest.mark.parametrize("kind", CHOICES)
def test_epochs_differ_and_are_what_they_were_for_the_same_seed(base: Path, kind: str) -> None:
    made = [_augmented(base, kind, **EVERYTHING).encode(epoch).examples for epoch in range(3)]
    assert made[1] == _augmented(base, kind, **EVERYTHING).encode(1).examples
    assert made[1] != _augmented(base, kind, seed=1, **EVERYTHING).encode(1).examples
    for examples in zip(*made, strict=True):
        assert len({tuple(example.ids) for example in examples}) == 3
    assert len({tuple(example.ids) for example in made[0]}) == len(made[0])  # each row in a way of its own


@pytest.mark.parametrize("keys", [EVERYTHING, {"token_dropout": 0.5}, {"word_swap": 1.0}, {"word_delete": 0.5}])
@pytest.mark.parametrize("kind", CHOICES)
def test_what_is_right_stays_as_it_is(base: Path, kind: str, keys: dict[str, Any]) -> None:
    found, plain = _augmented(base, kind, **keys).encode(0).examples, _plain(base, kind)
    assert [(example.row_ids, example.targets, example.weight) for example in found] == [
        (example.row_ids, example.targets, example.weight) for example in plain
    ]
    assert [len(example.others) for example in found] == [len(example.others) for example in plain]
    if kind == "embedding":
        assert [example.others for example in found] == [example.others for example in plain]


def test_candidates_lose_tokens_as_the_right_text_does(base: Path) -> None:
    """Were only the right one thinned, the gaps would give it away."""
    unknown = load_tokenizer(base).unk_token_id
    examples = _augmented(base, "ranking", token_dropout=0.5).encode(0).examples
    for texts in zip(*((example.ids, *example.others) for example in examples), strict=True):
        assert any(unknown in text for text in texts)


def test_an_augmented_run_that_was_interrupted_ends_with_the_same_bytes(tmp_path: Path) -> None:
    rows = some_rows("classification", 30) + some_rows("classification", 6, "validation", start=50)
    method = {"augmentation": EVERYTHING, "epochs": 3}
    whole = make_spec(tmp_path / "whole", "classification", rows, method)
    cut = make_spec(tmp_path / "cut", "classification", rows, method)
    assert run(whole)[0] == EXIT_FINISHED
    for steps in (5, 9):  # in the first epoch, and in the second
        assert run(cut, StopAfter(steps))[0] == EXIT_DRAINED
    assert run(cut)[0] == EXIT_FINISHED
    assert weights_of(cut.output_dir) == weights_of(whole.output_dir)
    assert (cut.work_dir / "rows.log").read_bytes() == (whole.work_dir / "rows.log").read_bytes()
    logged = [json.loads(line)["rows"] for line in (whole.work_dir / "rows.log").read_text().splitlines()]
    assert Counter(row for rows in logged for row in rows) == {f"row-{index:04d}": 3 for index in range(30)}


def test_tokens_that_only_a_changed_text_has_are_trained_too(tmp_path: Path) -> None:
    """A word that is cut off where the text is whole is read where words before it are left out."""
    text = " ".join([*(["the fox jumps"] * 30), "great"])
    rows = [{"row_id": f"row-{n}", "split": "train", "text": text, "label": f"label-{n % 2}"} for n in range(8)]
    kept: list[int] = []

    def note(self: CompactEmbedding, table: Any, ids: Any) -> None:
        kept.extend(ids.tolist())
        original(self, table, ids)

    original = CompactEmbedding.__init__
    spec = make_spec(tmp_path, "classification", rows, {"augmentation": {"word_delete": 0.6}, "epochs": 4})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CompactEmbedding, "__init__", note)
        assert run(spec)[0] == EXIT_FINISHED
    tokenizer = load_tokenizer(Path(spec.base))
    assert tokenizer.convert_tokens_to_ids("great") in kept


def test_the_identity_knows_the_augmentation(tmp_path: Path) -> None:
    rows = some_rows("classification", 4)
    plain = make_spec(tmp_path, "classification", rows)
    other = make_spec(tmp_path, "classification", rows, {"augmentation": {"word_swap": 0.1}})
    assert plain.identity("base") != other.identity("base")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_augmented_or_says_why_not(kind: str) -> None:
    if issubclass(KINDS[kind], Changeable):
        assert kind not in NOT_AUGMENTED
        assert resolve_method(kind, {"augmentation": {"word_swap": 0.1}}).augmentation == Augmentation(word_swap=0.1)
    else:
        with pytest.raises(ValueError, match=NOT_AUGMENTED[kind]):
            resolve_method(kind, {"augmentation": {"word_swap": 0.1}})


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("{word_swop: 0.1}", "method.augmentation.word_swop: unknown key; did you mean 'word_swap'"),
        ("{word_delete: 0.95}", "method.augmentation.word_delete: 0.95"),
        ("{token_dropout: -1}", "method.augmentation.token_dropout: -1"),
    ],
)
def test_a_pipeline_file_with_a_wrong_augmentation_names_the_key(yaml: str, message: str) -> None:
    text = f"name: a\nkind: classification\nbase: x\nmethod:\n  augmentation: {yaml}\n"
    with pytest.raises(Exception, match=message):
        load_pipeline(text)
