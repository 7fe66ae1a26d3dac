"""Keys of a method that say what is made of the train rows. Torch-free."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from shared.pipelines.back_translation import BackTranslation

PACKED = ("translation", "summarisation", "chat", "instruction", "generation")

_WRITTEN = "the text is what is learnt"
_PLACES = "what is right is a place in the text"
NOT_AUGMENTED = {
    "token_classification": "every word has a tag of its own",
    "relation_extraction": _PLACES,
    "question_answering": _PLACES,
    "translation": "what is read must go on meaning what is written",
    "summarisation": "what is read must go on meaning what is written",
    "chat": _WRITTEN,
    "instruction": _WRITTEN,
    "generation": _WRITTEN,
    "pretraining": _WRITTEN,
}
"""Kinds that can't learn from changed texts, and why."""


class Augmentation(BaseModel):
    """Texts as they are read while a model is trained, changed anew in every epoch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token_dropout: float = Field(
        0.0, ge=0, le=0.9, description="Share of tokens that are masked (left out where the model has no mask)."
    )
    word_swap: float = Field(0.0, ge=0, le=1, description="Share of words that change places with another.")
    word_delete: float = Field(0.0, ge=0, le=0.9, description="Share of words that are left out.")
    back_translation: BackTranslation | None = Field(
        None, description="Texts in other words, made by two served translation models before training."
    )

    @model_serializer(mode="wrap")
    def _as_it_was_before_there_were_paraphrases(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Runs without them keep their identity."""
        fields: dict[str, Any] = dump(self)
        return fields if self.back_translation else {key: fields[key] for key in fields if key != "back_translation"}


class Replay(BaseModel):
    """Rows that the champion has learnt, learnt again so that they are not forgotten."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(0.2, gt=0, le=0.9, description="Share of an epoch's rows that are earlier ones.")


def check_train_rows(kind: str, method: str, given: Mapping[str, Any], virtual: bool) -> None:
    """Raises ValueError naming the key that has no effect; `virtual`: whether the method puts tokens before texts."""
    if given.get("augmentation") is not None and kind in NOT_AUGMENTED:
        raise ValueError(f"method.augmentation: not with kind {kind}: {NOT_AUGMENTED[kind]}")
    if given.get("replay") is not None and given.get("rows", "all") == "all":
        raise ValueError("method.replay: has an effect only with method.rows: new; all rows are learnt as it is")
    packing = given.get("packing", "auto")
    if packing == "auto":
        return
    if kind == "pretraining":
        raise ValueError("method.packing: pretraining packs documents into blocks in any case; leave it at auto")
    if packing and kind not in PACKED:
        raise ValueError(f"method.packing: kind {kind} can't be packed, only {', '.join(PACKED)}; leave it at auto")
    if packing and virtual:
        raise ValueError(
            f"method.packing: the virtual tokens of {method} stand before a line, not before each text of it; leave it "
            "at auto"
        )
