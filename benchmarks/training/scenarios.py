"""What is trained: rows, base model and method, the same for every contender."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.quality.material import prepare
from benchmarks.quality.sources import read_source
from benchmarks.quality.studies import STUDIES, Sizes, Study
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.base import Example, Kind
from shared.pipelines.methods import MethodConfig, resolve_method

Row = dict[str, Any]


@dataclass(frozen=True)
class Scenario:
    """As a contender finds it in a file."""

    kind: str
    base: str
    bases: str
    """Folder of converted base models."""
    method: dict[str, Any]
    train: list[Row]
    validation: list[Row]
    threads: int
    seed: int = 0

    @property
    def config(self) -> MethodConfig:
        return resolve_method(self.kind, self.method)

    def write(self, path: Path) -> Path:
        path.write_text(json.dumps(vars(self)), encoding="utf-8")
        return path

    def first(self, rows: int) -> "Scenario":
        """The same with fewer rows to train on, and those to be judged by that have their labels."""
        train = self.train[:rows]
        known = {row.get("label") for row in train}
        return replace(self, train=train, validation=[row for row in self.validation if row.get("label") in known])


def read_scenario(path: Path) -> Scenario:
    return Scenario(**json.loads(path.read_text(encoding="utf-8")))


def intents(data: Path, bases: Path, threads: int, rows: int) -> Scenario:
    """CLINC150 on MiniLM, every weight trained."""
    method = {
        "name": "full",
        "learning_rate": 3e-4,
        "epochs": 3,
        "batch_size": 32,
        "max_length": 128,
        "schedule": "linear",
        "warmup_ratio": 0.1,
    }
    return _of(_study("intents"), data, bases, threads, method, Sizes(rows, 600, 1))


def chat(data: Path, bases: Path, threads: int, rows: int) -> Scenario:
    """Answers to questions about Python, packaged, on SmolLM2 with LoRA."""
    method = {"name": "lora", "learning_rate": 1e-3, "epochs": 1, "batch_size": 8, "max_length": 512}
    return _of(_study("support"), data, bases, threads, method, Sizes(rows, 40, 1))


def encode(scenario: Scenario, kind: Kind, tokenizer: Any, labels: tuple[str, ...]) -> tuple[list[Example], ...]:
    """Examples to train on and to be judged by."""
    limit = scenario.config.max_length
    sides = (scenario.train, scenario.validation)
    return tuple(kind.encode(tokenizer, rows, labels, limit).examples for rows in sides)


def _study(name: str) -> Study:
    return next(study for study in STUDIES if study.name == name)


def _of(study: Study, data: Path, bases: Path, threads: int, method: dict[str, Any], sizes: Sizes) -> Scenario:
    material = prepare(study, read_source(study.source, data), sizes)
    known = find_kind(study.kind).learn_labels(material.train)
    judged = [row for row in material.test if not known or row["label"] in known]
    return Scenario(study.kind, study.base, str(bases), method, material.train, judged, threads)
