"""Translations and summaries through the door, against transformers' `generate`."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch
from transformers import GenerationConfig

from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.modeling.quiet import quiet_libraries
from shared.storage.database import Database
from shared.storage.tables import Base
from tests.integration.inference.platform import Platform
from tests.support.tiny_encoders import tiny_seq2seq, word_tokenizer, write_version
from tests.support.tiny_models import tiny_model
from tests.support.wait import eventually

TEXTS = ("the quick brown fox jumps over the lazy dog", "a good film, a bad film", "turn the key and push the door")
TOKENIZER = word_tokenizer()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """`shorten` and `plain` are BARTs, `speak` a T5 with two routes, `ask` a causal model with a prompt."""
    folder: Path = tmp_path_factory.mktemp("rewriting")
    database = Database(f"sqlite:///{folder / 'flywheel.db'}")
    Base.metadata.create_all(database.engine)
    quiet_libraries()
    platform = Platform(folder, database)
    versions = {
        "shorten": write_version(folder / "shorten", "summarisation", tiny_seq2seq("bart")),
        "plain": write_version(folder / "plain", "translation", tiny_seq2seq("bart", seed=1)),
        "speak": write_version(folder / "speak", "translation", tiny_seq2seq("t5")),
        "ask": causal(folder / "ask"),
    }
    for name, version in versions.items():
        platform.declare(name, "translation" if name in ("plain", "speak") else "summarisation")
        platform.point(name, platform.add_folder(name, version))
    platform.start()
    eventually(lambda: sum(bool(one.aliases) for one in platform.deployments().values()) == len(versions), 60)
    yield platform
    platform.close()
    database.close()


def causal(folder: Path) -> Path:
    """A chat model whose card says that it summarises."""
    made = tiny_model(folder, "chat")
    card = (made / "flywheel.json").read_text()
    (made / "flywheel.json").write_text(
        card.replace('"kind": "chat"', '"kind": "summarisation"').replace('"prompt": ""', '"prompt": "Short: {text}"')
    )
    return made


def ref(name: str) -> common_pb2.ModelRef:
    return common_pb2.ModelRef(name=name)


@torch.inference_mode()
def generated(model: Any, text: str, beams: int, tokens: int) -> tuple[str, float]:
    """The text that `generate` gives, and the mean log-probability of its tokens."""
    inputs = TOKENIZER(text, return_tensors="pt")
    inputs.pop("token_type_ids")
    settings = {**model.generation_config.to_dict(), "num_beams": beams, "max_new_tokens": tokens, "max_length": None}
    sequence = model.generate(**inputs, generation_config=GenerationConfig.from_dict(settings))
    logits = model(**inputs, decoder_input_ids=sequence[:, :-1]).logits
    scores = logits.log_softmax(-1).gather(-1, sequence[:, 1:, None])[..., 0]
    return TOKENIZER.decode(sequence[0], skip_special_tokens=True).strip(), float(scores.mean())


@pytest.mark.parametrize("beams", [1, 4])
def test_summaries_are_those_of_generate(served: Platform, beams: int) -> None:
    bounds = pb.Rewriting(num_beams=beams, max_tokens=12)
    answer = served.inference.Summarize(
        pb.SummarizeRequest(model=ref("shorten"), texts=TEXTS, rewriting=bounds), timeout=60
    )
    model = tiny_seq2seq("bart")
    for text, result in zip(TEXTS, answer.results, strict=True):
        wanted, score = generated(model, text, beams, 12)
        assert result.text == wanted
        assert result.score == pytest.approx(score, abs=1e-3)
    assert answer.usage.prompt_tokens == sum(len(TOKENIZER(text).input_ids) for text in TEXTS)
    assert 0 < answer.usage.completion_tokens <= 3 * 12
    assert answer.lineage.model == "shorten"


def test_a_translation_puts_the_prefix_of_its_languages_before_the_text(served: Platform) -> None:
    model = tiny_seq2seq("t5")
    request = pb.TranslateRequest(model=ref("speak"), texts=TEXTS[:1], source_language="en", target_language="fr")
    request.rewriting.max_tokens = 8
    answer = served.inference.Translate(request, timeout=60)
    wanted, _ = generated(model, f"translate en to fr: {TEXTS[0]}", 4, 8)
    assert answer.results[0].text == wanted


@pytest.mark.parametrize(
    ("model", "source", "target", "said"),
    [
        ("speak", "en", "xx", "this model knows en to de, en to fr"),
        ("speak", "", "", "this model knows en to de, en to fr"),
        ("plain", "", "de", "leave it empty"),
    ],
)
def test_a_language_that_the_model_does_not_know_is_refused(
    served: Platform, model: str, source: str, target: str, said: str
) -> None:
    request = pb.TranslateRequest(model=ref(model), texts=["a"], source_language=source, target_language=target)
    assert said in refused(served.inference.Translate, request)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"max_tokens": 0}, "rewriting.max_tokens is 0"),
        ({"max_tokens": 4000}, "writes at most 95"),
        ({"max_tokens": 5, "min_tokens": 6}, "rewriting.min_tokens is 6"),
        ({"num_beams": 17}, "rewriting.num_beams is 17"),
        ({"length_penalty": float("nan")}, "rewriting.length_penalty is nan"),
    ],
)
def test_bounds_out_of_range_are_refused(served: Platform, fields: dict[str, Any], said: str) -> None:
    request = pb.SummarizeRequest(model=ref("shorten"), texts=["a"], rewriting=pb.Rewriting(**fields))
    assert said in refused(served.inference.Summarize, request)
    too_many = pb.SummarizeRequest(model=ref("shorten"), texts=["a"] * 65)
    assert "texts is 65" in refused(served.inference.Summarize, too_many)


def test_a_causal_model_summarises_what_its_prompt_asks(served: Platform) -> None:
    bounds = pb.Rewriting(num_beams=1, max_tokens=8)
    request = pb.SummarizeRequest(model=ref("ask"), texts=TEXTS, rewriting=bounds)
    answer = served.inference.Summarize(request, timeout=60)
    assert len(answer.results) == 3
    assert answer.usage.completion_tokens <= 24
    assert all(result.score <= 0 for result in answer.results)
    again = served.inference.Summarize(request, timeout=60)
    assert [one.text for one in again.results] == [one.text for one in answer.results]


def test_a_translator_does_not_summarise(served: Platform) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        served.inference.Summarize(pb.SummarizeRequest(model=ref("plain"), texts=["a"]), timeout=20)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "is of kind translation, which answers Translate, Tokenize" in str(caught.value.details())


def test_requests_at_once_get_their_own_texts(served: Platform) -> None:
    found: dict[int, str] = {}

    def ask(index: int) -> None:
        request = pb.SummarizeRequest(model=ref("shorten"), texts=[TEXTS[index % 3]])
        request.rewriting.max_tokens = 6
        found[index] = served.inference.Summarize(request, timeout=60).results[0].text

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    model = tiny_seq2seq("bart")
    assert found == {index: generated(model, TEXTS[index % 3], 4, 6)[0] for index in range(9)}


def test_a_deadline_ends_a_long_text(served: Platform) -> None:
    request = pb.SummarizeRequest(model=ref("shorten"), texts=TEXTS * 20)
    request.rewriting.CopyFrom(pb.Rewriting(max_tokens=90, min_tokens=90, num_beams=16))
    with pytest.raises(grpc.RpcError) as caught:
        served.inference.Summarize(request, timeout=0.5)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    short = pb.SummarizeRequest(model=ref("shorten"), texts=["a"], rewriting=pb.Rewriting(max_tokens=2))
    assert served.inference.Summarize(short, timeout=30).results


def refused(call: Any, request: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return str(caught.value.details())
