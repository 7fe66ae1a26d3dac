"""Packed encoders give what transformers gives; close labels are decided in float32."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from services.inference.engine.batcher import OwnThread
from services.inference.engine.encoder import Output, PackedEncoder, PaddedEncoder, encoder_for
from services.inference.engine.native.encoder import NativeEncoder
from services.inference.engine.precision import TieBreaking, label_encoder, margin
from services.inference.engine.tokenising import Encoding, Head
from tests.support.tiny_encoders import HEADS, sizes, tiny_bert, tiny_classifier

LENGTHS = (3, 17, 9, 40, 1, 17)


def texts(head: Head = Head.OWN, typed: bool = True, lengths: Sequence[int] = LENGTHS) -> list[Encoding]:
    draw = random.Random(0)
    vocabulary = sizes()["vocab_size"]
    made = []
    for length in lengths:
        ids = [draw.randrange(8, vocabulary) for _ in range(length)]
        made.append(Encoding(ids, [int(place * 2 > length) for place in range(length)] if typed else (), head))
    return made


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("lengths", [LENGTHS, (7, 7), (5,)])
def test_packed_texts_give_what_padded_ones_give(kind: str, lengths: Sequence[int]) -> None:
    model, _ = tiny_bert(kind)
    heads = [Head.MEAN] if kind == "embedding" else list(Head)
    for head in heads:
        packed = PackedEncoder(model)(texts(head, lengths=lengths))
        padded = PaddedEncoder(model, 0)(texts(head, lengths=lengths))
        for one, other in zip(packed, padded, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("family", ["roberta", "distilbert"])
def test_other_families_give_what_transformers_gives_one_by_one(family: str) -> None:
    model = tiny_classifier(family)
    assert PackedEncoder.fits(model) is (family == "roberta")
    encodings = texts(typed=False)
    found = encoder_for(model, 0)(encodings)
    for encoding, row in zip(encodings, found, strict=True):
        with torch.inference_mode():
            wanted = model(input_ids=torch.tensor([encoding.ids])).logits[0]
        np.testing.assert_allclose(row, wanted.numpy(), atol=1e-5)


def test_a_model_with_another_activation_is_not_packed() -> None:
    model, _ = tiny_bert("classification")
    model.config.hidden_act = "relu"
    assert not PackedEncoder.fits(model)


def test_values_that_are_not_finite_are_an_error() -> None:
    model, _ = tiny_bert("classification")
    model.classifier.bias.data.fill_(float("nan"))
    for encoder in (PackedEncoder(model), PaddedEncoder(model, 0)):
        with pytest.raises(ArithmeticError, match="not finite"):
            encoder(texts())


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_gives_the_labels_of_float32(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not native:
        monkeypatch.setattr(NativeEncoder, "fits", lambda model: False)
    model, _ = tiny_bert("classification")
    lengths = [random.Random(index).randrange(2, 40) for index in range(200)]
    encodings = texts(lengths=lengths)
    exact = PaddedEncoder(model, 0)(encodings)
    encoder = label_encoder(model, 0, OwnThread(), "bfloat16")
    assert isinstance(encoder, TieBreaking)
    assert encoder.concurrent is NativeEncoder.fits(model)
    found = encoder(encodings)
    assert [row.argmax() for row in found] == [row.argmax() for row in exact]
    assert max(float(np.ptp(one - other)) for one, other in zip(found, exact, strict=True)) < encoder.tolerance


def test_a_label_that_leads_by_little_is_computed_again() -> None:
    class Constant:
        extra_bytes = 0
        concurrent = True

        def __init__(self, rows: list[list[float]]) -> None:
            self.rows = [np.array(row, dtype=np.float32) for row in rows]
            self.asked: list[Sequence[Encoding]] = []

        def __call__(self, texts: Sequence[Encoding]) -> list[Output]:
            self.asked.append(texts)
            return self.rows[: len(texts)]

    fast, exact = Constant([[0.0, 0.05, -9.0], [0.0, 3.0, 1.0]]), Constant([[1.0, 0.0, 0.0]])
    both = texts(lengths=(4, 5))
    first, second = TieBreaking(fast, exact, tolerance=0.1)(both)
    assert first.tolist() == [1.0, 0.0, 0.0]
    assert second.tolist() == [0.0, 3.0, 1.0]
    assert exact.asked == [both[:1]]
    assert margin(second) == 2.0


def test_float32_answers_where_bfloat16_is_not_wanted_or_would_be_too_coarse() -> None:
    model, _ = tiny_bert("classification")
    assert not isinstance(label_encoder(model, 0, OwnThread(), "float32"), TieBreaking)
    model.classifier.weight.data.mul_(1e4)
    assert not isinstance(label_encoder(model, 0, OwnThread(), "bfloat16"), TieBreaking)
