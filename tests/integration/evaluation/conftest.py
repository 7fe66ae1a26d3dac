from pathlib import Path

import pytest
import torch

from services.evaluation.frozen import Row
from shared.modeling.card import ModelCard
from shared.modeling.digests import adapter_digest, weights_digest
from shared.modeling.kinds import find_kind
from shared.modeling.loading import load_tokenizer
from shared.modeling.methods import find_method
from shared.pipelines.methods import resolve_method
from tests.integration.evaluation.world import chat_rows, sentiment_rows
from tests.support.tiny_models import tiny_model

LABELS = ("bad", "good")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that has learnt the labels."""
    return taught(tmp_path_factory.mktemp("models") / "good", "classification", sentiment_rows(32))


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that has learnt the labels turned round."""
    return taught(tmp_path_factory.mktemp("models") / "spoiled", "classification", sentiment_rows(32, flipped=True))


@pytest.fixture(scope="module")
def assistant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that has learnt the answers."""
    return taught(tmp_path_factory.mktemp("models") / "assistant", "chat", chat_rows(16), method="lora")


def taught(folder: Path, kind_name: str, rows: list[Row], method: str = "full") -> Path:
    """A model folder with a card, overfitted on the rows."""
    tiny_model(folder.with_name("start"), kind_name, LABELS)
    base = folder.with_name("start-base" if method == "lora" else "start")
    kind, card = find_kind(kind_name), ModelCard.read(folder.with_name("start"))
    tokenizer = load_tokenizer(folder.with_name("start"))
    torch.manual_seed(0)
    model = find_method(method).prepare(
        kind.load(base, card.labels), kind_name, resolve_method(kind_name, {"name": method})
    )
    named = [{"row_id": str(number), **row} for number, row in enumerate(rows)]
    examples = kind.encode(tokenizer, named, card.labels, 64).examples
    batch = kind.collate(examples, int(tokenizer.pad_token_id))
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-2 if method == "lora" else 3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        torch.autograd.backward(kind.loss(model, batch) / sum(example.weight for example in examples))
        optimizer.step()
    folder.mkdir()
    find_method(method).save(model, folder, card.base)
    tokenizer.save_pretrained(folder)
    adapter = method == "lora"
    digests = {
        "weights_digest": weights_digest(base if adapter else folder),
        "adapter_digest": adapter_digest(folder) if adapter else "",
    }
    ModelCard(**{**card.__dict__, "method": method, **digests}).write(folder)
    return folder
