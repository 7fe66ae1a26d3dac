"""Loading a model with the head of a kind on it."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from shared.errors import InvalidArgument

HEAD_PARTS = ("classifier", "score", "pooler", "pre_classifier", "head", "qa_outputs")
"""Parts that a base without the head may lack."""


def load_with_head(
    models: Any, folder: Path, kind: str, options: Mapping[str, Any], may_lack: Collection[str] = HEAD_PARTS
) -> PreTrainedModel:
    """The float32 model of one of transformers' auto classes. Raises InvalidArgument when weights are missing that
    are no part of a head, or the architecture has no such head."""
    try:
        model, report = models.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=bool(may_lack),
            output_loading_info=True,
            **options,
        )
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            raise
        raise InvalidArgument(f"base model {folder.name} has no head for kind {kind}", field="base") from None
    strange = sorted(key for key in report["missing_keys"] if not set(key.split(".")) & set(may_lack))
    if strange:
        raise InvalidArgument(f"base model {folder.name} lacks weights such as {strange[0]}", field="base")
    return cast(PreTrainedModel, model)


def label_options(labels: tuple[str, ...]) -> dict[str, Any]:
    """The head's size and names, for a configuration."""
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
