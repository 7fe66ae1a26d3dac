"""Kinds that write are asked in service as they were in training: the same tokens, the same answers."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.inference.engine.compute import ComputeThread
from services.inference.kinds import answers, kind_of_base, methods_of, serve
from services.inference.kinds.base import Resources
from services.inference.kinds.capabilities import Embeds, Rewriting
from services.inference.kinds.generation import Generator
from shared.errors import InvalidArgument
from shared.modeling.card import ModelCard
from shared.modeling.greedy import Question, answer_greedily
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.base import length_limit
from shared.modeling.kinds.writing import Writing
from shared.modeling.loading import LoadedModel, load_tokenizer
from shared.modeling.scratch.making import make_base
from shared.pipelines.options import Options
from tests.support.tiny_encoders import tiny_writer
from tests.support.tiny_models import CORPUS, tiny_decoder

LENGTH = 64
DEADLINE = 60.0
ROWS: dict[str, dict[str, Any]] = {
    "instruction": {"instruction": "what is the price?", "input": None, "output": "x", "system": None},
    "generation": {"prompt": "the quick brown fox", "text": " x"},
    "translation": {"source": "a good film", "target": "x", "source_lang": None, "target_lang": None},
    "summarisation": {"document": "the quick brown fox jumps over the lazy dog", "summary": "x"},
}


@pytest.fixture(scope="module")
def resources() -> Iterator[Resources]:
    compute = ComputeThread(1)
    yield Resources(compute, waiting_requests=20, waiting_tokens=10_000, cache_bytes=1 << 22)
    compute.close()


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_decoder(tmp_path_factory.mktemp("bases") / "decoder")


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_writer(tmp_path_factory.mktemp("bases") / "bart")


def loaded(folder: Path, kind: str, **options: Any) -> LoadedModel:
    chosen = Options(**options)
    model: Any = find_kind(kind, chosen).load(folder, ()).train(False)
    card = ModelCard(
        kind, "full", (), "", "", LENGTH, "", "", "", "", "float32", chosen.prompt or "", chosen.chosen(kind)
    )
    return LoadedModel(model, load_tokenizer(folder), card)


def asked(model: LoadedModel, row: dict[str, Any], limit: int = LENGTH) -> list[int]:
    return kind_of(model).asked(model.tokenizer, {"row_id": "1", **row}, limit)


def kind_of(model: LoadedModel) -> Writing:
    kind = find_kind(model.card.kind, Options(**model.card.options))
    assert isinstance(kind, Writing)
    return kind.of(model.model)


@pytest.mark.parametrize("options", [{}, {"prompt": "Q: {text} A:"}])
def test_an_instruction_is_put_as_it_was_learnt(decoder: Path, resources: Resources, options: dict[str, str]) -> None:
    model = loaded(decoder, "instruction", **options)
    served: Any = serve("instruction", model, resources)
    text = ROWS["instruction"]["instruction"]
    expected = tuple(asked(model, ROWS["instruction"]))
    assert served.kind == "instruction"
    assert served.prompt(text=text) == expected
    assert served.prompt(messages=[{"role": "user", "content": text}]) == expected
    assert served.prompt(token_ids=[1, 2]) == (1, 2)
    told = asked(model, {**ROWS["instruction"], "system": "be short"})
    turns = [{"role": "system", "content": "be short"}, {"role": "user", "content": text}]
    assert served.prompt(messages=turns) == tuple(told)
    with pytest.raises(InvalidArgument, match="text is empty"):
        served.prompt(text=" ")
    served.close()


def test_several_turns_have_no_place_in_a_plain_prompt(decoder: Path, resources: Resources) -> None:
    served: Any = serve("instruction", loaded(decoder, "instruction", prompt="{text}"), resources)
    turns = [{"role": role, "content": "x"} for role in ("user", "assistant", "user")]
    with pytest.raises(InvalidArgument, match="one user message"):
        served.prompt(messages=turns)
    served.close()


def test_a_text_is_gone_on_with_as_it_stands(decoder: Path, resources: Resources) -> None:
    model = loaded(decoder, "generation")
    served: Any = serve("generation", model, resources)
    assert served.prompt(text=ROWS["generation"]["prompt"]) == tuple(asked(model, ROWS["generation"]))
    served.close()


@pytest.mark.parametrize("kind", ["translation", "summarisation"])
@pytest.mark.parametrize("words", [1, 60])
def test_a_causal_model_is_asked_to_rewrite_as_it_was_learnt(
    decoder: Path, resources: Resources, kind: str, words: int
) -> None:
    model = loaded(decoder, kind, **({"source_language": "en", "target_language": "de"} if kind[0] == "t" else {}))
    column = "source" if kind == "translation" else "document"
    text = " ".join([ROWS[kind][column]] * words)
    question = asked(model, {**ROWS[kind], column: text}, LENGTH - 4)
    expected = answer_greedily(model, [Question(question)], 4)[0]  # before service takes the weights over
    served: Any = serve(kind, model, resources)
    bounds = Rewriting(max_tokens=4, num_beams=1)
    (found,) = served.submit_texts([text], ("", ""), bounds, time.monotonic() + DEADLINE).wait()
    assert found.prompt_tokens == len(question) <= LENGTH - 4
    assert found.text == expected
    served.close()


@pytest.mark.parametrize("words", [1, 60])
def test_an_encoder_reads_what_it_learnt_to_read(bart: Path, resources: Resources, words: int) -> None:
    model = loaded(bart, "summarisation")
    text = " ".join([ROWS["summarisation"]["document"]] * words)
    limit = length_limit(model.model, model.tokenizer, LENGTH)
    question = asked(model, {**ROWS["summarisation"], "document": text}, limit)
    expected = answer_greedily(model, [Question(question)], 6)[0]
    served: Any = serve("summarisation", model, resources)
    bounds = Rewriting(max_tokens=6, num_beams=1)
    (found,) = served.submit_texts([text], ("", ""), bounds, time.monotonic() + DEADLINE).wait()
    assert found.prompt_tokens == len(question)
    assert found.text == expected
    served.close()


def test_a_model_from_nothing_writes_or_gives_vectors(tmp_path: Path, resources: Resources) -> None:
    sizes = {"hidden_size": 16, "layers": 1, "heads": 2, "positions": 32, "vocabulary": 300}
    for objective, wanted in (("causal", Generator), ("masked", Embeds)):
        options = Options.model_validate({"objective": objective, **sizes})
        folder = make_base(tmp_path, CORPUS, options, 0, "data").base.path
        model = loaded(folder, "pretraining", **options.chosen("pretraining"))
        served: Any = serve("pretraining", model, resources)
        assert wanted in type(served).__mro__
        served.probe()
        if objective == "masked":
            (vector,) = served.submit_embedding([CORPUS[0]], time.monotonic() + DEADLINE).wait()
            ids = torch.tensor([model.tokenizer(CORPUS[0], truncation=True, max_length=32)["input_ids"]])
            body: Any = model.model.base_model
            with torch.inference_mode():
                expected = body(input_ids=ids).last_hidden_state[0].mean(0).numpy()
            assert np.allclose(vector, expected, atol=1e-5)
        served.close()


def test_the_door_knows_what_pretrained_models_answer() -> None:
    assert {"Generate", "Embed", "Score"} < set(methods_of("pretraining"))
    assert kind_of_base("pretraining") == "pretraining"
    assert [kind for kind in ("chat", "instruction", "generation") if not answers(kind, Generator)] == []
