"""The command: studies chosen, cells made or found, table written."""

import argparse
import json
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.quality.cells import Cells
from benchmarks.quality.contenders import Tools
from benchmarks.quality.prompting import Writer, load_writer
from benchmarks.quality.running import run_all, tell
from benchmarks.quality.sources import is_here
from benchmarks.quality.studies import FULL, QUICK, WRITER, Plan, choose
from benchmarks.quality.table import AIMS, summarise, to_markdown
from shared.config import load_settings
from shared.modeling.quiet import quiet_libraries


def run(options: argparse.Namespace) -> None:
    """With the options of `python -m benchmarks.quality`. Raises ValueError for a kind or study that there is not."""
    quiet_libraries()
    plan = QUICK if options.quick else FULL
    if options.seeds is not None:
        plan = Plan(plan.quick, tuple(range(options.seeds)))
    bases = load_settings().cache_folder / "bases"
    with tempfile.TemporaryDirectory() as work:
        tools = Tools(bases, Path(work), options.threads, _writer(bases))
        studies = choose(set(options.kinds), set(options.studies), plan.quick, partial(is_here, folder=options.data))
        results, left_out = run_all(studies, plan, options.data, tools, Cells(options.cells), options.contenders)
    tell(left_out)
    found = [summarise(result) for result in results]
    options.out.mkdir(parents=True, exist_ok=True)
    name = "quick" if plan.quick else "full"
    (options.out / f"{name}.md").write_text(to_markdown(found), encoding="utf-8")
    reached = {study["study"]: study["aims"] for study in found}
    document = {
        "benchmark": "quality",
        "studies": found,
        "left_out": left_out,
        "aims": AIMS,
        "reached": reached,
        "machine": describe_machine(),
    }
    (options.out / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(to_markdown(found))
    print(json.dumps(document))


def _writer(bases: Path) -> Callable[[], Writer]:
    return cache(partial(load_writer, WRITER, bases))
