"""How long dataset versions can be read."""

from typing import Self

from pydantic import Field, model_validator

from shared.pipelines.part import Part


class Retention(Part):
    """An old version expires when either limit is passed: its figures stay, its rows can't be read any more.

    Never the newest, nor one that the champion or the candidate was trained or judged on, nor one that a job needs.
    """

    versions: int | None = Field(None, ge=1, description="Only so many of the newest versions stay readable.")
    days: float | None = Field(None, gt=0, description="A version stays readable for so many days.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.versions is None and self.days is None:
            raise ValueError("retention: say versions, days or both; without the section every version stays")
        return self
