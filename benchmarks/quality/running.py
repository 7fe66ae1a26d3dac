"""From studies to results: cell after cell, each kept as soon as it is there."""

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.quality.baselines import BASELINES
from benchmarks.quality.cells import Cell, Cells
from benchmarks.quality.contenders import Contender, Tools
from benchmarks.quality.material import Material, prepare
from benchmarks.quality.progress import Progress
from benchmarks.quality.sources import DataMissing, read_source
from benchmarks.quality.studies import Plan, Study
from benchmarks.quality.table import Line, Result
from benchmarks.quality.training import TrainingFailed, ours
from services.evaluation.kinds import find_kind
from services.evaluation.statistics import Measure
from shared.errors import FlywheelError


@dataclass(frozen=True)
class Entered:
    """A study whose kind and data are here, with those who take part."""

    material: Material
    contenders: Sequence[Contender]
    absent: Sequence[str]


def enter(study: Study, plan: Plan, data: Path, only: Collection[str] = ()) -> Entered:
    """With the contenders that are named in `only`, or all of them. Raises DataMissing, or ValueError or FlywheelError when the platform can't train or judge the kind."""
    material = prepare(study, read_source(study.source, data), plan.sizes(study))
    find_kind(study.kind, material.spec.options)
    trained = list(ours(study, plan.methods(study)))
    contenders = [*BASELINES.get(study.kind, ()), *(one for one in trained if isinstance(one, Contender))]
    contenders = [one for one in contenders if not only or one.name in only]
    return Entered(material, contenders, [str(one) for one in trained if isinstance(one, ValueError)])


def run_all(
    studies: Sequence[Study], plan: Plan, data: Path, tools: Tools, cells: Cells, only: Collection[str] = ()
) -> tuple[list[Result], dict[str, str]]:
    """Results of the studies, and why others have none."""
    entered, left_out = [], {}
    for study in studies:
        try:
            entered.append(enter(study, plan, data, only))
        except (DataMissing, ValueError, KeyError, FlywheelError) as error:
            left_out[study.name] = f"{study.kind}: {error}"
    seeds = {id(one): plan.seeds if one.seeded else plan.seeds[:1] for each in entered for one in each.contenders}
    progress = Progress([one.name for each in entered for one in each.contenders for _ in seeds[id(one)]])
    return [_run_study(each, plan, tools, cells, progress) for each in entered], left_out


def _run_study(entered: Entered, plan: Plan, tools: Tools, cells: Cells, progress: Progress) -> Result:
    material, absent = entered.material, list(entered.absent)
    lines = []
    for contender in entered.contenders:
        seeds = plan.seeds if contender.seeded else plan.seeds[:1]
        made: list[Cell] = []
        try:
            for seed in seeds:
                made.append(_cell(material, contender, seed, tools, cells, progress))
        except TrainingFailed as error:
            absent.append(str(error))
            for _ in seeds[len(made) :]:
                progress.dropped(contender.name)
            continue
        lines.append(Line(contender.name, contender.ours, [measure(material, one) for one in made], _means(made)))
    return Result(material.study, len(material.train), len(material.test), material.left_out, lines, absent)


def _cell(material: Material, contender: Contender, seed: int, tools: Tools, cells: Cells, progress: Progress) -> Cell:
    study = material.study
    path = cells.path(study.name, contender.name, seed, _decided_by(material, contender))
    cell = cells.read(path)
    if cell is None:
        began = time.monotonic()
        answer = contender.answer(material, seed, tools)
        cell = Cell(answer.outputs, answer.figures, time.monotonic() - began)
        cells.write(path, cell)
    value = measure(material, cell).value
    progress.done(
        contender.name, f"{study.name}, {contender.name}, seed {seed}: {study.metric} {value:.3f}", cell.seconds
    )
    return cell


def measure(material: Material, cell: Cell) -> Measure:
    """The cell by its study's metric."""
    kind = find_kind(material.study.kind, material.spec.options)
    answered = len(next(iter(cell.outputs.values())))
    return kind.measures(material.test[:answered], cell.outputs)[material.study.metric]


def _decided_by(material: Material, contender: Contender) -> dict[str, Any]:
    kind = find_kind(material.study.kind, material.spec.options)
    return {
        "rows": material.digest,
        "prompted": material.prompted,
        "base": material.study.base,
        "options": material.spec.options.model_dump(),
        "format": kind.outputs_format,
        "settings": dict(contender.settings),
    }


def _means(made: Sequence[Cell]) -> Mapping[str, float]:
    return {name: mean(cell.figures[name] for cell in made) for name in made[0].figures}


def tell(left_out: Mapping[str, str]) -> None:
    for name, why in left_out.items():
        print(f"{name} left out: {why}", file=sys.stderr)
