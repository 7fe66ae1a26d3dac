"""Kinds that write: what is read, what is learnt, what is cut."""

from pathlib import Path
from typing import Any

import pytest
import torch

from shared.errors import InvalidArgument
from shared.modeling.card import ModelCard
from shared.modeling.greedy import Question, answer_greedily, room_for_answers
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.base import IGNORED
from shared.modeling.kinds.exchange import shortened, with_specials
from shared.modeling.kinds.writing import Writing, token_losses
from shared.modeling.loading import LoadedModel, load_tokenizer
from shared.pipelines.options import Options
from tests.support.tiny_encoders import tiny_seq2seq, tiny_writer, word_tokenizer
from tests.support.tiny_models import tiny_decoder

TRANSLATION = {"source": "a good film", "target": "ein guter", "source_lang": "en", "target_lang": "de"}
ROWS: dict[str, dict[str, Any]] = {
    "translation": TRANSLATION,
    "summarisation": {"document": "the quick brown fox jumps over the lazy dog", "summary": "a fox"},
    "instruction": {"instruction": "what is the price?", "input": "coins", "output": "ten", "system": None},
    "generation": {"prompt": "the quick", "text": " brown fox"},
    "chat": {"messages": [{"role": "user", "content": "the price?"}, {"role": "assistant", "content": "ten coins"}]},
}
WRITTEN = {
    "translation": "ein guter",
    "summarisation": "a fox",
    "instruction": "ten",
    "generation": " brown fox",
    "chat": "ten coins",
}


