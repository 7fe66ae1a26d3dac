"""How rows are divided, and what is done about rows that are like others."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from shared.pipelines.part import Part


class Splits(Part):
    """Shares of rows; the rest is trained on. A row's side is fixed by its content and never changes."""

    validation: float = Field(0.1, ge=0, lt=1, description="Share of rows that steer training.")
    test: float = Field(0.15, gt=0, lt=1, description="Share of rows that judge; never trained on.")
    group: str | None = Field(
        None, min_length=1, description="The product's field by which rows stay together: a conversation, a user."
    )
    stratify: bool = Field(False, description="Labels have the same shares in validation as elsewhere.")
    by_time: str | None = Field(
        None, min_length=1, description="The product's field with a row's time; a batch's newest rows validate."
    )
    official: str | None = Field(
        None, min_length=1, description="The product's field with the split that the publisher chose; kept and checked."
    )

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave no rows to train on")
        if self.stratify and self.by_time:
            raise ValueError("stratify and by_time both choose the rows that validate; say one of them")
        if not self.validation and (self.stratify or self.by_time):
            raise ValueError(f"{'stratify' if self.stratify else 'by_time'} chooses rows that validate: give a share")
        return self


class NearDuplicates(Part):
    """Rows whose inputs are nearly the same: two words in a row are a shingle, and Jaccard similarity counts."""

    enabled: bool = Field(True, description="Look for near copies, also among all earlier rows.")
    threshold: float = Field(0.8, ge=0.5, le=1, description="Jaccard similarity from which rows are near copies.")
    keep: Literal["all", "first"] = Field(
        "all", description="all: near copies stay, on one side of the split; first: later ones are dropped."
    )


def _not_the_newest(value: Any) -> Any:
    if value == "newest":
        raise ValueError(
            "newest is not taken: a batch that nobody trusts yet would take earlier rows, test rows among them, out of the "
            "dataset, also when it is held afterwards; say reject, and to correct a label delete the row and send it again"
        )
    return value


Conflicts = Annotated[Literal["keep", "reject"], BeforeValidator(_not_the_newest)]


def check_dividing(splits: Splits, conflicts: Conflicts, kind: str, labelled: bool) -> None:
    """Raises ValueError for what can't work with the kind."""
    if splits.stratify and not labelled:
        raise ValueError(f"data.splits.stratify: rows of kind {kind} have no labels")
    if conflicts != "keep" and not labelled:
        raise ValueError(f"data.conflicts: rows of kind {kind} have no labels that could conflict")
