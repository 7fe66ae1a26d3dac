"""From records to models that answer: what is shared, what it weighs, and what is refused."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from services.inference.engine.compute import ComputeThread
from services.inference.engine.interface import Chunk, Finished, FinishReason, GenerationRequest, Stopping
from services.inference.kinds.generation import Generator
from services.inference.models import loader as loader_module
from services.inference.models.lineage import Key, Lineage, VersionRecord
from services.inference.models.loader import TorchLoader
from shared.config import load_settings
from shared.errors import DataCorrupted, FlywheelError, ResourceExhausted
from shared.modeling.bases import BaseModel
from shared.modeling.card import ModelCard
from shared.modeling.digests import weights_digest
from shared.modeling.loading import load_base
from shared.storage.artifacts import Artifacts
from tests.support.tiny_models import tiny_adapter, tiny_base, tiny_model
from tests.support.wait import eventually

PROMPT = (1, 40, 50, 60, 70)
TOKENS = 12


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return tiny_base(tmp_path_factory.mktemp("base") / "base", "chat")


@pytest.fixture(scope="module")
def adapters(base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return [tiny_adapter(folder / str(seed), base, seed) for seed in (1, 2)]


class World:
    """A store and a loader; counts the models that are read from disk."""

    def __init__(self, folder: Path, compute: ComputeThread, **settings: Any) -> None:
        self.artifacts = Artifacts(str(folder / "store"), folder / "cache")
        self.settings = load_settings(home=folder, device="cpu", **{"weights": "float32", "threads": 1, **settings})
        self.loader = TorchLoader(self.settings, self.artifacts, compute)
        self.opened: list[Generator] = []

    def record(self, folder: Path, version: int, **changes: Any) -> VersionRecord:
        """As the database would say it, of a model folder put into the store."""
        card = ModelCard.read(folder)
        uri = f"models/{folder.name}-{version}"
        self.artifacts.put_folder(folder, uri)
        lineage = Lineage("m", version, card.weights_digest, card.adapter_digest)
        fields = {"kind": card.kind, "base": card.base, "method": card.method, "weights_uri": uri, **changes}
        return VersionRecord(Key("m", version), lineage=lineage, **fields)

    def load(self, record: VersionRecord) -> Generator:
        served, lineage = self.loader.load(record)
        assert isinstance(served, Generator)
        assert lineage.engine == "torch"
        self.opened.append(served)
        return served


Worlds = Callable[..., World]


@pytest.fixture
def world_of(tmp_path: Path) -> Iterator[Worlds]:
    compute = ComputeThread(1)
    made: list[World] = []

    def make(**settings: Any) -> World:
        made.append(World(tmp_path, compute, **settings))
        return made[-1]

    yield make
    for world in made:
        for served in world.opened:
            if served._lease.host.users:
                served.close()
    compute.close()


@pytest.fixture
def world(world_of: Worlds) -> World:
    return world_of()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the base models that were read."""
    seen: list[str] = []

    def counted(base: BaseModel, *parts: Any, **options: Any) -> Any:
        seen.append(base.name)
        return load_base(base, *parts, **options)

    monkeypatch.setattr(loader_module, "load_base", counted)
    return seen


def base_record(base: BaseModel, version: int = 0, model: str = "m") -> VersionRecord:
    return VersionRecord(Key(model, version), "chat", base.name, lineage=Lineage(model, version))


def answer(served: Generator, name: str = "r", tokens: int = TOKENS) -> list[int]:
    stream = served.submit(GenerationRequest(name, PROMPT, stopping=Stopping(tokens, ignore_eos=True)))
    return [token for output in stream if isinstance(output, Chunk) for token in output.token_ids]


def with_peft(base: BaseModel, adapter: Path) -> list[int]:
    """What PEFT's own model generates."""
    model: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base.path), str(adapter)).eval()
    ids = torch.tensor([PROMPT])
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=TOKENS,
        min_new_tokens=TOKENS,
        do_sample=False,
        pad_token_id=2,
        eos_token_id=-1,
    )
    found: list[int] = out[0, len(PROMPT) :].tolist()
    return found


def test_the_base_and_two_adapters_share_weights_and_engine(
    world: World, base: BaseModel, adapters: list[Path], reads: list[str]
) -> None:
    plain = world.load(base_record(base))
    alone = plain.memory_bytes
    tuned = [world.load(world.record(folder, n)) for n, folder in enumerate(adapters, start=1)]
    assert reads == [base.name]
    assert len({id(one._lease.host.engine) for one in (plain, *tuned)}) == 1
    adapter_bytes = sum(one._lease.adapter.memory_bytes for one in tuned if one._lease.adapter)
    assert alone <= sum(one.memory_bytes for one in (plain, *tuned)) + 3 <= alone + adapter_bytes + 3
    assert sum(one.memory_bytes for one in (plain, *tuned)) > alone + adapter_bytes - 3
    assert [answer(one) for one in tuned] == [with_peft(base, folder) for folder in adapters]
    assert len({tuple(answer(one)) for one in (plain, *tuned)}) == 3


def test_what_a_load_will_add_is_known_before(world: World, base: BaseModel, adapters: list[Path]) -> None:
    record = world.record(adapters[0], 1)
    whole = world.loader.memory_needed(record)
    weights = sum(tensor.numel() for tensor in load_file(base.path / "model.safetensors").values())
    assert whole >= 4 * weights
    held = world.load(base_record(base)).memory_bytes
    assert 0.9 < whole / held < 1.1
    small = world.loader.memory_needed(record)
    assert 0 < small < whole / 3
    assert world.load(record)._lease.adapter.memory_bytes == small  # type: ignore[union-attr]
    assert world.loader.memory_needed(base_record(base)) == 0


