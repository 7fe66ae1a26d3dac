"""Every example is a pipeline that can be applied, with rows that it takes."""

import json
from pathlib import Path

import pytest

from shared.pipelines.reading import load_pipeline
from shared.rows import SCHEMAS, RowError

EXAMPLES = Path(__file__).parents[3] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/pipeline.yaml"))
BAD_ON_PURPOSE = {"sentiment": 1}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_valid_and_takes_its_own_rows(name: str) -> None:
    spec = load_pipeline((EXAMPLES / name / "pipeline.yaml").read_text(encoding="utf-8"))
    rows = EXAMPLES / name / "rows.jsonl"
    lines = rows.read_text(encoding="utf-8").splitlines() if rows.exists() else []
    refused = []
    for line in lines:
        try:
            SCHEMAS[spec.kind].parse(json.loads(line), spec)
        except RowError as error:
            refused.append(error.message)
    assert len(refused) == BAD_ON_PURPOSE.get(name, 0), refused


def test_an_example_of_a_kind_is_named_after_it() -> None:
    kinds = {
        name: load_pipeline((EXAMPLES / name / "pipeline.yaml").read_text(encoding="utf-8")).kind for name in NAMES
    }
    assert {name for name in NAMES if name in SCHEMAS} == {name for name, kind in kinds.items() if name == kind}
