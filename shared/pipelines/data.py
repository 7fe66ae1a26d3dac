"""The section `data` of the pipeline file: where rows come from, how they are made fit, and how they are divided.

One model a topic; rooms of ingestion take theirs and nothing else. Torch-free.
"""

from pydantic import Field, field_validator

from shared.pipelines.cleaning import Caps, Cleaning, Judgement, PersonalData
from shared.pipelines.dividing import Conflicts, NearDuplicates, Splits
from shared.pipelines.part import Part
from shared.pipelines.retention import Retention
from shared.pipelines.sources import FollowedSource, check_names


class Data(Part):
    fields: dict[str, str] = Field(
        default_factory=dict, description="Our field: the product's field; dots reach inside, as in tweet.body."
    )
    splits: Splits = Field(default_factory=Splits, description="How rows are divided.")
    near_duplicates: NearDuplicates = Field(
        default_factory=NearDuplicates, description="What is done about rows that are nearly the same."
    )
    conflicts: Conflicts = Field(
        "keep", description="The same input with another label: keep both, or reject the later one."
    )
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