def test_an_engine_ends_with_its_last_version(world: World, base: BaseModel, adapters: list[Path]) -> None:
    first = world.load(base_record(base))
    second = world.load(world.record(adapters[0], 1))
    engine = first._lease.host.engine
    first.close()
    assert answer(second) == with_peft(base, adapters[0])
    second.close()
    with pytest.raises(FlywheelError):
        answer(second)
    third = world.load(base_record(base))
    assert third._lease.host.engine is not engine
    assert len(answer(third)) == TOKENS


def test_a_version_that_leaves_ends_only_its_own_requests(world: World, base: BaseModel, adapters: list[Path]) -> None:
    plain = world.load(base_record(base))
    tuned = world.load(world.record(adapters[0], 1))
    long = Stopping(400, ignore_eos=True)
    mine, others = (one.submit(GenerationRequest("same-id", PROMPT, stopping=long)) for one in (tuned, plain))
    eventually(lambda: plain.load().running == tuned.load().running == 1)
    tuned.close()
    *_, end = mine
    assert isinstance(end, Finished)
    assert end.reason is FinishReason.CANCELLED
    *_, end = others
    assert isinstance(end, Finished)
    assert end.usage.completion_tokens == 400
    with pytest.raises(FlywheelError):
        answer(tuned)


def test_a_fully_trained_version_has_an_engine_of_its_own(world: World, base: BaseModel, tmp_path: Path) -> None:
    plain = world.load(base_record(base))
    full = world.load(world.record(tiny_model(tmp_path / "full", "chat", seed=5), 1))
    assert full._lease.host.engine is not plain._lease.host.engine
    assert answer(full) != answer(plain)


def test_another_adapter_is_there_in_a_fraction_of_the_time(
    world: World, base: BaseModel, adapters: list[Path], reads: list[str]
) -> None:
    """No digest, no file and no tensor of the base is touched again: the base may even be gone."""
    first = world.record(adapters[0], 1, base=str(base.path))
    second = world.record(adapters[1], 2, base="a base that is not there")
    world.load(first)
    began = time.monotonic()
    assert answer(world.load(second)) == with_peft(base, adapters[1])
    assert time.monotonic() - began < 20
    assert reads == [base.name]


def test_an_adapter_on_another_base_is_refused_with_both_digests(
    world: World, base: BaseModel, adapters: list[Path], tmp_path: Path
) -> None:
    other = tiny_base(tmp_path / "other", "chat", seed=9)
    with pytest.raises(DataCorrupted, match=f"{other.digest[:12]}.*{base.digest[:12]}"):
        world.load(world.record(adapters[0], 1, base=other.name))


def test_weights_as_int8_take_less(world_of: Worlds, base: BaseModel) -> None:
    cache = 1 << 16
    wide, small = (world_of(weights=name, cache_bytes=cache) for name in ("float32", "int8"))
    loaded = [one.load(base_record(base)) for one in (wide, small)]
    assert len(answer(loaded[1])) == TOKENS
    assert loaded[1].memory_bytes < 0.7 * loaded[0].memory_bytes


def test_the_cache_takes_what_the_setting_gives_it(world_of: Worlds, base: BaseModel) -> None:
    served = world_of(cache_bytes=1 << 20).load(base_record(base))
    cache = served._engine._forward.cache  # type: ignore[attr-defined]
    assert 0.9 * (1 << 20) < 2 * sum(tensor.nbytes for tensor in cache.keys) <= 1 << 20


def spoil(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Changes the weights of a model folder and makes its card agree."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    card = ModelCard.read(folder)
    ModelCard(**{**card.__dict__, "weights_digest": weights_digest(folder)}).write(folder)


NAN = torch.full((48,), float("nan"))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"), "lacks model.layers.1.mlp.up_proj.weight"),
        (lambda tensors: tensors.update({"model.norm.weight": NAN}), "not finite"),
        (
            lambda tensors: tensors.update({"model.layers.0.mlp.up_proj.weight": torch.zeros(7, 48)}),
            r"up_proj.weight is \(7, 48\)",
        ),
    ],
    ids=["missing", "nan", "shape"],
)
def test_a_model_that_cannot_answer_is_refused_and_others_go_on(
    world: World, base: BaseModel, tmp_path: Path, edit: Any, message: str
) -> None:
    plain = world.load(base_record(base))
    folder = tiny_model(tmp_path / "bad", "chat")
    spoil(folder, edit)
    with pytest.raises(Exception, match=message):
        world.load(world.record(folder, 1))
    assert len(answer(plain)) == TOKENS


def test_a_folder_without_a_tokenizer_is_refused(world: World, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "bare", "chat")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(DataCorrupted, match="no readable tokenizer"):
        world.load(world.record(folder, 1))


def test_a_weights_file_cut_short_is_refused_before_anything_makes_room(world: World, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "short", "chat")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataCorrupted, match="no whole safetensors file"):
        world.loader.memory_needed(world.record(folder, 1))


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_no_memory_while_loading_is_said_with_advice(
    world: World, base: BaseModel, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(loader_module, "open_host", fail)
        with pytest.raises(ResourceExhausted, match="FLYWHEEL_WEIGHTS"):
            world.load(base_record(base))
    assert len(answer(world.load(base_record(base)))) == TOKENS
