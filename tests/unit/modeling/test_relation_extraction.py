"""Marked texts: how they are shortened, what is learnt, SemEval's score."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from services.inference.engine.tokenising import TextEncoder
from shared.errors import InvalidArgument
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.markers import TooFarApart, bring_nearer, directed_macro_f1, mark, mark_within
from shared.modeling.loading import load_tokenizer
from tests.support.learning import learn_by_heart, losses_alone_and_together

KIND = find_kind("relation_extraction")
LABELS = ("Cause(e1,e2)", "Cause(e2,e1)", "Other")
SPECIAL = 2


def row(text: str, head: str, tail: str, label: str = "Other", row_id: str = "1") -> dict[str, Any]:
    start, other = text.index(head), text.index(tail)
    places = {"head_start": start, "head_end": start + len(head), "tail_start": other, "tail_end": other + len(tail)}
    return {"row_id": row_id, "text": text, **places, "label": label}


def words(text: str) -> list[tuple[int, int]]:
    """Offsets of a tokenizer that knows words between blanks only."""
    found, start = [], 0
    for word in text.split(" "):
        if word:
            found.append((start, start + len(word)))
        start += len(word) + 1
    return found


def test_a_text_that_fits_is_marked_whole() -> None:
    assert mark_within("a fox saw a dog", (2, 5), (12, 15), 12, words) == "a [E1] fox [/E1] saw a [E2] dog [/E2]"


def test_a_long_text_is_shortened_on_both_sides_of_the_spans() -> None:
    text = "one two three fox saw dog four five six"
    head, tail = (14, 17), (22, 25)
    assert mark_within(text, head, tail, 9, words) == "three [E1] fox [/E1] saw [E2] dog [/E2] four"
    assert mark_within(text, tail, head, 9, words) == "three [E2] fox [/E2] saw [E1] dog [/E1] four"
    with pytest.raises(TooFarApart) as refused:
        mark_within(text, head, tail, 6, words)
    assert refused.value.tokens == 7


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(12, 60), st.booleans())
def test_whatever_the_gaps_the_marked_text_fits_and_keeps_both_spans(
    before: int, between: int, after: int, most: int, turned: bool
) -> None:
    text = " ".join(["w"] * before + ["fox"] + ["w"] * between + ["dog"] + ["w"] * after)
    head, tail = (text.index("fox"), text.index("fox") + 3), (text.index("dog"), text.index("dog") + 3)
    if turned:
        head, tail = tail, head
    try:
        marked = mark_within(text, head, tail, most, words)
    except TooFarApart:
        marked = mark_within(*bring_nearer(text, head, tail, most, words), most, words)
    assert len(words(marked)) <= most
    first, second = ("dog", "fox") if turned else ("fox", "dog")
    assert f"[E1] {first} [/E1]" in marked
    assert f"[E2] {second} [/E2]" in marked


def test_training_reads_what_service_reads(encoder: Path) -> None:
    tokenizer = load_tokenizer(encoder)
    service = TextEncoder(tokenizer, 40)
    long = "the lazy dog " * 12 + "a quick fox jumps over the door" + " and the key" * 9
    rows = [row("a fox saw a dog", "fox", "dog"), row(long, "fox", "door"), row(long, "door", "fox")]
    found = KIND.encode(tokenizer, rows, LABELS, 40)
    assert found.truncated == 2
    for example, asked in zip(found.examples, rows, strict=True):
        head, tail = (asked["head_start"], asked["head_end"]), (asked["tail_start"], asked["tail_end"])
        marked = mark_within(asked["text"], head, tail, 40 - SPECIAL, service.spans)
        assert example.ids == list(service.texts([marked])[0].ids)


@pytest.mark.parametrize("span", ["fox", "fox" * 200])
def test_spans_far_apart_or_very_long_are_cut_and_never_crash(encoder: Path, span: str) -> None:
    far = row(f"{span} " + "and " * 300 + "dog", span, "dog")
    found = KIND.encode(load_tokenizer(encoder), [far], LABELS, 30)
    assert found.truncated == 1
    assert 10 < len(found.examples[0].ids) <= 30


def test_a_label_that_the_model_lacks_names_the_row(encoder: Path) -> None:
    with pytest.raises(InvalidArgument, match="row 9 has label 'Odd'"):
        KIND.encode(load_tokenizer(encoder), [row("a fox saw a dog", "fox", "dog", "Odd", "9")], LABELS, 40)


def test_a_model_learns_directions_by_heart(encoder: Path) -> None:
    text = "the fox and the dog open a door"
    rows = [
        row(text, "fox", "dog", "Cause(e1,e2)", "1"),
        row(text, "dog", "fox", "Cause(e2,e1)", "2"),
        row(text, "fox", "door", "Other", "3"),
    ]
    torch.manual_seed(0)
    model = KIND.load(encoder, LABELS)
    examples = KIND.encode(load_tokenizer(encoder), rows, LABELS, 64).examples
    alone, together = losses_alone_and_together(KIND, model, examples)
    assert together == pytest.approx(alone, rel=1e-5)
    learn_by_heart(KIND, model, examples)
    score = KIND.score(model, examples, 0, 2)
    assert set(score) == set(KIND.metrics)
    assert score["accuracy"] == score["macro_f1"] == 1.0


def test_semevals_score_by_hand() -> None:
    truth = ["A(e1,e2)", "A(e1,e2)", "A(e2,e1)", "B(e1,e2)", "Other", "Other"]
    guess = ["A(e1,e2)", "A(e2,e1)", "B(e1,e2)", "B(e1,e2)", "A(e1,e2)", "Other"]
    # A: 1 right; 3 true; 3 answered (one in the wrong direction). B: 1 right, 1 true, 2 answered. Other does not count.
    assert directed_macro_f1(truth, guess) == pytest.approx((2 * 1 / (3 + 3) + 2 * 1 / (1 + 2)) / 2)


def test_relations_that_the_truth_lacks_do_not_count_and_none_at_all_is_zero() -> None:
    assert directed_macro_f1(["A(e1,e2)", "Other"], ["A(e1,e2)", "B(e1,e2)"]) == 1.0
    assert directed_macro_f1(["Other", "Other"], ["A(e1,e2)", "Other"]) == 0.0
    assert directed_macro_f1(["no_relation", "founded_by"], ["founded_by", "founded_by"]) == pytest.approx(2 / 3)
    assert mark("a b", (0, 1), (2, 3)) == "[E1] a [/E1] [E2] b [/E2]"
