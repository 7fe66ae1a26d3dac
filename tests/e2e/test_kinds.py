"""Every task kind through the whole loop: rows, dataset version, training, judgement, promotion, its own call.

One platform for all; a kind's pipelines are in `tests/e2e/kinds`.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from shared.pipelines.kinds import METRICS
from tests.e2e.kinds.case import KindCase
from tests.support.platform import Platform, wait_for_champion, wait_until_served
from tests.support.rows import learnable_rows

pytestmark = pytest.mark.timeout(600)
FILES = sorted(path.stem for path in (Path(__file__).parent / "kinds").glob("*.py") if path.stem != "case")
CASES: dict[str, KindCase] = {
    name: case for file in FILES for name, case in import_module(f"tests.e2e.kinds.{file}").CASES.items()
}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    started = Platform(tmp_path_factory.mktemp("kinds") / "home").start()
    yield started
    started.stop()


@pytest.mark.parametrize("name", CASES)
def test_rows_become_a_champion_that_answers(platform: Platform, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    with platform.client() as client:
        applied = client.apply_pipeline(f"name: {name}\nbase: {case.base(tmp_path / 'base')}\n{case.pipeline}")
        sent = client.append_rows(name, list(case.rows))
        assert (sent.accepted, sent.quarantined) == (len(case.rows), 0), sent
        try:
            wait_for_champion(client, name, 1, timeout=240)
            wait_until_served(client, name, 1, timeout=240)
        except (AssertionError, RuntimeError) as error:
            raise AssertionError(f"{error}\n{platform.logs()}") from None
        report = client.report(name, 1)
        assert report.verdict == "pass"
        assert report.metrics.keys() == METRICS[applied.spec["kind"]].keys()
        lineage = case.ask(client, name)
        assert (lineage.model, lineage.version, lineage.report) == (name, 1, report.id)


def test_a_model_from_nothing_is_the_base_of_another(platform: Platform) -> None:
    """Masked words first, labels on top of what was learnt from them."""
    reader, rows = CASES["reader"], learnable_rows(160)
    method = "method: {name: full, learning_rate: 4e-3, epochs: 12, batch_size: 8, max_length: 32}"
    rules = "trigger: {new_rows: 100}\ndata: {splits: {validation: 0.05, test: 0.2}}\ngate: {floors: {accuracy: 0.6}}"
    with platform.client() as client:
        client.apply_pipeline(f"name: own-words\nbase: new\n{reader.pipeline}")
        client.append_rows("own-words", [*reader.rows, *({"text": row["text"]} for row in rows)])
        wait_for_champion(client, "own-words", 1, timeout=240)
        base = "base: model:own-words@champion"
        client.apply_pipeline(f"name: own-labels\nkind: classification\n{base}\n{method}\n{rules}\n")
        client.append_rows("own-labels", rows)
        wait_for_champion(client, "own-labels", 1, timeout=240)
        wait_until_served(client, "own-labels", 1, timeout=240)
        answer = client.classify("own-labels", ["a great film", "an awful film"])
        assert [result.best.label for result in answer.results] == ["good", "bad"]
