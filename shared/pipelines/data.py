"""The section `data` of the pipeline file: where rows come from, how they are made fit, and how they are divided.

One model a topic; rooms of ingestion take theirs and nothing else. Torch-free.
"""

from typing import Self

from pydantic import Field, model_validator

from shared.pipelines.part import Part


class Splits(Part):
    """Shares of rows; the rest is trained on. A row's side is fixed by its content."""

    validation: float = Field(0.1, ge=0, lt=1, description="Share of rows that steer training.")
    test: float = Field(0.15, gt=0, lt=1, description="Share of rows that judge; never trained on.")

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave no rows to train on")
        return self


class Data(Part):
    fields: dict[str, str] = Field(
        default_factory=dict, description="Our field: the product's field; dots reach inside, as in tweet.body."
    )
    splits: Splits = Field(default_factory=Splits, description="How rows are divided.")
