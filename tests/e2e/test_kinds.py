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

pytestmark = pytest.mark.timeout(300)
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
            wait_for_champion(client, name, 1, timeout=120)
            wait_until_served(client, name, 1)
        except (AssertionError, RuntimeError) as error:
            raise AssertionError(f"{error}\n{platform.logs()}") from None
        report = client.report(name, 1)
        assert report.verdict == "pass"
        assert report.metrics.keys() == METRICS[applied.spec["kind"]].keys()
        lineage = case.ask(client, name)
        assert (lineage.model, lineage.version, lineage.report) == (name, 1, report.id)