@pytest.fixture(scope="module")
def plain_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny causal model without a chat template."""
    folder = tiny_decoder(tmp_path_factory.mktemp("plain") / "decoder")
    tokenizer: Any = load_tokenizer(folder)
    tokenizer.chat_template = None
    (folder / "chat_template.jinja").unlink()
    tokenizer.save_pretrained(folder)
    assert not load_tokenizer(folder).chat_template
    return folder


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_writer(tmp_path_factory.mktemp("seq2seq") / "bart")


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seq2seq") / "t5"
    tiny_seq2seq("t5").save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def _kind(name: str, **options: Any) -> Writing:
    kind = find_kind(name, Options(**options))
    assert isinstance(kind, Writing)
    return kind


def _row(name: str, **changes: Any) -> dict[str, Any]:
    return {"row_id": "1", **ROWS[name], **changes}


@pytest.mark.parametrize(
    ("name", "template"),
    [(name, template) for name in sorted(ROWS) for template in (True, False) if (name, template) != ("chat", False)],
)
def test_a_causal_model_learns_the_answer_and_its_end_and_nothing_else(
    decoder: Path, plain_decoder: Path, name: str, template: bool
) -> None:
    folder = decoder if template else plain_decoder
    tokenizer, kind = load_tokenizer(folder), _kind(name)
    kind.load(folder, ())
    (example,) = kind.encode(tokenizer, [_row(name)], (), 200).examples
    learnt = [target for target in example.targets if target != IGNORED]
    assert tokenizer.decode(learnt[:-1]) == WRITTEN[name]
    assert learnt[-1] == tokenizer.eos_token_id
    assert kind.asked(tokenizer, _row(name), 200) == example.ids[: -len(learnt)], "judged as learnt"
    assert example.weight == len(learnt)


def test_without_a_template_the_plain_prompt_stands_in(plain_decoder: Path) -> None:
    tokenizer, kind = load_tokenizer(plain_decoder), _kind("translation")
    kind.load(plain_decoder, ())
    assert tokenizer.decode(kind.asked(tokenizer, _row("translation"), 200)) == (
        "Translate from en to de:\na good film"
    )


def test_a_pipelines_own_prompt_comes_first(decoder: Path) -> None:
    tokenizer, kind = load_tokenizer(decoder), _kind("instruction", prompt="Q: {text} A:")
    kind.load(decoder, ())
    row = _row("instruction", system="be short")
    assert tokenizer.decode(kind.asked(tokenizer, row, 200)) == "be short\n\nQ: what is the price?\n\ncoins A:"


@pytest.mark.parametrize("name", ["translation", "summarisation", "instruction"])
@pytest.mark.parametrize("limit", [56, 64])
def test_a_long_text_is_cut_on_the_right_and_the_answer_stays(
    decoder: Path, plain_decoder: Path, name: str, limit: int
) -> None:
    field = {"translation": "source", "summarisation": "document", "instruction": "instruction"}[name]
    for folder in (decoder, plain_decoder):
        tokenizer, kind = load_tokenizer(folder), _kind(name)
        kind.load(folder, ())
        row = _row(name, **{field: "the door " * 100}, **({"input": None} if name == "instruction" else {}))
        encoded = kind.encode(tokenizer, [row], (), limit)
        (example,) = encoded.examples
        assert encoded.truncated == 1
        assert example.length <= limit
        learnt = [target for target in example.targets if target != IGNORED]
        assert learnt[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(learnt[:-1]) == WRITTEN[name]
        assert len(kind.asked(tokenizer, row, limit)) <= limit


def test_a_long_answer_is_cut_but_something_is_learnt(decoder: Path) -> None:
    for name, field in (("summarisation", "summary"), ("generation", "text"), ("instruction", "output")):
        tokenizer, kind = load_tokenizer(decoder), _kind(name)
        kind.load(decoder, ())
        encoded = kind.encode(tokenizer, [_row(name, **{field: "coins " * 200})], (), 48)
        assert encoded.truncated == 1
        assert encoded.examples[0].length <= 48
        assert encoded.examples[0].weight >= 1


def test_letters_of_several_tokens_are_never_cut_in_two(decoder: Path) -> None:
    tokenizer = load_tokenizer(decoder)
    text = "今天天气很好我们去公园散步" * 4
    for limit in range(1, 60):
        part = shortened(tokenizer, text, limit, lambda part: with_specials(tokenizer, part))
        assert text.startswith(part)
        assert part
        assert len(with_specials(tokenizer, part)) <= limit or part == text[:1]


def test_a_missing_language_names_the_row(decoder: Path) -> None:
    kind = _kind("translation")
    kind.load(decoder, ())
    with pytest.raises(InvalidArgument, match="row 1: target_language is empty"):
        kind.encode(load_tokenizer(decoder), [_row("translation", target_lang=None)], (), 64)
    named = _kind("translation", target_language="de")
    named.load(decoder, ())
    assert named.encode(load_tokenizer(decoder), [_row("translation", target_lang=None)], (), 64).examples


@pytest.mark.parametrize("family", ["bart", "t5"])
def test_seq2seq_loss_is_the_models_own(request: pytest.FixtureRequest, family: str) -> None:
    folder: Path = request.getfixturevalue(family)
    tokenizer, kind = load_tokenizer(folder), _kind("translation")
    model: Any = kind.load(folder, ()).train(False)
    rows = [_row("translation"), {**_row("translation"), "row_id": "2", "source": "a bad film " * 3, "target": "x"}]
    examples = kind.encode(tokenizer, rows, (), 48).examples
    expected = 0.0
    for example in examples:
        ids, labels = torch.tensor([example.ids]), torch.tensor([example.targets])
        expected += float(model(input_ids=ids, labels=labels).loss.detach()) * example.weight
    together = token_losses(model, kind.collate(examples, 0)).detach()
    assert float(together.sum()) == pytest.approx(expected, rel=1e-4)
    score = kind.score(model, examples, 0, 8)
    assert score["loss"] == pytest.approx(expected / sum(example.weight for example in examples), rel=1e-4)


def test_a_model_with_several_routes_is_told_the_rows_languages(t5: Path) -> None:
    tokenizer, kind = load_tokenizer(t5), _kind("translation")
    kind.load(t5, ())
    read = str(tokenizer.decode(kind.asked(tokenizer, _row("translation", target_lang="fr"), 48)))
    assert read.replace("##", "").replace(" ", "").startswith("[CLS]translateentofr:agood")
    with pytest.raises(InvalidArgument, match=r"row 1: .*en to de"):
        kind.encode(tokenizer, [_row("translation", target_lang="xx")], (), 48)


def test_both_sides_of_a_seq2seq_row_are_cut_with_their_end_kept(bart: Path) -> None:
    tokenizer, kind = load_tokenizer(bart), _kind("summarisation")
    kind.load(bart, ())
    row = _row("summarisation", document="the film " * 50, summary="a film " * 50)
    encoded = kind.encode(tokenizer, [row], (), 20)
    (example,) = encoded.examples
    assert (len(example.ids), len(example.targets), encoded.truncated) == (20, 20, 1)
    assert example.ids[-1] == example.targets[-1] == tokenizer.sep_token_id


@pytest.mark.parametrize("family", ["decoder", "bart"])
def test_what_was_learnt_is_written(request: pytest.FixtureRequest, family: str) -> None:
    folder: Path = request.getfixturevalue(family)
    tokenizer, kind = load_tokenizer(folder), _kind("summarisation")
    model: Any = kind.load(folder, ()).train(False)  # without dropout
    rows = [
        {"row_id": "1", "document": "the quick brown fox", "summary": "a fox"},
        {"row_id": "2", "document": "the lazy dog again", "summary": "good dog"},
    ]
    examples = kind.encode(tokenizer, rows, (), 48).examples
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        loss = kind.loss(model, kind.collate(examples, int(tokenizer.pad_token_id)))
        torch.autograd.backward(loss / 8)
        optimizer.step()
        optimizer.zero_grad()
    loaded = LoadedModel(model, tokenizer, _card())
    room, new_tokens = room_for_answers(loaded, 48, 8)
    questions = [Question(kind.asked(tokenizer, row, room), kind.first_written(tokenizer, row)) for row in rows]
    together = answer_greedily(loaded, questions, new_tokens)
    assert together == ["a fox", "good dog"]
    assert together == [answer_greedily(loaded, [one], new_tokens)[0] for one in questions]
    cut = answer_greedily(loaded, questions, new_tokens, seconds=1e-9)
    assert all(whole.startswith(one) and one != whole for one, whole in zip(cut, together, strict=True))


def _card() -> ModelCard:
    return ModelCard("summarisation", "full", (), "", "", 48, "", "", "", "", "float32")
