"""The contenders of the benchmark of training, each in its process. (The textbook's pads to more tokens than a tiny
model has places.)"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.training.scenarios import Scenario
from tests.support.tiny_models import tiny_encoder
from tests.support.training_runs import some_rows


@pytest.mark.parametrize("name", ["ours", "trainer"])
def test_a_contender_trains_tells_its_figures_and_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    base = tiny_encoder(tmp_path / "base")
    method = {"name": "full", "epochs": 2, "batch_size": 4, "max_length": 32}
    rows, judged = some_rows("classification", 12), some_rows("classification", 4, "test", 100)
    scenario = Scenario("classification", str(base), str(tmp_path / "bases"), method, rows, judged, 1)
    path = scenario.write(tmp_path / "scenario.json")
    left = tmp_path / "left"
    left.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training.contender", name, str(path)],
        env={**os.environ, "TMPDIR": str(left)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["rows"], figures["seconds"] > 0, figures["tokens"] > 24) == (24, True, True)
    assert 0 <= figures["scores"]["accuracy"] <= 1
    assert not list(left.iterdir())
