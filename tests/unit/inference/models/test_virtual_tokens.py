"""Prefix, prompt and P-tuning in the engine: the same tokens as PEFT's own model, beside the base and LoRA."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from services.inference.engine.cache import PAGE
from services.inference.engine.interface import Chunk, Finished, GenerationRequest, Sampling, Stopping
from services.inference.engine.presets import Preset
from services.inference.kinds.generation import Generator
from shared.errors import DataCorrupted, FailedPrecondition, InvalidArgument, ResourceExhausted
from shared.modeling.bases import BaseModel
from tests.support.tiny_adapters import tuned_folder
from tests.support.tiny_models import tiny_adapter, tiny_base
from tests.support.wait import eventually
from tests.unit.inference.models import test_loader
from tests.unit.inference.models.test_loader import PROMPT, TOKENS, World, Worlds, answer, base_record
from tests.unit.inference.models.test_loader import world as world
from tests.unit.inference.models.test_loader import world_of as world_of

METHODS = ("prefix_tuning", "prompt_tuning", "p_tuning")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return tiny_base(tmp_path_factory.mktemp("base") / "base", "chat")


@pytest.fixture(scope="module")
def folders(base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A version of each method; virtual tokens that fill pages, and that end inside one."""
    folder = tmp_path_factory.mktemp("adapters")
    lengths = dict(zip(METHODS, (5, PAGE + 7, PAGE), strict=True))
    return {
        method: tuned_folder(folder / method, base.path, "chat", method, virtual_tokens=length)
        for method, length in lengths.items()
    }


def test_all_three_share_the_engine_of_their_base_and_answer_as_peft_does(
    world: World, base: BaseModel, folders: dict[str, Path], tmp_path: Path
) -> None:
    plain = world.load(base_record(base))
    lora = world.load(world.record(tiny_adapter(tmp_path / "lora", base, 1), 9))
    served = [world.load(world.record(folder, n)) for n, folder in enumerate(folders.values(), start=1)]
    assert len({id(one._lease.host.engine) for one in (plain, lora, *served)}) == 1
    answers = [answer(one) for one in served]
    assert answers == [with_peft(base, folder) for folder in folders.values()]
    assert len({tuple(one) for one in (*answers, answer(plain), answer(lora))}) == 5


def test_requests_of_all_versions_in_one_batch_keep_their_own_tokens(
    world: World, base: BaseModel, folders: dict[str, Path]
) -> None:
    everyone = [world.load(base_record(base))]
    everyone += [world.load(world.record(folder, n)) for n, folder in enumerate(folders.values(), start=1)]
    alone = [answer(one) for one in everyone]
    for _ in range(2):  # the second time the prompt's pages are found again
        streams = [
            one.submit(GenerationRequest("same", PROMPT, stopping=Stopping(TOKENS, ignore_eos=True)))
            for one in everyone
        ]
        assert [tokens_of(stream) for stream in streams] == alone


@pytest.mark.parametrize("prompt_tokens", [1, 20, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 5])
def test_prompts_of_any_length_are_found_again_behind_the_virtual_tokens(
    world: World, base: BaseModel, folders: dict[str, Path], prompt_tokens: int
) -> None:
    prompt = tuple(range(20, 20 + prompt_tokens))
    for number, method in enumerate(METHODS, start=1):
        served = world.load(world.record(folders[method], number))
        request = GenerationRequest("r", prompt, stopping=Stopping(3, ignore_eos=True))
        first, again = (finished(served, request) for _ in range(2))
        assert first[0] == again[0]
        assert first[1].usage.prompt_tokens == prompt_tokens
        assert first[1].usage.cached_tokens == 0
        assert 0 <= again[1].usage.cached_tokens < prompt_tokens
    assert prompt_tokens < 3 * PAGE or again[1].usage.cached_tokens >= 2 * PAGE


def test_several_answers_beams_and_echo_work_behind_virtual_tokens(
    world: World, base: BaseModel, folders: dict[str, Path]
) -> None:
    served = world.load(world.record(folders["prompt_tuning"], 1))
    greedy = answer(served)
    many = served.submit(GenerationRequest("n", PROMPT, n=3, stopping=Stopping(TOKENS, ignore_eos=True)))
    by_index: dict[int, list[int]] = {}
    for output in many:
        if isinstance(output, Chunk):
            by_index.setdefault(output.index, []).extend(output.token_ids)
    assert list(by_index.values()) == [greedy] * 3
    beams = GenerationRequest("b", PROMPT, Sampling(num_beams=3), Stopping(4, ignore_eos=True))
    assert len(finished(served, beams)[0]) == 4
    echoed = served.submit(GenerationRequest("e", PROMPT, stopping=Stopping(2), echo=True, logprobs=1))
    first = next(iter(echoed))
    assert isinstance(first, Chunk)
    assert first.token_ids == PROMPT
    assert [one.token_id for one in first.logprobs] == list(PROMPT)
    assert first.logprobs[0].logprob is None
    assert all(one.logprob is not None and one.logprob < 0 for one in first.logprobs[1:])


