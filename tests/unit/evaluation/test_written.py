"""Judging what writes, on tiny models: sums over rows are the model's own scores."""

import math
from pathlib import Path
from typing import Any

import pytest

from services.evaluation.kinds import find_kind
from services.evaluation.kinds.base import Outputs
from shared.modeling.card import ModelCard
from shared.modeling.kinds import find_kind as find_trained_kind
from shared.modeling.kinds.base import length_limit
from shared.modeling.kinds.pretraining import Pretraining
from shared.modeling.loading import LoadedModel, load_tokenizer
from shared.modeling.scratch.making import make_base
from shared.pipelines.kinds import METRICS
from shared.pipelines.options import Options
from tests.support.tiny_encoders import tiny_writer
from tests.support.tiny_models import CORPUS, tiny_decoder

ROWS: dict[str, list[dict[str, Any]]] = {
    "translation": [{"source": text, "target": text[:20], "source_lang": "en", "target_lang": "de"} for text in CORPUS],
    "summarisation": [{"document": text, "summary": text[:12]} for text in CORPUS],
    "instruction": [{"instruction": text, "input": None, "output": text[:9], "system": None} for text in CORPUS],
    "generation": [{"prompt": None if index % 2 else "the", "text": text} for index, text in enumerate(CORPUS)],
}
OPTIONS = {"answer_tokens": 4, "answered_rows": 3}


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_decoder(tmp_path_factory.mktemp("bases") / "decoder")


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_writer(tmp_path_factory.mktemp("bases") / "bart")


def loaded(folder: Path, kind: str, options: Options, length: int = 64) -> LoadedModel:
    model: Any = find_trained_kind(kind, options).load(folder, ()).train(False)
    card = ModelCard(kind, "", (), "", "", length, "", "", "", "", "", options.prompt or "", options.chosen(kind))
    return LoadedModel(model, load_tokenizer(folder), card)


def judged(model: LoadedModel, rows: list[dict[str, Any]], options: Options) -> tuple[Outputs, dict[str, float], int]:
    """Outputs, values of all measures, and the work that was told."""
    kind = find_kind(model.card.kind, options)
    told: list[int] = []
    outputs = kind.predict(model, rows, told.append)
    assert sum(told) == kind.work(rows)
    measures = kind.measures(rows, outputs)
    assert measures.keys() == METRICS[kind.name].keys()
    return outputs, {name: measure.value for name, measure in measures.items()}, sum(told)


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        ("translation", "bart"),
        ("translation", "decoder"),
        ("summarisation", "bart"),
        ("instruction", "decoder"),
        ("generation", "decoder"),
    ],
)
def test_losses_of_rows_add_up_to_the_models_loss(request: pytest.FixtureRequest, kind: str, family: str) -> None:
    options = Options.model_validate(OPTIONS)
    model = loaded(request.getfixturevalue(family), kind, options)
    rows = [{"row_id": str(index), **row} for index, row in enumerate(ROWS[kind])]
    outputs, values, work = judged(model, rows, options)
    trained = find_trained_kind(kind, options)
    trained.load(request.getfixturevalue(family), ())
    limit = length_limit(model.model, model.tokenizer, 64)
    examples = trained.encode(model.tokenizer, rows, (), limit).examples
    score = trained.score(model.model, examples, int(model.tokenizer.pad_token_id), 2)
    assert values["loss"] == pytest.approx(score["loss"], rel=1e-4)
    assert values["perplexity"] == pytest.approx(score["perplexity"], rel=1e-3)
    assert len(outputs["answers"]) == 3
    assert work == len(rows) + 3


def test_a_report_shows_what_was_asked_and_written(decoder: Path) -> None:
    options = Options.model_validate({**OPTIONS, "target_language": "zh", "source_language": "en"})
    model = loaded(decoder, "translation", options)
    rows = [{"row_id": str(index), **row, "target_lang": None} for index, row in enumerate(ROWS["translation"])]
    outputs, _, _ = judged(model, rows, options)
    detail = find_kind("translation", options).detail(rows, {"candidate": outputs, "base": outputs})
    assert "tok:zh" in detail["signatures"]["bleu"]
    assert len(detail["samples"]) == 3
    assert detail["samples"][0]["source"] == CORPUS[0]
    assert detail["samples"][0]["base"] == detail["samples"][0]["candidate"] == outputs["answers"][0]


@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_pretraining_is_judged_in_bits_per_byte(tmp_path: Path, objective: str) -> None:
    sizes = {"hidden_size": 16, "layers": 1, "heads": 2, "positions": 32, "vocabulary": 300}
    options = Options.model_validate({"objective": objective, **sizes})
    model = loaded(make_base(tmp_path, CORPUS * 2, options, 0, "data").base.path, "pretraining", options, 32)
    rows = [{"row_id": str(index), "text": f"{text} {text} 今天"} for index, text in enumerate(CORPUS)]
    outputs, values, _ = judged(model, rows, options)
    kind = Pretraining(options)
    pieces = list(kind.pieces(model.tokenizer, rows, 32))
    assert len(pieces) > len(rows), "long texts are several windows"
    score = kind.score(model.model, pieces, int(model.tokenizer.pad_token_id), 3)
    assert values["loss"] == pytest.approx(score["loss"], rel=1e-4)
    assert values["accuracy"] == pytest.approx(score["accuracy"])
    assert sum(outputs["tokens"]) == sum(piece.weight for piece in pieces)
    size = sum(len(row["text"].encode()) for row in rows)
    if objective == "causal":
        assert values["bits_per_byte"] == pytest.approx(sum(outputs["loss"]) / math.log(2) / size)
    else:
        assert 0.1 < sum(outputs["bytes"]) / size < 0.3
    assert find_kind("pretraining", options).detail(rows, {"candidate": outputs})["bytes"] == size


def test_an_untrained_model_guesses_like_dice(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "layers": 1, "heads": 2, "positions": 32, "vocabulary": 300}
    options = Options.model_validate({"objective": "causal", **sizes})
    model = loaded(make_base(tmp_path, CORPUS, options, 0, "data").base.path, "pretraining", options, 32)
    _, values, _ = judged(model, [{"row_id": "1", "text": "the quick brown fox"}], options)
    assert values["loss"] == pytest.approx(math.log(len(model.tokenizer)), rel=0.05)
