"""What a served model is and where its answers come from."""

from dataclasses import dataclass, replace

CHAMPION = "champion"
CANDIDATE = "candidate"
BASE = "base"
BASE_VERSION = 0


@dataclass(frozen=True, order=True)
class Key:
    """A model version; version 0 is the untouched base model of the pipeline."""

    model: str
    version: int

    def __str__(self) -> str:
        return f"{self.model} version {self.version}" if self.version else f"base model of {self.model}"


@dataclass(frozen=True)
class Lineage:
    """On every answer; see flywheel.common.v1.Lineage."""

    model: str
    version: int
    weights_digest: str = ""
    adapter_digest: str = ""
    run: str = ""
    dataset_version: int = 0
    report: str = ""
    engine: str = ""

    def by(self, engine: str) -> "Lineage":
        return replace(self, engine=engine)


@dataclass(frozen=True)
class VersionRecord:
    """What the database says of a model version, as far as serving needs it."""

    key: Key
    kind: str
    base: str
    method: str = ""
    weights_uri: str = ""
    lineage: Lineage = Lineage("", 0)
