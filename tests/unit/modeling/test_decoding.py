"""Rows of numbers become entities, spans, relations and scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidArgument
from shared.modeling.kinds.answer_selection import shares
from shared.modeling.kinds.answer_spans import Window, best_span
from shared.modeling.kinds.embedding import cosines, normalise
from shared.modeling.kinds.entities import decode_entities
from shared.modeling.kinds.markers import Direction, mark, merge_directions
from shared.modeling.kinds.pairs import check_pair_labels, fit
from shared.modeling.kinds.routes import find_route

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC")


def tagged(*tags: str) -> list[tuple[str, int, int]]:
    """Entities of words of one character each, tagged so."""
    rows = np.full((len(tags), len(TAGS)), 0.02, dtype=np.float32)
    for row, tag in zip(rows, tags, strict=True):
        row[TAGS.index(tag)] = 0.9
    spans = [(2 * place, 2 * place + 1) for place in range(len(tags))]
    return [(one.label, one.start, one.end) for one in decode_entities(rows, range(len(tags)), spans, TAGS)]


def test_tags_open_continue_and_close_entities() -> None:
    assert tagged("O", "B-PER", "I-PER", "O", "B-LOC") == [("PER", 2, 5), ("LOC", 8, 9)]
    assert tagged("B-PER", "B-PER") == [("PER", 0, 1), ("PER", 2, 3)]
    assert tagged("I-PER", "I-LOC", "I-LOC") == [("PER", 0, 1), ("LOC", 2, 5)]
    assert tagged("MISC", "MISC", "O", "MISC") == [("MISC", 0, 3), ("MISC", 6, 7)]
    assert tagged("O", "O") == tagged() == []


def test_the_first_piece_of_a_word_speaks_for_it() -> None:
    rows = np.array([[0.1, 0.1], [0.2, 0.8], [0.9, 0.1], [0.7, 0.3]], dtype=np.float32)
    (found,) = decode_entities(rows, [None, 0, 0, 1], [(0, 4), (5, 7)], ("O", "B-X"))
    assert (found.label, found.start, found.end, found.score) == ("X", 0, 4, pytest.approx(0.8))


def test_markers_stand_around_both_spans_in_either_order() -> None:
    assert mark("smoke follows fire", (0, 5), (14, 18)) == "[E1] smoke [/E1] follows [E2] fire [/E2]"
    assert mark("smoke follows fire", (14, 18), (0, 5)) == "[E2] smoke [/E2] follows [E1] fire [/E1]"


def test_labels_lose_their_direction() -> None:
    assert merge_directions(["Other", "Cause(e1,e2)", "Cause(e2,e1)", "odd(e1,e1)"]) == [
        ("Other", Direction.NONE),
        ("Cause", Direction.HEAD_TO_TAIL),
        ("Cause", Direction.TAIL_TO_HEAD),
        ("odd(e1,e1)", Direction.NONE),
    ]


def window(logits: list[tuple[float, float]], first_character: int) -> Window:
    spans = [None, *((first_character + place, first_character + place + 1) for place in range(len(logits) - 1))]
    return Window(np.array(logits, dtype=np.float32), spans)


def test_the_best_span_over_all_windows_wins_and_is_counted_once() -> None:
    one = window([(0, 0), (1, 0), (0, 3)], 0)
    two = window([(-1, 0), (0, 3), (5, 5)], 1)
    found = best_span([one, two])
    assert (found.start, found.end) == (2, 3)
    logits = {(0, 1): 1.0, (0, 2): 4.0, (1, 2): 3.0, (1, 3): 5.0, (2, 3): 10.0, "none": -1.0}
    total = sum(np.exp(value) for value in logits.values())
    assert found.score == pytest.approx(np.exp(10) / total, rel=1e-4)
    assert found.no_answer == pytest.approx(np.exp(-1) / total, rel=1e-4)


def test_spans_longer_than_allowed_or_backwards_are_no_answers() -> None:
    far = window([(0, 0), (9, 0), (0, 0), (0, 9)], 0)
    found = best_span([far], longest=2)
    assert (found.start, found.end) in ((0, 1), (0, 2), (1, 3), (2, 3))
    backwards = window([(0, 0), (0, 9), (9, 0)], 0)
    found = best_span([backwards])
    assert found.start < found.end
    assert best_span([window([(3, 3)], 0)]).no_answer == 1.0


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20))
def test_shares_of_candidates_sum_to_one_and_keep_their_order(fits: list[float]) -> None:
    found = shares(fits)
    assert sum(found) == pytest.approx(1)
    assert found[int(np.argmax(fits))] == max(found)


def test_pairs_fit_by_one_logit_or_by_the_second_of_two() -> None:
    assert fit(np.array([2.5], dtype=np.float32)) == 2.5
    assert fit(np.array([1.0, 4.0], dtype=np.float32)) == 3.0
    with pytest.raises(InvalidArgument, match="no labels, or two"):
        check_pair_labels("ranking", ["a"])


def test_vectors_have_length_one_and_zero_stays() -> None:
    assert np.linalg.norm(normalise(np.array([3, 4], dtype=np.float32))) == pytest.approx(1)
    assert normalise(np.zeros(2, dtype=np.float32)).tolist() == [0, 0]
    across = [np.array(pair, dtype=np.float32) for pair in ((2, 0), (0, 3), (-1, 0))]
    assert cosines(np.array([1, 0], dtype=np.float32), across) == pytest.approx([1, 0, -1])


class Speaks:
    """A tokenizer with a language setting, as NLLB's and mBART's."""

    src_lang = "en_XX"
    all_special_tokens = ("<s>", "en_XX", "de_DE", "__fr__")

    def convert_tokens_to_ids(self, token: str) -> int:
        return self.all_special_tokens.index(token) + 100


class Marian:
    supported_language_codes = (">>fra<<", ">>deu<<")


def test_languages_become_tokens_codes_or_prefixes() -> None:
    route = find_route(Speaks(), None, "translation", "en_XX", "fr")
    assert (route.prefix, route.source, route.forced_first) == ("", "en_XX", 103)
    assert find_route(Marian(), None, "translation", "", "deu").prefix == ">>deu<< "
    for tokenizer, source, target in ((Speaks(), "en_XX", "xx"), (Speaks(), "", "fr"), (Marian(), "", "")):
        with pytest.raises(InvalidArgument, match="this model knows"):
            find_route(tokenizer, None, "translation", source, target)
