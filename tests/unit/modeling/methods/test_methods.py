"""What each method trains and leaves alone, and that what it saves is what it loads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from shared.errors import DataCorrupted, InvalidArgument
from shared.modeling.digests import file_digest
from shared.modeling.kinds import find_kind
from shared.modeling.loading import load_model
from shared.modeling.methods import METHODS, find_method
from shared.modeling.methods.adapters import AdapterMethod
from shared.pipelines.methods import ADAPTERS, VIRTUAL, MethodConfig
from tests.support.tiny_adapters import SMALL, tuned, tuned_folder
from tests.support.tiny_encoders import tiny_classifier, tiny_seq2seq
from tests.support.tiny_models import tiny_base

IDS = torch.tensor([[5, 6, 7, 8, 9, 0, 0], [5, 6, 7, 8, 9, 11, 12]])
MASK = torch.tensor([[1] * 5 + [0] * 2, [1] * 7])
LABELS = {"classification": ("bad", "good")}
KINDS = ("classification", "question_answering", "embedding", "chat")
CASES = [
    (kind, method) for kind in KINDS for method in METHODS if not (method == "head" and kind in ("embedding", "chat"))
]
TRAINED: dict[str, Callable[[str], bool]] = {
    "full": lambda name: True,
    "head": lambda name: False,
    "last_layers": lambda name: "layer.1." in name or "layers.1." in name or name == "model.norm.weight",
    "ia3": lambda name: "ia3_l" in name,
    "adalora": lambda name: any(part in name for part in ("lora_A", "lora_B", "lora_E")),
    "dora": lambda name: "lora_" in name,
} | {name: lambda name: "lora_A" in name or "lora_B" in name for name in ("lora", "rslora")}
TRAINED |= {name: lambda name: name.startswith("prompt_encoder.") for name in VIRTUAL}
HEADS = ("classifier", "pooler", "qa_outputs")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {kind: tiny_base(folder / kind, "chat" if kind == "chat" else "classification").path for kind in KINDS}


def outputs(model: Any) -> torch.Tensor:
    with torch.no_grad():
        made = model(input_ids=IDS, attention_mask=MASK)
    for name in ("logits", "start_logits", "last_hidden_state"):
        if getattr(made, name, None) is not None:
            found: torch.Tensor = getattr(made, name)
            return found
    raise AssertionError(made)


@pytest.mark.parametrize(("kind", "method"), CASES)
def test_only_what_the_method_is_about_changes(bases: dict[str, Path], kind: str, method: str) -> None:
    torch.manual_seed(0)
    config = MethodConfig(name=method, **SMALL)
    fresh = find_kind(kind).load(bases[kind], LABELS.get(kind, ()))
    model: Any = find_method(method).prepare(fresh, kind, config)
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    head = {name for name in trained if any(part in name for part in HEADS)}
    allowed = TRAINED[method]
    assert trained
    assert all(allowed(name) for name in trained - head)
    assert bool(head) == (kind not in ("embedding", "chat")) or method == "full"

    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW((value for value in model.parameters() if value.requires_grad), lr=0.1)
    made: Any = model.train(True)(input_ids=IDS, attention_mask=MASK)
    learnt = [getattr(made, name, None) for name in ("logits", "start_logits", "end_logits", "last_hidden_state")]
    torch.autograd.backward(torch.stack([part.square().sum() for part in learnt if part is not None]).sum())
    optimizer.step()
    after = model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert moved <= {*trained, "lm_head.weight"}  # tied to the embeddings
    assert {name for name, _ in model.named_buffers()}.isdisjoint(moved)


@pytest.mark.parametrize(("kind", "method"), [(kind, method) for kind, method in CASES if method in ADAPTERS])
def test_an_adapter_loads_as_it_was_saved(tmp_path: Path, bases: dict[str, Path], kind: str, method: str) -> None:
    labels = LABELS.get(kind, ())
    model = tuned(bases[kind], kind, method, labels)
    folder = tuned_folder(tmp_path / "version", bases[kind], kind, method, labels)
    apart = load_model(folder, base=bases[kind], merge=False).model
    merged = load_model(folder, base=bases[kind]).model
    assert torch.equal(outputs(apart), outputs(model))
    found = find_method(method)
    assert isinstance(found, AdapterMethod)
    assert isinstance(merged, PeftModel) != found.mergeable
    torch.testing.assert_close(outputs(merged), outputs(model), atol=2e-4, rtol=2e-4)
    untouched = find_kind(kind).load(bases[kind], labels).train(False)
    assert (outputs(untouched) - outputs(model)).abs().max() > 1e-3

    again = tmp_path / "again"
    again.mkdir()
    find_method(method).save(apart, again, str(bases[kind]))
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert file_digest(again / name) == file_digest(folder / name), name


@pytest.mark.parametrize("method", ["full", "head", "last_layers"])
def test_a_whole_model_loads_as_it_was_saved(tmp_path: Path, bases: dict[str, Path], method: str) -> None:
    base, labels = bases["classification"], LABELS["classification"]
    model = tuned(base, "classification", method, labels)
    folder = tuned_folder(tmp_path / "version", base, "classification", method, labels)
    loaded = load_model(folder)
    assert torch.equal(outputs(loaded.model), outputs(model))
    find_method(method).save(loaded.model, tmp_path / "again", str(base))
    name = "model.safetensors"
    assert file_digest(tmp_path / "again" / name) == file_digest(folder / name)


@pytest.mark.parametrize("method", ["lora", "adalora", "ia3", "prefix_tuning", "prompt_tuning", "p_tuning"])
def test_adapters_load_with_plain_peft(tmp_path: Path, bases: dict[str, Path], method: str) -> None:
    for kind, models in (("chat", AutoModelForCausalLM), ("classification", AutoModelForSequenceClassification)):
        labels = LABELS.get(kind, ())
        folder = tuned_folder(tmp_path / kind, bases[kind], kind, method, labels)
        plain = PeftModel.from_pretrained(models.from_pretrained(bases[kind]), str(folder)).train(False)
        inputs = {"input_ids": IDS[1:], "attention_mask": MASK[1:]}
        with torch.no_grad():
            theirs = plain(**inputs).logits
            ours = load_model(folder, base=bases[kind], merge=False).model(**inputs).logits
        if theirs.dim() == 3:
            theirs = theirs[:, -ours.shape[1] :]
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", ["prefix_tuning", "prompt_tuning", "p_tuning"])
@pytest.mark.parametrize("kind", ["classification", "question_answering", "chat"])
def test_company_in_a_batch_changes_nothing_behind_virtual_tokens(
    bases: dict[str, Path], kind: str, method: str
) -> None:
    model = tuned(bases[kind], kind, method, LABELS.get(kind, ()))
    with torch.no_grad():
        alone = outputs_of(model(input_ids=IDS[:1, :5], attention_mask=MASK[:1, :5]))
        together = outputs_of(model(input_ids=IDS, attention_mask=MASK))
    expected = together[:1] if alone.dim() == 2 and kind == "classification" else together[:1, :5]
    torch.testing.assert_close(alone, expected, atol=1e-5, rtol=1e-5)


def outputs_of(made: Any) -> torch.Tensor:
    found: torch.Tensor = made.start_logits if hasattr(made, "start_logits") else made.logits
    return found


@pytest.mark.parametrize("method", ["prefix_tuning", "prompt_tuning", "p_tuning"])
def test_answers_behind_virtual_tokens_do_not_depend_on_padding(bases: dict[str, Path], method: str) -> None:
    model: Any = tuned(bases["chat"], "chat", method)
    settings = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 2, "eos_token_id": -1}
    short = model.generate(input_ids=IDS[:1, :3], attention_mask=MASK[:1, :3], **settings)[:, 3:]
    padded = torch.tensor([[0, 0, *IDS[0, :3].tolist()], IDS[1, :5].tolist()])
    mask = torch.tensor([[0, 0, 1, 1, 1], [1] * 5])
    both = model.generate(input_ids=padded, attention_mask=mask, **settings)
    assert torch.equal(both[:, :5], padded)
    assert torch.equal(both[:1, 5:], short)


@pytest.mark.parametrize("method", ADAPTERS)
def test_changed_adapters_are_refused(tmp_path: Path, bases: dict[str, Path], method: str) -> None:
    """A head of another size, here: the card has two labels and the adapter three."""
    base = bases["classification"]
    folder = tuned_folder(tmp_path / "version", base, "classification", method, ("a", "b", "c"))
    card = (folder / "flywheel.json").read_text()
    (folder / "flywheel.json").write_text(card.replace('  "c"\n', "").replace('"b",', '"b"'))
    with pytest.raises(DataCorrupted, match=r"classifier.*\(3,.*ask for \(2,"):
        load_model(folder, base=base)


def test_a_whole_model_with_a_head_of_another_size_is_refused(tmp_path: Path, bases: dict[str, Path]) -> None:
    base = bases["classification"]
    folder = tuned_folder(tmp_path / "version", base, "classification", "head", ("a", "b", "c"))
    card = (folder / "flywheel.json").read_text()
    (folder / "flywheel.json").write_text(card.replace('  "c"\n', "").replace('"b",', '"b"'))
    with pytest.raises(DataCorrupted, match=r"classifier.* is \(3.*ask for \(2"):
        load_model(folder)


@pytest.mark.parametrize("spoil", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_that_can_not_be_read_is_said_so(tmp_path: Path, bases: dict[str, Path], spoil: str) -> None:
    model = find_kind("chat").load(bases["chat"], ())
    folder = tuned_folder(tmp_path / "version", bases["chat"], "chat", "ia3")
    (folder / spoil).write_bytes(b"{ not this")
    with pytest.raises(DataCorrupted, match=f"no readable {spoil}"):
        find_method("ia3").attach(model, folder, merge=True)


@pytest.mark.parametrize(
    ("make", "method", "keys", "words"),
    [
        (lambda: tiny_seq2seq("t5"), "prompt_tuning", {}, "sequence-to-sequence"),
        (lambda: tiny_seq2seq("bart"), "prefix_tuning", {}, "sequence-to-sequence"),
        (lambda: tiny_classifier("distilbert"), "prefix_tuning", {}, "distilbert take no keys"),
        (lambda: tiny_classifier("roberta"), "lora", {"targets": ("q_proj",)}, "'q_proj'; it has dense, key"),
        (lambda: tiny_classifier("roberta"), "p_tuning", {"virtual_tokens": 48}, "leave no text"),
        (lambda: tiny_classifier("roberta"), "last_layers", {"layers": 3}, "more than the 2 layers"),
        (lambda: tiny_seq2seq("t5"), "head", {}, "no new head"),
        (lambda: tiny_seq2seq("t5"), "last_layers", {"layers": 3}, "more than the 2 layers"),
    ],
)
def test_a_base_that_can_not_be_adapted_so_is_refused(
    make: Callable[[], Any], method: str, keys: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidArgument, match=words):
        find_method(method).prepare(make(), "kind", MethodConfig(name=method, **keys))


@pytest.mark.parametrize("make", [lambda: tiny_classifier("distilbert"), lambda: tiny_classifier("roberta")])
@pytest.mark.parametrize("method", ["lora", "dora", "ia3", "prompt_tuning", "last_layers"])
def test_other_families_are_adapted_too(tmp_path: Path, make: Callable[[], Any], method: str) -> None:
    torch.manual_seed(1)
    config = MethodConfig(name=method, **SMALL)
    model: Any = find_method(method).prepare(make(), "classification", config).train(False)
    heads = [name for name, value in model.named_parameters() if value.requires_grad and "classifier" in name]
    assert heads
    if method in ADAPTERS:
        find_method(method).save(model, tmp_path, "base")
        again = find_method(method).attach(make().train(False), tmp_path, merge=True).train(False)
        torch.testing.assert_close(outputs(again), outputs(model), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["t5", "bart"])
@pytest.mark.parametrize("method", ["lora", "adalora", "ia3"])
def test_sequence_to_sequence_models_are_adapted_too(tmp_path: Path, family: str, method: str) -> None:
    torch.manual_seed(1)
    config = MethodConfig(name=method, **SMALL)
    model: Any = find_method(method).prepare(tiny_seq2seq(family), "translation", config).train(False)
    find_method(method).save(model, tmp_path, "base")
    again: Any = find_method(method).attach(tiny_seq2seq(family), tmp_path, merge=True).train(False)
    with torch.no_grad():
        ours, theirs = (m(input_ids=IDS, attention_mask=MASK, decoder_input_ids=IDS).logits for m in (model, again))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_named_targets_alone_are_adapted(bases: dict[str, Path]) -> None:
    config = MethodConfig(name="lora", targets=("q_proj", "mlp.down_proj"))
    model: Any = find_method("lora").prepare(find_kind("chat").load(bases["chat"], ()), "chat", config)
    layers = {name.split(".lora_")[0].rpartition(".")[2] for name, _ in model.named_parameters() if "lora_" in name}
    assert layers == {"q_proj", "down_proj"}


def test_a_pooler_without_use_gets_no_adapter(bases: dict[str, Path]) -> None:
    model = tuned(bases["embedding"], "embedding", "lora")
    assert not [name for name, _ in model.named_parameters() if "pooler" in name and "lora" in name]
