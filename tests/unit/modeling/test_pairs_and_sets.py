"""Label sets, pairs, choices among texts and vectors: encoding, loss, metrics, and that they can be learnt."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import f1_score
from torch.nn import functional

from services.inference.engine.tokenising import TextEncoder
from shared.errors import InvalidArgument
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.base import IGNORED, Example, Kind
from shared.modeling.kinds.choosing import Pool, choice_loss, places_of, rights_of
from shared.modeling.kinds.embedding import mark_of
from shared.modeling.kinds.encoding import encode_inputs
from shared.modeling.loading import load_tokenizer
from shared.pipelines.options import Options

LABELS = ("cheap", "good", "slow")
MULTI = Options(multi_label=True)
WORDS = ("fox", "dog", "door", "key", "price", "film", "coins", "service")
LONG = "the quick brown fox jumps over the lazy dog " * 8


def label_set(row_id: int, text: str, labels: Sequence[str], pair: str | None = None) -> dict[str, Any]:
    return {"row_id": str(row_id), "text": text, "label": None, "text_pair": pair, "labels": list(labels)}


def found(row_id: int, query: str, positives: Sequence[str], negatives: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "row_id": str(row_id),
        "query": query,
        "positives": list(positives),
        "negatives": list(negatives),
    }


def asked(row_id: int, question: str, candidates: Sequence[str], answer: int) -> dict[str, Any]:
    return {"row_id": str(row_id), "question": question, "candidates": list(candidates), "answer": answer}


ROWS: dict[str, list[dict[str, Any]]] = {
    "classification": [
        label_set(0, "good film", ["good"]),
        label_set(1, "a good film that is cheap", ["cheap", "good"], "slow service"),
        label_set(2, "door", []),
        label_set(3, "slow but good and cheap", LABELS, "key"),
    ],
    "answer_selection": [
        asked(0, "what is the price?", ["push the door", "ten coins", "the lazy dog jumps"], 1),
        asked(1, "open?", ["turn the key", "film"], 0),
    ],
    "ranking": [
        found(0, "price", ["ten coins", "fifteen coins"], ["push the door", "film"]),
        found(1, "how do I open the door", ["turn the key"], ["ten coins for one"]),
        found(2, "dog", ["the lazy dog"]),
    ],
}
ROWS["embedding"] = ROWS["ranking"]


def kind_of(name: str) -> Kind:
    return find_kind(name, MULTI if name == "classification" else None)


def prepared(name: str, base: Path) -> tuple[Kind, Any, list[Example]]:
    kind = kind_of(name)
    labels = LABELS if name == "classification" else ()
    torch.manual_seed(0)
    model: Any = kind.load(base, labels).train(False)
    return kind, model, kind.encode(load_tokenizer(base), ROWS[name], labels, 64).examples


def test_inputs_are_encoded_as_they_are_when_a_model_is_asked(encoder: Path) -> None:
    tokenizer = load_tokenizer(encoder)
    texts = ["good film", LONG, "?", "电影很好"]
    pairs = [("good", "film"), (LONG, "short"), ("short", LONG), (LONG, LONG)]
    served = TextEncoder(tokenizer, 32)
    pieces, truncated = encode_inputs(tokenizer, [*texts, *pairs], 32)
    assert truncated == 4
    wanted = [*served.texts(texts), *served.pairs(pairs)]
    assert [one.ids for one in pieces] == [list(one.ids) for one in wanted]
    assert [one.segments or [0] * len(one.ids) for one in pieces] == [list(one.types) for one in wanted]
    assert set(pieces[-1].segments or ()) == {0, 1}


@pytest.mark.parametrize("name", ["answer_selection", "ranking"])
def test_texts_beside_a_query_are_encoded_as_they_are_when_a_model_is_asked(encoder: Path, name: str) -> None:
    kind, _, examples = prepared(name, encoder)
    served = TextEncoder(load_tokenizer(encoder), 64)
    choices = list(kind.choices(ROWS[name]))  # type: ignore[attr-defined]
    for choice, example in zip(choices, examples, strict=True):
        wanted = served.pairs([(choice.query, text) for text in (choice.right, *choice.wrong)])
        assert [example.ids, *example.others] == [list(one.ids) for one in wanted]
        assert [example.segments, *example.other_segments] == [list(one.types) for one in wanted]


def test_queries_and_texts_are_encoded_as_they_are_when_a_model_is_asked(encoder: Path) -> None:
    _, _, examples = prepared("embedding", encoder)
    (query, positive, *_) = TextEncoder(load_tokenizer(encoder), 64).texts(["price", "ten coins"])
    assert examples[0].ids == list(query.ids)
    assert examples[0].others[0] == list(positive.ids)


@pytest.mark.parametrize("name", ROWS)
def test_a_padded_batch_loses_what_its_rows_lose_alone(encoder: Path, name: str) -> None:
    kind, model, examples = prepared(name, encoder)
    if name == "embedding":  # alone there is nothing else in the batch: every row brings the same texts
        texts = tuple({mark_of(text): text for example in examples for text in example.others}.values())
        examples = [Example(one.row_ids, one.ids, one.targets, 1, others=(one.others[0], *texts)) for one in examples]
    together = float(kind.loss(model, kind.collate(examples, 0)).detach())
    alone = sum(float(kind.loss(model, kind.collate([example], 0)).detach()) for example in examples)
    assert together == pytest.approx(alone, rel=1e-4)
    assert kind.score(model, examples, 0, 2)["loss"] == pytest.approx(alone / len(examples), rel=1e-4)


@pytest.mark.parametrize("name", ROWS)
def test_a_few_rows_can_be_learnt_by_heart(encoder: Path, name: str) -> None:
    kind, model, examples = prepared(name, encoder)
    batch = kind.collate(examples, 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    first = float(kind.loss(model, batch).detach())
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(kind.loss(model, batch))
        optimizer.step()
    metrics = kind.score(model, examples, 0, 2)
    assert metrics["loss"] * len(examples) < 0.1 * first
    assert {value for metric, value in metrics.items() if metric != "loss"} == {1.0}
    assert set(kind.metrics) == set(metrics)


def test_a_label_set_loses_the_sum_of_its_labels_and_scores_as_scikit_learn_says(encoder: Path) -> None:
    kind, model, examples = prepared("classification", encoder)
    assert [example.targets for example in examples] == [[1], [0, 1], [], [0, 1, 2]]
    wanted = torch.tensor([[0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1]])
    tokenizer = load_tokenizer(encoder)
    inputs = [(row["text"], row["text_pair"]) if row["text_pair"] else (row["text"],) for row in ROWS["classification"]]
    with torch.inference_mode():
        logits = torch.cat([model(**tokenizer(*one, return_tensors="pt")).logits for one in inputs])
    by_hand = functional.binary_cross_entropy(logits.sigmoid(), wanted.float(), reduction="none").sum()
    metrics = kind.score(model, examples, 0, 3)
    assert metrics["loss"] * 4 == pytest.approx(float(by_hand), rel=1e-5)
    guess = (logits.sigmoid() >= 0.5).long()
    assert metrics["macro_f1"] == pytest.approx(f1_score(wanted, guess, average="macro", zero_division=0.0))
    assert metrics["accuracy"] == pytest.approx(float((guess == wanted).all(1).float().mean()))
    batch = kind.collate(examples, 0)
    smooth = functional.binary_cross_entropy(logits.sigmoid(), wanted * 0.8 + 0.1, reduction="sum")
    assert float(kind.loss(model, batch, 0.2).detach()) == pytest.approx(float(smooth), rel=1e-5)


def test_only_empty_label_sets_are_a_batch_like_any_other(encoder: Path) -> None:
    kind, model, examples = prepared("classification", encoder)
    batch = kind.collate([examples[2]], 0)
    assert batch["targets"].shape == (1, 0)
    assert math.isfinite(float(kind.loss(model, batch).detach()))
    assert kind.score(model, [examples[2]], 0, 1)["loss"] > 0


def test_the_threshold_decides_which_labels_are_given(encoder: Path) -> None:
    _, model, examples = prepared("classification", encoder)
    strict, loose = (find_kind("classification", Options(multi_label=True, threshold=one)) for one in (0.999, 0.001))
    assert strict.score(model, [examples[2]], 0, 1)["accuracy"] == 1.0
    assert loose.score(model, [examples[3]], 0, 1)["accuracy"] == 1.0


def test_rows_of_older_dataset_versions_have_one_label() -> None:
    rows = [{"row_id": "1", "text": "a", "label": "x"}, {"row_id": "2", "text": "b", "label": "y", "labels": None}]
    assert find_kind("classification").learn_labels(rows) == ("x", "y")
    assert find_kind("classification", MULTI).learn_labels([*rows, label_set(3, "c", ["z", "x"])]) == ("x", "y", "z")


@pytest.mark.parametrize(
    ("options", "row", "message"),
    [
        (None, label_set(7, "a", ["cheap", "good"]), "row 7 has the labels .*multi_label"),
        (None, label_set(7, "a", []), "row 7 has the labels"),
        (MULTI, label_set(7, "a", ["good", "strange"]), "row 7 has label 'strange'"),
    ],
)
def test_labels_that_can_not_be_learnt_name_the_row(
    encoder: Path, options: Options | None, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        find_kind("classification", options).encode(load_tokenizer(encoder), [row], LABELS, 64)


def test_a_choice_costs_the_softmax_over_its_candidates() -> None:
    inf = math.inf
    scores = torch.tensor([[1.0, 2.0, -inf], [0.5, 0.1, 3.0]], requires_grad=True)
    targets = torch.tensor([0, 2])
    by_hand = functional.cross_entropy(scores[:1, :2], targets[:1], reduction="sum", label_smoothing=0.1)
    by_hand = by_hand + functional.cross_entropy(scores[1:], targets[1:], reduction="sum", label_smoothing=0.1)
    loss = choice_loss(scores, targets, 0.1)
    assert float(loss.detach()) == pytest.approx(float(by_hand.detach()))
    torch.autograd.backward(loss)
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert scores.grad[0, 2] == 0


def test_a_tie_or_nan_is_decided_against_the_right_text() -> None:
    nan, inf = math.nan, math.inf
    scores = torch.tensor([[2.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, -inf], [nan, 0.0, 0.0], [1.0, nan, 0.0]])
    assert places_of(scores, torch.zeros(5, dtype=torch.long)).tolist() == [1, 3, 2, 3, 2]


def test_a_pool_draws_the_same_texts_for_the_same_row_and_never_a_right_one() -> None:
    pool = Pool([*WORDS, *WORDS])
    drawn = {str(row): pool.draw(str(row), 3, {"fox", "dog"}) for row in range(50)}
    assert drawn == {row: Pool(reversed(WORDS)).draw(row, 3, {"dog", "fox"}) for row in drawn}
    assert all(len(set(texts)) == 3 and not {"fox", "dog"} & set(texts) for texts in drawn.values())
    assert {text for texts in drawn.values() for text in texts} == set(WORDS) - {"fox", "dog"}
    assert pool.draw("1", 100, {"fox"}) != []
    assert len(pool.draw("1", 100, {"fox"})) == len(WORDS) - 1
    assert Pool([]).draw("1", 3, ()) == []


def test_what_is_right_for_a_query_in_any_row_is_wrong_in_none() -> None:
    rows = [found(0, "Price ", ["ten coins"], ["one", "fifteen coins"]), found(1, "price", ["fifteen coins"], ["two"])]
    assert rights_of(rows) == {"price": {"ten coins", "fifteen coins"}}
    choices = list(find_kind("ranking").choices(rows))  # type: ignore[attr-defined]
    assert [(one.right, list(one.wrong)) for one in choices] == [("ten coins", ["one"]), ("fifteen coins", ["two"])]


def test_a_row_without_negatives_is_told_apart_from_other_rows_texts() -> None:
    rows = [found(number, f"query {number}", [word]) for number, word in enumerate(WORDS)]
    kind = find_kind("ranking", Options(negatives=3))
    for choice, word in zip(kind.choices(rows), WORDS, strict=True):  # type: ignore[attr-defined]
        assert choice.right == word
        assert len(set(choice.wrong)) == 3
        assert set(choice.wrong) <= set(WORDS) - {word}


@pytest.mark.parametrize("name", ["ranking", "embedding"])
def test_rows_that_nothing_can_be_told_apart_from_give_no_example(encoder: Path, name: str) -> None:
    rows = [found(number, f"query {number}", ["the same answer"]) for number in range(3)]
    assert find_kind(name).encode(load_tokenizer(encoder), rows, (), 64).examples == []


def test_only_so_many_negatives_and_candidates_are_used(encoder: Path) -> None:
    rows = [found(0, "price", ["ten coins"], WORDS)]
    tokenizer = load_tokenizer(encoder)
    for name, most in (("ranking", 2), ("embedding", 2), ("ranking", 64)):
        (example,) = find_kind(name, Options(negatives=most)).encode(tokenizer, rows, (), 64).examples
        wrong = len(example.others) - (name == "embedding")
        assert wrong == min(most, len(WORDS))
    many = [asked(0, "price", [f"candidate {number}" for number in range(100)], 57)]
    (example,) = find_kind("answer_selection").encode(tokenizer, many, (), 64).examples
    assert len(example.others) == 15
    assert example.ids == tokenizer("price", "candidate 57")["input_ids"]


def test_in_batch_negatives_leave_out_what_is_right_in_any_row(encoder: Path) -> None:
    rows = [
        found(0, "price", ["ten coins", "fifteen coins"], ["film"]),
        found(1, "cost", ["ten coins"]),
        found(2, "door", ["turn the key"]),
    ]
    kind, tokenizer = find_kind("embedding"), load_tokenizer(encoder)
    examples = kind.encode(tokenizer, rows, (), 64).examples
    assert [example.row_ids for example in examples] == [("0",), ("0",), ("1",), ("2",)]
    batch = kind.collate(examples, 0)
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in batch["text_ids"]]
    assert sorted(texts) == ["fifteen coins", "film", "ten coins", "turn the key"]
    assert [texts[place] for place in batch["targets"]] == ["ten coins", "fifteen coins", "ten coins", "turn the key"]
    hidden = [{texts[place] for place in line.nonzero().flatten()} for line in batch["hidden"]]
    assert hidden == [{"fifteen coins"}, {"ten coins"}, set(), set()]


def test_contrastive_loss_is_cross_entropy_over_cosines(encoder: Path) -> None:
    kind, tokenizer = find_kind("embedding", Options(temperature=0.5)), load_tokenizer(encoder)
    model: Any = kind.load(encoder, ()).train(False)
    rows = [found(0, "price", ["ten coins"], ["film"]), found(1, "open the door", ["turn the key"])]

    @torch.inference_mode()
    def vector(text: str) -> torch.Tensor:
        hidden: torch.Tensor = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        return hidden.mean(0)

    texts = ["ten coins", "film", "turn the key"]
    cosines = torch.stack(
        [
            torch.stack([functional.cosine_similarity(vector(row["query"]), vector(text), 0) for text in texts])
            for row in rows
        ]
    )
    wanted = functional.cross_entropy(cosines / 0.5, torch.tensor([0, 2]), reduction="sum")
    batch = kind.collate(kind.encode(tokenizer, rows, (), 64).examples, 0)
    assert float(kind.loss(model, batch).detach()) == pytest.approx(float(wanted), rel=1e-5)


def test_collated_targets_mark_the_places_without_a_label() -> None:
    examples = [Example(("1",), [5], [2], 1), Example(("2",), [5], [], 1)]
    assert kind_of("classification").collate(examples, 0)["targets"].tolist() == [[2], [IGNORED]]
