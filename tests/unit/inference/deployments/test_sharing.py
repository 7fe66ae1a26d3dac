"""The table of traffic, on both databases."""

import pytest

from services.inference.deployments.sharing import TrafficTable
from services.inference.models.catalogue import Catalogue
from services.inference.models.lineage import Key
from services.inference.models.traffic import Share, Traffic
from shared.storage.database import Database

TRAFFIC = Traffic("mood", shares=(Share(2, 0.25), Share(3, 0.5)), shadows=(Share(2, 1.0),))


def test_traffic_is_read_as_it_was_written(any_database: Database) -> None:
    written = TrafficTable(any_database).write(TRAFFIC)
    snapshot = Catalogue(any_database).snapshot()
    assert snapshot.traffic == {"mood": written}
    assert (written.shares, written.shadows) == (TRAFFIC.shares, TRAFFIC.shadows)
    assert written.set_at is not None
    assert snapshot.targets == {Key("mood", 2), Key("mood", 3)}


def test_what_is_set_later_replaces_what_was_there(database: Database) -> None:
    table = TrafficTable(database)
    table.write(TRAFFIC)
    table.write(Traffic("mood", shares=(Share(4, 0.1),)))
    seen = Catalogue(database).snapshot().traffic["mood"]
    assert (seen.shares, seen.shadows) == ((Share(4, 0.1),), ())


@pytest.mark.parametrize("model", ["mood", "nobody"])
def test_a_promoted_version_leaves_the_table_and_the_others_stay(database: Database, model: str) -> None:
    table = TrafficTable(database)
    table.write(TRAFFIC)
    table.promoted(model, 2)
    seen = Catalogue(database).snapshot().traffic["mood"]
    left = (((Share(3, 0.5),), ()), (TRAFFIC.shares, TRAFFIC.shadows))[model == "nobody"]
    assert (seen.shares, seen.shadows) == left
