"""Log-probabilities are the model's own, whatever changed the draw."""

from random import Random

import pytest
import torch

from services.inference.engine.interface import GenerationRequest, Sampling, Stopping, TokenLogprob
from services.inference.engine.logprobs import token_logprobs
from services.inference.engine.penalties import Row
from services.inference.engine.sampling import sample
from tests.unit.inference.engine.conftest import Make, chunks_of
from tests.unit.inference.engine.tiny import tiny


def test_rows_have_the_log_softmax_of_their_token_and_the_likeliest() -> None:
    logits = torch.randn(3, 5000, generator=torch.Generator().manual_seed(0))
    expected = logits.log_softmax(dim=-1)
    for row, entry in enumerate(token_logprobs(logits, [5, 17, 4999], 20)):
        assert entry.logprob == pytest.approx(float(expected[row, entry.token_id]), abs=1e-5)
        values, ids = expected[row].topk(20)
        assert [token for token, _ in entry.alternatives] == ids.tolist()
        assert [value for _, value in entry.alternatives] == pytest.approx(values.tolist(), abs=1e-5)
    assert token_logprobs(logits[:0], [], 3) == []


def test_penalties_bias_and_temperature_change_the_draw_and_not_the_log_probability() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    expected = logits[0].log_softmax(dim=-1).tolist()
    changed = Sampling(logit_bias={2: 50.0}, repetition_penalty=3.0)
    rows = [
        Row(changed, Random(0), (0,), (), forbidden=(1,), logprobs=2),
        Row(Sampling(temperature=5.0, top_k=1), Random(0), (), (), logprobs=0),
    ]
    first, second = sample(logits, rows)
    assert first is not None
    assert second is not None
    assert first.token == 2
    assert first.logprob == pytest.approx(expected[2])
    assert [token for token, _ in first.alternatives] == [0, 1]
    assert (second.token, second.alternatives) == (0, ())
    assert second.logprob == pytest.approx(expected[0])


def test_only_rows_that_asked_pay_and_each_gets_what_it_asked_for() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(1))
    rows = [Row(Sampling(), Random(0), (), (), logprobs=asked) for asked in (None, 1, 4)]
    drawn = sample(logits, rows)
    assert [one and (one.logprob is None, len(one.alternatives)) for one in drawn] == [
        (True, 0),
        (False, 1),
        (False, 4),
    ]


def test_an_echoed_prompt_and_its_answer_have_the_log_probabilities_of_a_plain_forward_pass(engine_of: Make) -> None:
    """In chunks of 32 and among others: the prompt's first token alone has none."""
    prompt = tuple(range(1, 81))
    engine = engine_of()
    stopping = Stopping(max_tokens=6, ignore_eos=True)
    others = [engine.submit(GenerationRequest(f"other-{n}", (n, 5), stopping=stopping)) for n in range(3)]
    asked = GenerationRequest("mine", prompt, stopping=stopping, logprobs=3, echo=True)
    chunks = chunks_of(list(engine.submit(asked)))
    for other in others:
        list(other)
    assert [chunk.echo for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
    assert chunks[0].token_ids == prompt
    answer = [token for chunk in chunks[1:] for token in chunk.token_ids]
    entries: list[TokenLogprob] = [entry for chunk in chunks for entry in chunk.logprobs]
    with torch.inference_mode():
        logits = tiny("llama")(torch.tensor([[*prompt, *answer]])).logits[0].float().log_softmax(dim=-1)
    assert entries[0] == TokenLogprob(prompt[0], None)
    assert [entry.token_id for entry in entries] == [*prompt, *answer]
    for place, entry in enumerate(entries[1:]):
        assert entry.logprob == pytest.approx(float(logits[place, entry.token_id]), abs=1e-3)
        assert [token for token, _ in entry.alternatives] == logits[place].topk(3).indices.tolist()
