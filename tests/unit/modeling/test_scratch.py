"""Tokenizers and models made of nothing but texts."""

from pathlib import Path
from typing import Any

import pytest

from shared.modeling.loading import load_tokenizer
from shared.modeling.scratch.making import make_base
from shared.pipelines.options import Options
from tests.support.tiny_models import CORPUS

CHINESE = ["我喜欢这部电影，它很好看。", "今天天气很好，我们去公园散步。"]
TEXTS = CORPUS * 3 + CHINESE * 3 + ["Größe naïve हिन्दी भाषा"]
SIZES: dict[str, Any] = {"hidden_size": 16, "layers": 1, "heads": 2, "positions": 32, "vocabulary": 400}
CAUSAL = Options(objective="causal", **SIZES)
MASKED = Options(objective="masked", **SIZES)


@pytest.mark.parametrize("options", [CAUSAL, MASKED])
def test_the_same_texts_give_the_same_bytes(tmp_path: Path, options: Options) -> None:
    made = [make_base(tmp_path / str(turn), TEXTS, options, 3, "data").base.digest for turn in range(4)]
    assert len(set(made)) == 1


def test_data_options_and_seed_decide_and_nothing_else(tmp_path: Path) -> None:
    first = make_base(tmp_path / "a", TEXTS, CAUSAL, 0, "data").base
    assert make_base(tmp_path / "a", TEXTS, CAUSAL, 0, "data").base == first, "found again"
    changed = [
        make_base(tmp_path / "b", TEXTS, CAUSAL, 1, "data").base.digest,
        make_base(tmp_path / "c", TEXTS, CAUSAL.model_copy(update={"layers": 2}), 0, "data").base.digest,
        make_base(tmp_path / "d", [*TEXTS, "a good door"] * 2, CAUSAL, 0, "other").base.digest,
    ]
    assert len({first.digest, *changed}) == 4
    again = make_base(tmp_path / "e", TEXTS, CAUSAL.model_copy(update={"answer_tokens": 7}), 0, "data").base
    assert again.digest == first.digest


@pytest.mark.parametrize("options", [CAUSAL, MASKED])
def test_every_script_survives(tmp_path: Path, options: Options) -> None:
    tokenizer = load_tokenizer(make_base(tmp_path, TEXTS, options, 0, "data").base.path)
    for text in ("我喜欢天气", "größe naïve", "हिन्दी भाषा"):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert str(tokenizer.decode(ids, skip_special_tokens=True)).replace(" ", "") == text.replace(" ", "")


def test_any_text_can_be_written_in_bytes(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_base(tmp_path, ["abc"], CAUSAL, 0, "data").base.path)
    text = "\U0001f600 안녕 שלום"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_a_text_begins_with_the_end_of_another(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_base(tmp_path, TEXTS, CAUSAL, 0, "data").base.path)
    assert tokenizer("a")["input_ids"][0] == tokenizer.eos_token_id == tokenizer.pad_token_id
    assert tokenizer("")["input_ids"] == [tokenizer.eos_token_id]


def test_letters_too_rare_for_the_vocabulary_are_told(tmp_path: Path) -> None:
    small = MASKED.model_copy(update={"vocabulary": 100})
    made = make_base(tmp_path, TEXTS, small, 0, "data")
    assert "rare characters are unknown" in made.notes[0]
    tokenizer = load_tokenizer(made.base.path)
    assert len(tokenizer) <= 100
    assert tokenizer.unk_token_id not in tokenizer("the good film")["input_ids"]


def test_a_vocabulary_that_the_corpus_does_not_fill_is_told(tmp_path: Path) -> None:
    made = make_base(tmp_path, CORPUS, CAUSAL.model_copy(update={"vocabulary": 9000}), 0, "data")
    assert "of 9000 wanted" in made.notes[0]


def test_pairs_have_segments(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_base(tmp_path, TEXTS, MASKED, 0, "data").base.path)
    made = tokenizer("a film", "the door")
    assert set(made["token_type_ids"]) == {0, 1}
    assert made["input_ids"].count(tokenizer.sep_token_id) == 2
