"""The section `data` of the pipeline file: where rows come from, how they are made fit, and how they are divided.

One model a topic; rooms of ingestion take theirs and nothing else. Torch-free.
"""

from typing import Self

from pydantic import Field, field_validator, model_validator

from shared.pipelines.cleaning import Caps, Cleaning, Judgement, PersonalData
from shared.pipelines.part import Part
from shared.pipelines.retention import Retention
from shared.pipelines.sources import FollowedSource, check_names


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
    licence: str = Field(
        "", max_length=256, description="Licence of the rows, where a batch does not name another one."
    )
    retention: Retention | None = Field(
        None, description="When old dataset versions expire: {versions: N, days: D}; never without it."
    )
    cleaning: Cleaning = Field(default_factory=Cleaning, description="What is done to texts, and which are not taken.")
    personal_data: PersonalData = Field(
        default_factory=PersonalData, description="What is done where a text tells who somebody is."
    )
    toxic: Judgement = Field("flag", description="Texts with words of abuse, by a list of them: off, flag or reject.")
    caps: Caps = Field(default_factory=Caps, description="How many rows a source or a batch may bring in.")
    sources: list[FollowedSource] = Field(
        default_factory=list,
        description="Folders, prefixes and Redis Streams whose rows come by themselves: a list of {name, uri, every, "
        "format, encoding, fields, licence} or {name, stream, redis, batch_rows, batch_seconds, fields, licence}.",
    )

    @field_validator("sources")
    @classmethod
    def _told_apart(cls, value: list[FollowedSource]) -> list[FollowedSource]:
        check_names(value)
        return value
