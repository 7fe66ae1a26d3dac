"""Questions about contexts of any length: windows, targets, loss."""

from pathlib import Path
from typing import Any

import pytest
import torch

from services.inference.engine.tokenising import TextEncoder
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.answer_spans import Window, best_answer, context_spans
from shared.modeling.kinds.question_answering import QuestionAnswering, span_logits, stride_of
from shared.modeling.loading import load_tokenizer
from shared.pipelines.options import Options
from tests.support.learning import learn_by_heart, losses_alone_and_together

KIND = QuestionAnswering()


def row(question: str, context: str, *answers: str, row_id: str = "1") -> dict[str, Any]:
    found = [{"text": answer, "start": context.index(answer)} for answer in answers]
    return {"row_id": row_id, "question": question, "context": context, "answers": found}


LONG = "the lazy dog " * 20 + "a red fox " + "and the key " * 20


def test_targets_are_the_tokens_of_the_answer(encoder: Path) -> None:
    tokenizer = load_tokenizer(encoder)
    (example,) = KIND.encode(tokenizer, [row("what?", "it is ten coins", "ten coins")], (), 64).examples
    start, end = example.targets
    assert tokenizer.decode(example.ids[start : end + 1]) == "ten coins"
    assert example.weight == 1


def test_only_windows_with_the_answer_are_taught_it_and_those_with_a_part_teach_nothing(encoder: Path) -> None:
    tokenizer = load_tokenizer(encoder)
    asked = row("who?", LONG, "a red fox")
    windows = next(KIND.read(tokenizer, [asked], 24))[0]
    examples = KIND.encode(tokenizer, [asked], (), 24).examples
    whole = [example for example in examples if example.targets != [0, 0]]
    assert whole
    for example in whole:
        start, end = example.targets
        assert str(tokenizer.decode(example.ids[start : end + 1])).replace(" ##", "") == "a red fox"
    for example in examples:
        assert ("red" in str(tokenizer.decode(example.ids)).replace(" ##", "")) == (example in whole)
    assert len(windows) > len(examples) >= len(windows) - 3


def test_without_an_answer_every_window_is_taught_the_first_token(encoder: Path) -> None:
    found = KIND.encode(load_tokenizer(encoder), [row("who?", LONG)], (), 24)
    assert len(found.examples) > 5
    assert all(example.targets == [0, 0] for example in found.examples)
    assert found.truncated == 0


def test_of_several_right_answers_the_first_that_the_window_holds_is_taught(encoder: Path) -> None:
    tokenizer = load_tokenizer(encoder)
    examples = KIND.encode(tokenizer, [row("who?", LONG, "a red fox", "key")], (), 24).examples
    taught = {tokenizer.decode(example.ids[slice(example.targets[0], example.targets[1] + 1)]) for example in examples}
    assert "key" in taught
    assert len(taught) == 3, "the fox, the key, and no answer before them"


def test_an_answer_that_no_window_holds_counts_as_cut(encoder: Path) -> None:
    found = KIND.encode(load_tokenizer(encoder), [row("who?", LONG, LONG.strip())], (), 24)
    assert found.truncated == 1
    assert not found.examples


def test_a_question_that_leaves_no_room_is_cut_and_counted(encoder: Path) -> None:
    found = KIND.encode(load_tokenizer(encoder), [row("is it so? " * 50, LONG, "a red fox")], (), 24)
    assert found.truncated == 1
    assert found.examples
    assert all(len(example.ids) <= 24 for example in found.examples)


def test_training_reads_what_service_reads(encoder: Path) -> None:
    tokenizer = load_tokenizer(encoder)
    stride = stride_of(Options(stride=8), 40)
    served = TextEncoder(tokenizer, 40).windows("who is it?", LONG, stride)
    kind = find_kind("question_answering", Options(stride=8))
    examples = kind.encode(tokenizer, [row("who is it?", LONG)], (), 40).examples
    assert [example.ids for example in examples] == [list(window.ids) for window in served]
    if "token_type_ids" in tokenizer.model_input_names:
        assert [example.segments for example in examples] == [list(window.type_ids) for window in served]
    assert stride_of(Options(), 40) == 10, "at most a quarter of a window"


def test_a_model_learns_answers_by_heart_and_says_them(encoder: Path) -> None:
    tokenizer = load_tokenizer(encoder)
    rows = [
        row("what is the price?", "it is ten coins for one", "ten coins", row_id="1"),
        row("who jumps?", "the brown fox jumps", "the brown fox", row_id="2"),
        row("who jumps?", "open the door", row_id="3"),
    ]
    torch.manual_seed(0)
    model = KIND.load(encoder, ())
    examples = KIND.encode(tokenizer, rows, (), 64).examples
    learn_by_heart(KIND, model, examples, steps=60)
    score = KIND.score(model, examples, 0, 2)
    assert set(score) == set(KIND.metrics)
    assert score["accuracy"] == 1.0
    said = []
    for asked, (windows, _) in zip(rows, KIND.read(tokenizer, rows, 64), strict=True):
        with torch.inference_mode():
            logits = span_logits(model, KIND.collate(KIND.encode(tokenizer, [asked], (), 64).examples, 0))
        seen = [Window(one.numpy(), context_spans(window)) for one, window in zip(logits, windows, strict=True)]
        said.append(best_answer(asked["context"], seen))
    assert [one.text for one in said] == ["ten coins", "the brown fox", ""]
    assert [one.start for one in said] == [6, 0, 0]


def test_padding_changes_nothing_with_smoothing_or_without(encoder: Path) -> None:
    tokenizer = load_tokenizer(encoder)
    torch.manual_seed(1)
    model = KIND.load(encoder, ())
    examples = KIND.encode(
        tokenizer, [row("who?", "a fox", "fox"), row("what?", LONG[:90], row_id="2")], (), 64
    ).examples
    alone, together = losses_alone_and_together(KIND, model, examples)
    assert together == pytest.approx(alone, rel=1e-5)
    smooth = [
        float(KIND.loss(model, KIND.collate(part, 0), 0.1).detach()) for part in (examples, examples[:1], examples[1:])
    ]
    assert smooth[0] == pytest.approx(sum(smooth[1:]), rel=1e-5)
    assert smooth[0] != pytest.approx(together)
