"""`flywheel.json`: what a model folder is, who made it and from what. Torch-free."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from shared.errors import DataCorrupted

FILE_NAME = "flywheel.json"


@dataclass(frozen=True)
class ModelCard:
    """Lies in every model folder that Flywheel writes."""

    kind: str
    method: str
    labels: tuple[str, ...]
    """In the order of the model's outputs; empty for kinds without labels."""
    base: str
    base_digest: str
    """Over the base model's weights, config and tokenizer; an adapter loads on no other base."""
    max_length: int
    """Tokens a row may have; longer inputs are cut as in training."""
    weights_digest: str
    """Of the full weights: this folder's, or for an adapter those of its base."""
    adapter_digest: str
    """Empty when there is no adapter."""
    run: str
    dataset_digest: str
    precision: str
    """Arithmetic of the training steps: float32 or bfloat16."""
    prompt: str = ""
    """What a text is put into before the model reads it, with {text} and, where it translates, {source} and {target};
    empty when the model reads the text as it stands."""
    options: dict[str, Any] = field(default_factory=dict)
    """The task kind's options that the model was trained with."""
    conditions: dict[str, Any] = field(default_factory=dict)
    """What else decided the bytes: device, precision, threads, processor, libraries."""
    started_from: str = ""
    """Digest of the weights or adapter that training began with; empty: the base model as it is."""

    def write(self, folder: Path) -> None:
        (folder / FILE_NAME).write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises DataCorrupted when the folder has no card or one that can't be read."""
        try:
            document = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
            known = {one.name: document[one.name] for one in fields(cls) if one.name in document}
            card = cls(**{**known, "labels": tuple(known["labels"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataCorrupted(f"no readable {FILE_NAME} in model folder {folder.name}: {error!r}") from None
        return card
