"""What a run of each method leaves: frozen weights byte for byte, an adapter equal to its merge, a folder that saves as it loads."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, set_seed

from services.finetuning.spec import EXIT_FINISHED, TrainingSpec
from services.finetuning.training import app
from services.finetuning.training.model import output
from shared.modeling.digests import file_digest
from shared.modeling.kinds import find_kind
from shared.modeling.loading import LoadedModel, load_model
from shared.modeling.methods import METHODS, find_method
from tests.finetuning.running import run_over_a_pipe
from tests.support.training_runs import make_spec, some_rows

SMALL = {
    "lora_rank": {"lora_rank": 3},
    "initial_rank": {"lora_rank": 2, "initial_rank": 4},
    "virtual_tokens": {"virtual_tokens": 4},
    "layers": {"layers": 1},
}
KEYS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("lora", "rslora", "dora"), SMALL["lora_rank"]),
    **dict.fromkeys(("prefix_tuning", "prompt_tuning", "p_tuning"), SMALL["virtual_tokens"]),
    "adalora": SMALL["initial_rank"],
    "last_layers": SMALL["layers"],
}
CASES = [("classification", method) for method in METHODS]
CASES += [("chat", method) for method in ("full", "lora", "adalora", "ia3", "prefix_tuning")]
IDS = torch.tensor([[5, 6, 7, 8, 9, 11, 12], [13, 6, 5, 20, 21, 22, 23]])


def trained(spec: TrainingSpec, monkeypatch: pytest.MonkeyPatch) -> PreTrainedModel:
    """Runs it; the model as it was in memory when it had been saved."""
    seen: list[PreTrainedModel] = []
    write = output.write_model

    def watched(target: Path, model: PreTrainedModel, *others: Any) -> Any:
        card = write(target, model, *others)
        seen.append(model)
        return card

    monkeypatch.setattr(app, "write_model", watched)
    code, events = run_over_a_pipe(spec)
    assert code == EXIT_FINISHED, events[-1]
    return seen[0]


def untrained(spec: TrainingSpec) -> PreTrainedModel:
    """The model before the first step."""
    labels = ("label-0", "label-1") if spec.kind == "classification" else ()
    set_seed(spec.seed)
    return find_method(spec.method.name).prepare(
        find_kind(spec.kind).load(Path(spec.base), labels), spec.kind, spec.method
    )


def logits(model: Any) -> torch.Tensor:
    model.train(False)
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits
    return found


def loaded(spec: TrainingSpec, merge: bool) -> LoadedModel:
    base = Path(spec.base) if find_method(spec.method.name).adapter else None
    return load_model(spec.output_dir, base=base, merge=merge)


@pytest.mark.parametrize(("kind", "method"), CASES)
def test_frozen_weights_stay_and_what_is_saved_is_what_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, method: str
) -> None:
    keys = {"name": method, "learning_rate": 2e-2, "epochs": 2, **KEYS.get(method, {})}
    spec = make_spec(tmp_path, kind, some_rows(kind, 12), keys)
    base_file = Path(spec.base) / "model.safetensors"
    base_bytes = base_file.read_bytes()
    model = trained(spec, monkeypatch)

    before, after = dict(untrained(spec).named_parameters()), dict(model.named_parameters())
    assert before.keys() == after.keys()
    frozen = {name for name, value in before.items() if not value.requires_grad}
    changed = {name for name in before if not torch.equal(before[name].detach(), after[name].detach())}
    assert changed
    assert changed.isdisjoint(frozen), changed & frozen
    assert bool(frozen) == (method != "full")
    assert base_file.read_bytes() == base_bytes

    apart = loaded(spec, merge=False).model
    # Training computes attention in its own way, so the last bits may differ.
    torch.testing.assert_close(logits(apart), logits(model), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits(loaded(spec, merge=True).model), logits(apart), rtol=2e-4, atol=2e-4)
    assert (logits(untrained(spec)) - logits(apart)).abs().max() > 1e-3

    again = tmp_path / "again"
    again.mkdir()
    find_method(method).save(apart, again, str(spec.base))
    names = [path.name for path in again.glob("*.safetensors")]
    assert names
    assert [file_digest(again / name) for name in names] == [file_digest(spec.output_dir / name) for name in names]
