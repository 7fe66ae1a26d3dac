"""Several answers to one prompt: computed once, each with numbers of its own."""

from services.inference.engine.interface import Chunk, Constraint, GenerationRequest, Output, Sampling, Stopping
from tests.unit.inference.engine.conftest import Make, end_of, ids_of

HOT = Sampling(temperature=1.5, seed=9)
PROMPT = tuple(range(70))


def answers(outputs: list[Output]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for output in outputs:
        if isinstance(output, Chunk):
            found.setdefault(output.index, []).extend(output.token_ids)
    return found


def test_the_first_of_n_answers_is_the_answer_of_n_1_and_the_others_differ(engine_of: Make) -> None:
    engine = engine_of()
    stopping = Stopping(max_tokens=40, ignore_eos=True)
    alone = ids_of(list(engine.submit(GenerationRequest("one", PROMPT, HOT, stopping))))
    outputs = list(engine.submit(GenerationRequest("many", PROMPT, HOT, stopping, n=4)))
    found = answers(outputs)
    assert sorted(found) == [0, 1, 2, 3]
    assert found[0] == alone
    assert len({tuple(tokens) for tokens in found.values()}) == 4
    again = answers(list(engine.submit(GenerationRequest("again", PROMPT, HOT, stopping, n=4))))
    assert again == found
    finished = end_of(outputs)
    assert finished.usage.completion_tokens == 160
    assert [candidate.completion_tokens for candidate in finished.candidates] == [40] * 4
    assert engine._forward.cache.used == 0


def test_each_answer_ends_by_itself_and_gives_its_pages_back(engine_of: Make) -> None:
    engine = engine_of(eos=frozenset(range(0, 258, 13)))
    outputs = list(engine.submit(GenerationRequest("r", (4, 5), HOT, Stopping(max_tokens=100), n=4)))
    counts = {index: len(tokens) for index, tokens in answers(outputs).items()}
    finished = end_of(outputs)
    assert {index: one.completion_tokens for index, one in enumerate(finished.candidates)} == counts
    assert len(set(counts.values())) > 1
    assert finished.reason is finished.candidates[0].reason
    assert engine._forward.cache.used == 0


def test_echo_comes_first_with_the_log_probabilities_of_the_prompt(engine_of: Make) -> None:
    engine = engine_of()
    stopping = Stopping(max_tokens=2, ignore_eos=True)
    outputs = list(engine.submit(GenerationRequest("r", PROMPT, stopping=stopping, logprobs=2, echo=True)))
    echo = outputs[0]
    assert isinstance(echo, Chunk)
    assert (echo.echo, echo.token_ids) == (True, PROMPT)
    assert [entry.token_id for entry in echo.logprobs] == list(PROMPT)
    assert echo.logprobs[0].logprob is None
    assert all(entry.logprob is not None and entry.logprob < 0 for entry in echo.logprobs[1:])
    assert all(len(entry.alternatives) == 2 for entry in echo.logprobs[1:])
    plain = ids_of(list(engine.submit(GenerationRequest("plain", PROMPT, stopping=stopping))))
    assert ids_of(outputs[1:]) == plain


def test_each_answer_follows_the_constraint_by_itself(engine_of: Make) -> None:
    engine = engine_of()
    choices = ("yes", "no", "perhaps")
    request = GenerationRequest("r", PROMPT, HOT, Stopping(max_tokens=40), constraint=Constraint(choices=choices), n=4)
    outputs = list(engine.submit(request))
    texts: dict[int, str] = {}
    for output in outputs:
        if isinstance(output, Chunk):
            texts[output.index] = texts.get(output.index, "") + output.text
    assert sorted(texts) == [0, 1, 2, 3]
    assert set(texts.values()) <= set(choices)
    assert len(set(texts.values())) > 1
