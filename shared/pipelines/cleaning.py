"""Keys of `data` that make rows fit: cleaning, personal data, toxic texts, caps. Torch-free.

All that changes a text is off unless the pipeline asks for it, so that a row keeps its identity.
"""

from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from shared.pipelines.countries import COUNTRIES
from shared.pipelines.languages import LANGUAGES
from shared.pipelines.part import Part


def _off(value: Any) -> Any:
    """YAML reads the word off as false."""
    return "off" if value is False else value


Judgement = Annotated[Literal["off", "flag", "reject"], BeforeValidator(_off)]
Policy = Annotated[Literal["off", "flag", "mask", "hash", "reject"], BeforeValidator(_off)]
CORE_KINDS = (
    "email",
    "phone",
    "credit_card",
    "iban",
    "us_ssn",
    "cn_identity_number",
    "ip_address",
    "url_credentials",
)
"""Personal data that is looked for unless the pipeline says otherwise."""
NATIONAL_KINDS = (
    "au_abn",
    "au_acn",
    "au_medicare",
    "au_tfn",
    "de_tax_id",
    "es_nie",
    "es_nif",
    "fi_identity_code",
    "in_aadhaar",
    "it_fiscal_code",
    "kr_rrn",
    "pl_pesel",
    "se_personnummer",
    "th_national_id",
    "tr_identity_number",
    "uk_nhs",
    "za_identity_number",
)
"""Identity numbers of countries; only those that a pipeline names."""


def _known(kind: str) -> str:
    known = (*CORE_KINDS, *NATIONAL_KINDS)
    if kind not in known:
        near = get_close_matches(kind, known, n=1)
        raise ValueError(
            f"unknown kind; did you mean {near[0]!r}?" if near else f"unknown kind; there are {', '.join(known)}"
        )
    return kind


Kind = Annotated[str, AfterValidator(_known)]


class Bounds(Part):
    """From `least` to `most`, both allowed; one of them may be absent."""

    least: int | None = Field(None, ge=0, description="Rows with fewer are not accepted.")
    most: int | None = Field(None, ge=1, description="Rows with more are not accepted.")

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        if self.least is None and self.most is None:
            raise ValueError("needs least, most, or both")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError(f"least={self.least} is more than most={self.most}")
        return self


class Cleaning(Part):
    """What is done to texts, and which texts are not taken."""

    html: bool = Field(False, description="HTML tags go, entities become the characters that they stand for.")
    unicode: Literal["nfc", "nfkc"] = Field(
        "nfc", description="Form that texts are brought into; nfkc also makes full-width letters and digits plain."
    )
    control_characters: bool = Field(False, description="Control and invisible characters go.")
    whitespace: bool = Field(False, description="Runs of blanks become one, of empty lines one; ends are trimmed.")
    characters: Bounds | None = Field(None, description="Bounds of a row's texts together, in characters.")
    words: Bounds | None = Field(None, description="The same in words; a Chinese character counts as one.")
    languages: list[str] | None = Field(
        None, description="Languages that are taken, such as [zh, en]; texts too short to tell are taken."
    )
    repetition: Judgement = Field(
        "off", description="Texts that are a few characters or lines over and over: off, flag or reject."
    )

    @field_validator("languages")
    @classmethod
    def _known_languages(cls, value: list[str] | None) -> list[str] | None:
        if value is not None:
            if not value:
                raise ValueError("names no language; leave it out to take all")
            unknown = sorted(set(value) - LANGUAGES)
            if unknown:
                raise ValueError(
                    f"unknown languages {', '.join(unknown)}; codes are those of ISO 639-1, such as zh, en"
                )
        return value

    @property
    def changing(self) -> list[str]:
        """Rules in force that may change a text's length."""
        asked = {
            "html": self.html,
            "unicode": self.unicode == "nfkc",
            "control_characters": self.control_characters,
            "whitespace": self.whitespace,
        }
        return [name for name, on in asked.items() if on]


class PersonalData(Part):
    """What is done where a text tells who somebody is. Labels are never touched."""

    policy: Policy = Field("off", description="off, flag, mask (<EMAIL>), hash (joins stay possible) or reject.")
    kinds: list[Kind] = Field(
        list(CORE_KINDS),
        description=f"What is looked for: {', '.join(CORE_KINDS)}; also {', '.join(NATIONAL_KINDS)}.",
    )
    policies: dict[Kind, Policy] = Field(default_factory=dict, description="Kind: its own policy, where it differs.")
    phone_regions: list[str] = Field(
        default_factory=list,
        description="Countries, such as US or DE, whose phone numbers count without +, too; Chinese mobiles always do.",
    )

    @field_validator("kinds")
    @classmethod
    def _some_kinds(cls, value: list[Kind]) -> list[Kind]:
        if not value:
            raise ValueError("names no kind; use policy: off")
        return list(dict.fromkeys(value))

    @field_validator("phone_regions")
    @classmethod
    def _country_codes(cls, value: list[str]) -> list[str]:
        unknown = sorted(set(value) - COUNTRIES)
        if unknown:
            raise ValueError(
                f"unknown countries {', '.join(unknown)}; codes are those of ISO 3166, such as US, DE or GB"
            )
        return value

    @model_validator(mode="after")
    def _policies_have_an_effect(self) -> Self:
        idle = sorted(set(self.policies) - set(self.kinds))
        if idle:
            raise ValueError(f"policies names {', '.join(idle)}, which kinds does not; add it to kinds")
        return self

    @property
    def in_force(self) -> dict[Kind, Policy]:
        """Kind -> what is done, of those that are looked for."""
        wanted = {kind: self.policies.get(kind, self.policy) for kind in self.kinds}
        return {kind: policy for kind, policy in wanted.items() if policy != "off"}

    @property
    def changing(self) -> list[str]:
        """Policies in force that change a text's length."""
        return sorted({policy for policy in self.in_force.values() if policy in ("mask", "hash")})


class Caps(Part):
    """Counts, not shares: a few hundred poisoned rows suffice in a dataset of any size."""

    per_source: int | None = Field(None, ge=1, description="Rows of one source that the dataset takes in.")
    per_batch: int | None = Field(None, ge=1, description="Rows that one batch brings in.")


PLACES = {
    "token_classification": "tags are counted by words",
    "relation_extraction": "head and tail are places in the text",
    "question_answering": "answers are places in the context",
}
"""Kinds whose texts must keep their length, and why."""


def check_cleaning(kind: str, cleaning: Cleaning, personal_data: PersonalData) -> None:
    """Raises ValueError for rules that would move the places that a kind's rows name."""
    if kind not in PLACES:
        return
    for section, names in (("cleaning", cleaning.changing), ("personal_data", personal_data.changing)):
        if names:
            raise ValueError(
                f"data.{section}: {', '.join(names)} changes the length of texts, but of kind {kind} {PLACES[kind]}; "
                "rules that flag or reject can be used"
            )
