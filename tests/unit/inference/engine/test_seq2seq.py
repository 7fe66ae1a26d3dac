"""Beams are those of `generate`; each pass is a piece of work of its own; what nobody wants ends."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from services.inference.engine.seq2seq import Beams, Seq2Seq, Source
from shared.errors import DeadlineExceeded
from tests.support.tiny_encoders import tiny_seq2seq

SOURCES = ([2, 40, 41, 42, 3], [2, 50, 3], [2, 60, 61, 3])


class Counting:
    """A compute thread that counts what it runs."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, function: Callable[[], Any]) -> Any:
        self.runs += 1
        return function()


@pytest.mark.parametrize("family", ["bart", "t5"])
@pytest.mark.parametrize("beams", [1, 3])
def test_a_batch_gives_what_generate_gives_one_by_one(family: str, beams: int) -> None:
    settings = Beams(max_tokens=9, min_tokens=2, num_beams=beams, length_penalty=0.8)
    found = Seq2Seq(tiny_seq2seq(family), 0, Counting())([Source(ids, settings) for ids in SOURCES])
    model = tiny_seq2seq(family)
    model.generation_config.update(max_length=None, max_new_tokens=9, min_new_tokens=2, num_beams=beams)
    if beams > 1:
        model.generation_config.update(length_penalty=0.8)
    for ids, written in zip(SOURCES, found, strict=True):
        wanted = model.generate(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)))[0, 1:].tolist()
        assert list(written.ids) == wanted
        assert written.score < 0


def test_each_pass_is_a_piece_of_work_of_its_own() -> None:
    compute = Counting()
    settings = Beams(max_tokens=6, min_tokens=6, num_beams=2, length_penalty=1.0)
    Seq2Seq(tiny_seq2seq("bart"), 0, compute)([Source(SOURCES[0], settings)])
    assert compute.runs == 1 + 6 + 1  # the encoder, six tokens, their scores


def test_a_forced_first_token_begins_the_text() -> None:
    settings = Beams(max_tokens=4, min_tokens=0, num_beams=1, length_penalty=1.0, forced_first=77)
    (written,) = Seq2Seq(tiny_seq2seq("bart"), 0, Counting())([Source(SOURCES[0], settings)])
    assert written.ids[0] == 77


def test_what_nobody_waits_for_ends() -> None:
    compute = Counting()
    seq2seq = Seq2Seq(tiny_seq2seq("bart"), 0, compute)
    seq2seq.is_wanted = lambda: compute.runs < 4
    settings = Beams(max_tokens=80, min_tokens=80, num_beams=1, length_penalty=1.0)
    with pytest.raises(DeadlineExceeded):
        seq2seq([Source(SOURCES[0], settings)])
    assert compute.runs < 10
