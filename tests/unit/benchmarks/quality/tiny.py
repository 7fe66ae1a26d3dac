"""A study of generated rows, and what each baseline reaches in it."""

from pathlib import Path
from typing import Any

from benchmarks.quality.baselines import BASELINES
from benchmarks.quality.cells import Cell
from benchmarks.quality.contenders import Tools
from benchmarks.quality.material import prepare
from benchmarks.quality.prompting import load_writer
from benchmarks.quality.running import measure
from benchmarks.quality.sources import RawRows
from benchmarks.quality.studies import Sizes, Study
from services.evaluation.kinds.base import Outputs
from services.evaluation.statistics import Measure

SIZES = Sizes(20, 8, 3)


def baselines(
    kind: str, metric: str, raw: RawRows, base: Path, writer: Path, **options: Any
) -> dict[str, tuple[Measure, Outputs]]:
    """Each baseline's measure on the rows that it answered, and its answers, by name."""
    study = Study("tiny", kind, "tiny", metric, SIZES, SIZES, base=str(base), options=options)
    material = prepare(study, raw, SIZES)
    tools = Tools(base.parent, base.parent, 1, lambda: load_writer(str(writer), base.parent))
    found = {one.name: one.answer(material, 0, tools).outputs for one in BASELINES[kind]}
    return {name: (measure(material, Cell(outputs, {}, 0.0)), outputs) for name, outputs in found.items()}
