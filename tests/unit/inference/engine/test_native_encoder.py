"""The native encoder against transformers in float32."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import BertConfig, BertForSequenceClassification, set_seed

from services.inference.engine.encoder import PackedEncoder, encoder_for
from services.inference.engine.native import encoder_library, library
from services.inference.engine.native.encoder import NativeEncoder
from services.inference.engine.tokenising import Encoding, Head
from tests.support.tiny_encoders import HEADS, LENGTH, sizes, tiny_bert, tiny_classifier

pytestmark = pytest.mark.skipif(encoder_library.why_not() is not None, reason=str(encoder_library.why_not()))
LENGTHS = (3, 17, 1, 40, 2, 17)
PRECISIONS = pytest.mark.parametrize(("exactly", "error"), [(True, 2e-5), (False, 0.03)], ids=["float32", "bfloat16"])
"""The error allowed is a share of the answers' spread."""


def texts(lengths: Sequence[int], typed: bool = True, head: Head = Head.OWN) -> list[Encoding]:
    draw = random.Random(0)
    vocabulary = sizes()["vocab_size"]
    return [
        Encoding(
            [draw.randrange(8, vocabulary) for _ in range(length)],
            [int(place * 2 > length) for place in range(length)] if typed else (),
            head,
        )
        for length in lengths
    ]


@torch.inference_mode()
def truth(model: Any, text: Encoding) -> NDArray[np.float32]:
    """What transformers gives for one text alone."""
    inputs = {"input_ids": torch.tensor([text.ids])}
    if text.types:
        inputs["token_type_ids"] = torch.tensor([text.types])
    if text.head is Head.MEAN:
        return np.asarray(model.base_model(**inputs).last_hidden_state[0].mean(0).numpy())
    made = model(**inputs)
    if "start_logits" in made:
        return np.asarray(torch.stack([made.start_logits[0], made.end_logits[0]], -1).numpy())
    return np.asarray(made.logits[0].numpy())


def check(model: Any, asked: Sequence[Encoding], exactly: bool, error: float) -> None:
    wanted = [truth(model, text) for text in asked]
    spread = float(np.ptp(np.concatenate([row.ravel() for row in wanted])))
    for found, row in zip(NativeEncoder(model, exactly)(asked), wanted, strict=True):
        assert found.shape == row.shape
        np.testing.assert_allclose(found, row, atol=error * spread, rtol=0)


def bert(width: int, heads: int, inner: int, longest: int = LENGTH) -> Any:
    set_seed(0)
    shape = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": inner}
    options = {**sizes(longest), **shape, "initializer_range": width**-0.5}
    return BertForSequenceClassification(BertConfig(**options, num_labels=5)).train(False)


@PRECISIONS
@pytest.mark.parametrize("kind", HEADS)
def test_every_head_gives_what_transformers_gives(kind: str, exactly: bool, error: float) -> None:
    model, _ = tiny_bert(kind)
    for head in [Head.MEAN] if kind == "embedding" else list(Head):
        check(model, texts(LENGTHS, head=head), exactly, error)


@PRECISIONS
@pytest.mark.parametrize("family", ["roberta", "distilbert"])
def test_other_families_give_what_transformers_gives(family: str, exactly: bool, error: float) -> None:
    check(tiny_classifier(family), texts(LENGTHS, typed=False), exactly, error)


@PRECISIONS
@pytest.mark.parametrize(("width", "heads", "inner"), [(32, 1, 32), (96, 2, 160), (96, 6, 32), (128, 2, 96)])
def test_sizes_that_fill_no_panel_are_right(width: int, heads: int, inner: int, exactly: bool, error: float) -> None:
    check(bert(width, heads, inner), texts((1, 2, 13, 14, 15)), exactly, error)


@PRECISIONS
@pytest.mark.parametrize("length", [15, 16, 17, 31, 32, 33, 64, 65, 100])
def test_a_text_of_any_length_is_right(length: int, exactly: bool, error: float) -> None:
    check(bert(64, 2, 128, longest=100), texts((length,)), exactly, error)


@pytest.mark.parametrize("exactly", [True, False])
def test_a_text_gives_the_same_bits_whatever_else_is_in_its_batch(exactly: bool) -> None:
    encoder = NativeEncoder(tiny_bert("classification")[0], exactly)
    asked = texts(LENGTHS)
    for text, together in zip(asked, encoder(asked), strict=True):
        np.testing.assert_array_equal(encoder([text])[0], together)


@pytest.mark.parametrize("exactly", [True, False])
def test_many_threads_at_once_do_not_disturb_each_other(exactly: bool) -> None:
    encoder = NativeEncoder(tiny_bert("token_classification")[0], exactly)
    batches = [texts(LENGTHS[: 1 + number % len(LENGTHS)]) for number in range(60)]
    wanted = [encoder(batch) for batch in batches]
    with ThreadPoolExecutor(6) as threads:
        for rows, alone in zip(threads.map(encoder, batches), wanted, strict=True):
            for row, other in zip(rows, alone, strict=True):
                np.testing.assert_array_equal(row, other)


@pytest.mark.parametrize(
    "text",
    [
        Encoding([], ()),
        Encoding([-1], ()),
        Encoding([sizes()["vocab_size"]], ()),
        Encoding([9] * (LENGTH + 1), ()),
        Encoding([9, 9], [0, 2]),
        Encoding([9, 9], [0]),
    ],
    ids=["empty", "negative", "unknown token", "too long", "unknown type", "a type missing"],
)
def test_what_the_tables_do_not_hold_never_reaches_the_library(text: Encoding) -> None:
    encoder = NativeEncoder(tiny_bert("classification")[0])
    with pytest.raises(AssertionError):
        encoder([text])


@pytest.mark.parametrize("exactly", [True, False])
def test_weights_that_are_not_finite_are_an_error(exactly: bool) -> None:
    model, _ = tiny_bert("classification")
    model.bert.encoder.layer[0].intermediate.dense.bias.data[3] = float("nan")
    with pytest.raises(ArithmeticError, match="not finite"):
        NativeEncoder(model, exactly)(texts(LENGTHS))


def test_a_model_of_another_arithmetic_takes_the_torch_path() -> None:
    tanh_gelu, relu, halved, narrow = (tiny_bert("classification")[0] for _ in range(4))
    tanh_gelu.config.hidden_act, relu.config.hidden_act = "gelu_new", "relu"
    halved.to(torch.bfloat16)
    narrow.config.num_attention_heads = 4  # heads of 8
    for model in (tanh_gelu, relu, halved, narrow):
        assert not NativeEncoder.fits(model)
        assert not isinstance(encoder_for(model, 0), NativeEncoder)
    assert isinstance(encoder_for(tiny_bert("classification")[0], 0), NativeEncoder)


def test_a_library_built_before_there_were_encoders_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_library, "library", SimpleNamespace(why_not=library.why_not, library=SimpleNamespace))
    encoder_library.why_not.cache_clear()
    try:
        assert "older than its source" in str(encoder_library.why_not())
        assert isinstance(encoder_for(tiny_bert("classification")[0], 0), PackedEncoder)
    finally:
        monkeypatch.undo()
        encoder_library.why_not.cache_clear()
