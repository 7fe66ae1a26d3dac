"""What a pipeline may say about its task kind, beyond what all kinds have. Torch-free."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from shared.pipelines.kinds import KINDS

TEXT = "{text}"


class Options(BaseModel):
    """Settings of the task kind; each belongs to the kinds named, and is refused elsewhere."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    multi_label: bool = Field(False, description="A row has any number of labels (classification).")
    threshold: float = Field(
        0.5, gt=0, lt=1, description="Least probability of a label that is given (classification with multi_label)."
    )
    stride: int = Field(
        64,
        ge=8,
        le=4096,
        description="Tokens that two windows of a long context share, at most a quarter of max_length "
        "(question_answering).",
    )
    negatives: int = Field(
        4, ge=0, le=64, description="Of a row's own negatives at most so many are used (ranking, embedding)."
    )
    temperature: float = Field(
        0.05, gt=0, le=10, description="Cosines are divided by it before the softmax (embedding)."
    )
    prompt: str | None = Field(
        None,
        description="What a causal model is asked: {text} stands for the input, {source} and {target} for languages "
        "(translation, summarisation, instruction).",
    )
    source_language: str = Field("", description="Language of the inputs, where the model must be told (translation).")
    target_language: str = Field("", description="Language of the outputs, where the model must be told (translation).")
    answer_tokens: int = Field(
        48, ge=1, le=4096, description="Tokens of an answer while a version is judged (kinds that write)."
    )
    answered_rows: int = Field(
        24, ge=1, le=5000, description="Test rows that are answered while a version is judged (kinds that write)."
    )
    objective: Literal["causal", "masked"] = Field(
        "causal", description="Learn the next token, or tokens that were masked (pretraining)."
    )
    mask_ratio: float = Field(0.15, gt=0, lt=1, description="Share of tokens that are masked (pretraining, masked).")
    architecture: Literal["llama", "gpt2", "bert"] | None = Field(
        None, description="Of a new model: llama or gpt2 for causal, bert for masked (pretraining from `base: new`)."
    )
    vocabulary: int = Field(
        8000, ge=64, le=500_000, description="Tokens of a new tokenizer (pretraining from `base: new`)."
    )
    hidden_size: int = Field(256, ge=8, le=16384, description="Width of a new model (pretraining from `base: new`).")
    layers: int = Field(4, ge=1, le=256, description="Layers of a new model (pretraining from `base: new`).")
    heads: int = Field(4, ge=1, le=256, description="Attention heads of a new model (pretraining from `base: new`).")
    positions: int = Field(
        512, ge=16, le=1_048_576, description="Tokens that a new model can read (pretraining from `base: new`)."
    )

    @field_validator("prompt")
    @classmethod
    def _has_a_place_for_the_text(cls, value: str | None) -> str | None:
        if value is not None and value.count(TEXT) != 1:
            raise ValueError(f"must hold {TEXT} once, where the input goes")
        return value

    @model_validator(mode="after")
    def _threshold_has_an_effect(self) -> Self:
        if not self.multi_label and self.threshold != type(self).model_fields["threshold"].default:
            raise ValueError("threshold: has an effect only with multi_label")
        return self

    @classmethod
    def of_kind(cls, kind: str, given: dict[str, Any]) -> Self:
        """Checked options of a kind. Raises ValueError naming a key that the kind does not have."""
        check_options(kind, given)
        return cls.model_validate(given)

    def chosen(self, kind: str) -> dict[str, Any]:
        """The kind's own keys with their values, for the model card."""
        return {key: getattr(self, key) for key in KINDS[kind].options}


def check_options(kind: str, given: dict[str, Any]) -> None:
    """Raises ValueError naming a key that has another value than its default and no meaning to the kind."""
    known = KINDS[kind].options
    for key, value in given.items():
        field = Options.model_fields.get(key)
        if key in known or (field is not None and value == field.default):
            continue
        belongs = [name for name, facts in KINDS.items() if key in facts.options]
        if belongs:
            raise ValueError(f"options.{key}: has an effect only with kind {', '.join(belongs)}, not {kind}")
