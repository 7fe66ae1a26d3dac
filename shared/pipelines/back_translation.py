"""Paraphrases of train texts by two served translation models: which texts, and who translates them. Torch-free.

A text put into another language and back says the same in other words (Yu et al. 2018, QANet,
https://arxiv.org/abs/1804.09541).
"""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

SERVED = re.compile(r"(?P<model>[a-z][a-z0-9-]{0,62})(?:@(?P<which>champion|candidate|[1-9][0-9]{0,8}))?")

READ = {
    "classification": ("text", "text_pair"),
    "embedding": ("query",),
    "ranking": ("query",),
    "answer_selection": ("question",),
}
"""Fields of a kind that are read and not learnt, and so may be said in other words."""


@dataclass(frozen=True)
class ServedModel:
    """A model that the platform serves, by alias or, where that is not 0, by version."""

    name: str
    alias: str = ""
    version: int = 0

    @classmethod
    def of(cls, text: str) -> Self:
        """Of MODEL, MODEL@champion, MODEL@candidate or MODEL@VERSION. Raises ValueError."""
        match = SERVED.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} should read MODEL or MODEL@VERSION, a translation model that is served")
        which = match["which"] or "champion"
        return cls(match["model"], version=int(which)) if which.isdigit() else cls(match["model"], which)


class BackTranslation(BaseModel):
    """Some texts in other words: translated `there` and `back` before training, by models that are served."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    there: str = Field(description="Translation model into another language: MODEL (its champion) or MODEL@VERSION.")
    back: str = Field(description="Translation model back: MODEL (its champion) or MODEL@VERSION.")
    share: float = Field(
        0.3, gt=0, le=1, description="Share of train rows that get a paraphrase, read in every other epoch or so."
    )

    @field_validator("there", "back")
    @classmethod
    def _is_served(cls, value: str) -> str:
        ServedModel.of(value)
        return value

    @model_validator(mode="after")
    def _goes_there_and_back(self) -> Self:
        if ServedModel.of(self.there).name == ServedModel.of(self.back).name:
            raise ValueError(f"back: {self.back!r} translates there, too; name a model of the other direction")
        return self

    @property
    def translators(self) -> dict[str, ServedModel]:
        """By key, in the order in which they are asked."""
        return {"there": ServedModel.of(self.there), "back": ServedModel.of(self.back)}

    def draws(self, seed: int, row_id: str) -> bool:
        """Whether a row gets a paraphrase: a pure function of seed and row."""
        digest = blake2b(f"{seed}/back-translation/{row_id}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) < self.share * 2**64