def test_a_penalty_sees_no_virtual_tokens(world: World, base: BaseModel, folders: dict[str, Path]) -> None:
    """They stand there as token 0, which must not be held against it."""
    served = world.load(world.record(folders["p_tuning"], 1))
    favoured = Sampling(logit_bias={0: 100.0}, repetition_penalty=1.0, presence_penalty=0.0)
    assert finished(served, GenerationRequest("a", PROMPT, favoured, Stopping(1, ignore_eos=True)))[0] == [0]
    answer_of = served._engine._scheduler  # type: ignore[attr-defined]
    assert answer_of.empty


def test_virtual_tokens_take_positions_from_prompt_and_answer(
    world: World, base: BaseModel, folders: dict[str, Path]
) -> None:
    plain = world.load(base_record(base))
    served = world.load(world.record(folders["p_tuning"], 1))
    whole = plain._engine.max_length
    with pytest.raises(InvalidArgument, match=f"at most {whole - PAGE - 1} fit"):
        served.submit(GenerationRequest("long", (5,) * (whole - PAGE)))
    tokens, end = finished(served, GenerationRequest("fits", (5,) * (whole - PAGE - 2), stopping=ENDLESS))
    assert len(tokens) == 2
    assert end.usage.prompt_tokens == whole - PAGE - 2


def test_pages_come_back_when_the_version_goes_and_running_requests_keep_theirs(
    world: World, base: BaseModel, folders: dict[str, Path]
) -> None:
    plain = world.load(base_record(base))
    cache = plain._engine._forward.cache  # type: ignore[attr-defined]
    used = cache.used
    served = world.load(world.record(folders["prompt_tuning"], 1))
    assert cache.used == used + 2
    stream = served.submit(GenerationRequest("long", PROMPT, stopping=Stopping(400, ignore_eos=True)))
    eventually(lambda: served.load().running == 1)
    served.close()
    *_, end = stream
    assert isinstance(end, Finished)
    eventually(lambda: cache.used == used)
    again = world.load(world.record(folders["prompt_tuning"], 2))
    assert answer(again) == with_peft(base, folders["prompt_tuning"])


def test_the_same_adapter_twice_is_held_once(world: World, base: BaseModel, folders: dict[str, Path]) -> None:
    plain = world.load(base_record(base))
    cache = plain._engine._forward.cache  # type: ignore[attr-defined]
    used = cache.used
    one, two = (world.load(world.record(folders["p_tuning"], n)) for n in (1, 2))
    assert cache.used == used + 1
    one.close()
    assert answer(two) == with_peft(base, folders["p_tuning"])


def test_an_engine_that_failed_has_its_virtual_tokens_again(
    world: World, base: BaseModel, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = world.load(world.record(folders["prefix_tuning"], 1))
    before = answer(served)
    engine: Any = served._engine
    with monkeypatch.context() as broken:
        broken.setattr(engine, "_step", lambda: 1 / 0)
        stream = served.submit(GenerationRequest("lost", PROMPT))
        with pytest.raises(Exception, match="engine stopped"):
            list(stream)
    eventually(lambda: engine.healthy)
    assert answer(served) == before


def test_a_cache_without_room_for_a_preset_refuses_it(
    world_of: Worlds, base: BaseModel, folders: dict[str, Path]
) -> None:
    small = world_of(cache_bytes=1 << 19)
    plain = small.load(base_record(base))
    engine: Any = plain._engine
    pages = engine._forward.cache.pages
    part = torch.zeros(2, (pages - 2) * PAGE, 8)
    with pytest.raises(ResourceExhausted, match="no room"):
        engine.add_adapter(Preset("huge", [part] * 2, [part] * 2))
    assert len(answer(plain)) == TOKENS


def test_keys_of_another_model_are_refused(world: World, base: BaseModel) -> None:
    engine: Any = world.load(base_record(base))._engine
    part = torch.zeros(2, 4, 8)
    with pytest.raises(DataCorrupted, match="3 layers, its base has"):
        engine.add_adapter(Preset("other", [part] * 3, [part] * 3))
    assert engine._scheduler.lasting == engine._forward.cache.pages


def test_a_load_counts_the_base_that_it_reads_once_more(
    world: World, base: BaseModel, folders: dict[str, Path]
) -> None:
    record = world.record(folders["p_tuning"], 1)
    world.load(base_record(base))
    weights = sum(tensor.nbytes for tensor in load_file(base.path / "model.safetensors").values())
    assert world.loader.memory_needed(record) == weights


def test_vllm_does_not_get_virtual_tokens(world_of: Worlds, folders: dict[str, Path]) -> None:
    world = world_of(engines="m=vllm")
    with pytest.raises(FailedPrecondition, match="prompt_tuning, whose virtual tokens"):
        world.loader.load(world.record(folders["prompt_tuning"], 1))


def with_peft(base: BaseModel, adapter: Path) -> list[int]:
    """What PEFT's own model generates; it warns of position ids that it leaves out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return test_loader.with_peft(base, adapter)


ENDLESS = Stopping(None, ignore_eos=True)


def tokens_of(stream: Any) -> list[int]:
    return [token for output in stream if isinstance(output, Chunk) for token in output.token_ids]


def finished(served: Generator, request: GenerationRequest) -> tuple[list[int], Finished]:
    outputs = list(served.submit(request))
    end = outputs[-1]
    assert isinstance(end, Finished)
    return tokens_of(outputs), end
