"""One contender trains a scenario, in a process of its own.

    python -m benchmarks.training.contender NAME SCENARIO.json

Prints a JSON line: seconds of the loop alone, rows and tokens that it saw, the most memory the process had taken at
the end of it, and what the trained model scores on the validation rows.
"""

import json
import resource
import sys
import tempfile
from pathlib import Path

from benchmarks.training.scenarios import read_scenario
from shared.config import spin_briefly


def main() -> None:
    name, path = sys.argv[1], Path(sys.argv[2])
    scenario = read_scenario(path)
    spin_briefly()
    from benchmarks.training.contenders import CONTENDERS

    with tempfile.TemporaryDirectory() as folder:
        trained = CONTENDERS[name](scenario, Path(folder))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**trained.figures, "peak_mib": round(peak, 1), "scores": trained.score()}))


if __name__ == "__main__":
    main()
