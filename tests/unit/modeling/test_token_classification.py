"""Words with tags: windows, what is learnt, loss and metrics."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from services.inference.engine.tokenising import TextEncoder
from shared.errors import InvalidArgument
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.base import IGNORED
from shared.modeling.kinds.token_classification import read_words
from shared.modeling.kinds.windows import finer_words, plain_tokenizer
from shared.modeling.loading import load_tokenizer
from tests.support.learning import learn_by_heart, losses_alone_and_together

KIND = find_kind("token_classification")
LABELS = ("O", "B-FOX", "I-FOX")


def row(words: str, tags: str, row_id: str = "1") -> dict[str, Any]:
    return {"row_id": row_id, "tokens": words.split(" "), "tags": tags.split(" ")}


def encoded(encoder: Path, rows: list[dict[str, Any]], length: int = 64) -> Any:
    return KIND.encode(load_tokenizer(encoder), rows, LABELS, length)


def test_the_labels_are_the_tags_of_every_entity_label_seen() -> None:
    rows = [row("a b c", "O B-LOC I-LOC"), row("a", "O"), row("d", "B-PER")]
    assert KIND.learn_labels(rows) == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert KIND.learn_labels([row("a", "O")]) == ("O",)
    assert KIND.declared_labels(("Disease",)) == ("O", "B-Disease", "I-Disease")


def test_only_the_first_piece_of_a_word_is_learnt(encoder: Path) -> None:
    (example,) = encoded(encoder, [row("the xyz fox", "O B-FOX I-FOX")]).examples
    assert len(example.ids) == 7, "[CLS] the x ##y ##z fox [SEP]"
    assert example.targets == [IGNORED, 0, 1, IGNORED, IGNORED, 2, IGNORED]
    assert example.weight == 3


def test_a_given_word_is_cut_as_it_would_be_in_a_text(encoder: Path) -> None:
    assert finer_words(["don't", "\u00a0", "我们"]) == (["don", "'", "t", "我", "们"], [0, 0, 0, 2, 2])
    (example,) = encoded(encoder, [row("fox-hunter film", "B-FOX O")]).examples
    learnt = [target for target in example.targets if target != IGNORED]
    assert learnt == [1, 2, 2, 0], "fox B, - I, hunter I, film O"


def test_of_a_long_text_every_word_is_learnt_once_where_it_has_most_company(encoder: Path) -> None:
    words = " ".join(["fox", "film", "door", "key", "dog"] * 12)
    (alone,) = encoded(encoder, [row(words, " ".join(["B-FOX", "O", "O", "O", "O"] * 12))], 64).examples
    windows = encoded(encoder, [row(words, " ".join(["B-FOX", "O", "O", "O", "O"] * 12))], 16).examples
    assert len(windows) > 3
    assert all(len(window.ids) <= 16 for window in windows)
    assert sum(window.weight for window in windows) == alone.weight == 60
    for before, after in pairwise(windows):
        last = max(place for place, target in enumerate(before.targets) if target != IGNORED)
        first = min(place for place, target in enumerate(after.targets) if target != IGNORED)
        assert last <= len(before.ids) - 3, "no word is learnt at an edge that has a better window"
        assert first >= 2


def test_training_reads_what_service_reads(encoder: Path) -> None:
    tokenizer, words = load_tokenizer(encoder), ["the", "fox-hunter's", "我们", "door"] * 9
    served = [list(window.ids) for window in TextEncoder(tokenizer, 20).long_pieces(finer_words(words)[0])]
    (text,) = read_words(plain_tokenizer(tokenizer), [words], 20)
    assert [list(window.ids) for window in text.windows] == served
    learnt = encoded(encoder, [{"row_id": "1", "tokens": words, "tags": ["O"] * len(words)}], 20).examples
    assert [example.ids for example in learnt] == served


def test_words_of_a_byte_level_tokenizer_are_the_words_of_its_texts(decoder: Path) -> None:
    tokenizer = load_tokenizer(decoder)
    (text,) = read_words(plain_tokenizer(tokenizer), [["the", "fox", "我"]], 64)
    assert tokenizer.decode(text.windows[0].ids) == " the fox 我"
    assert set(text.windows[0].word_ids) - {None} == {0, 1, 2}


def test_words_that_the_tokenizer_drops_are_not_learnt_and_break_nothing(encoder: Path) -> None:
    found = encoded(encoder, [row("\u00a0 fox", "O B-FOX"), row("\u00a0", "O", "2")])
    assert [example.weight for example in found.examples] == [1]
    with pytest.raises(InvalidArgument, match="no word"):
        encoded(encoder, [row("\u00a0", "O")])


def test_a_tag_that_the_model_lacks_names_the_row(encoder: Path) -> None:
    with pytest.raises(InvalidArgument, match="row 7 has tag 'B-DOG'"):
        encoded(encoder, [row("a", "B-DOG", "7")])


def test_a_model_learns_tags_by_heart_and_its_entities_are_scored_whole(encoder: Path) -> None:
    rows = [
        row("the quick fox jumps", "O B-FOX I-FOX O", "1"),
        row("open the door", "O O O", "2"),
        row("fox fox", "B-FOX B-FOX", "3"),
        row(" ".join(["door", "key"] * 10 + ["quick", "fox"]), " ".join(["O"] * 20 + ["B-FOX", "I-FOX"]), "4"),
    ]
    torch.manual_seed(0)
    model = KIND.load(encoder, LABELS)
    examples = encoded(encoder, rows, 16).examples
    before = KIND.score(model, examples, 0, 2)
    learn_by_heart(KIND, model, examples)
    after = KIND.score(model, examples, 0, 2)
    assert set(after) == set(KIND.metrics)
    assert after["f1"] == after["accuracy"] == 1.0
    assert after["loss"] < before["loss"]


def test_padding_changes_nothing_with_smoothing_or_without(encoder: Path) -> None:
    torch.manual_seed(1)
    model = KIND.load(encoder, LABELS)
    examples = encoded(encoder, [row("fox", "B-FOX"), row("the quick brown fox", "O O O B-FOX", "2")]).examples
    alone, together = losses_alone_and_together(KIND, model, examples)
    assert together == pytest.approx(alone, rel=1e-5)
    smooth = [
        float(KIND.loss(model, KIND.collate(part, 0), 0.1).detach()) for part in (examples, examples[:1], examples[1:])
    ]
    assert smooth[0] == pytest.approx(smooth[1] + smooth[2], rel=1e-5)
    assert smooth[0] != pytest.approx(together)


def test_one_tag_is_nothing_to_tell_apart(encoder: Path) -> None:
    with pytest.raises(InvalidArgument, match="two tags"):
        KIND.load(encoder, ("O",))
