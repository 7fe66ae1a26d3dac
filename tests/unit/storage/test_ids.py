"""Ids tell what they are and sort by time."""

import time

from shared.storage.ids import new_id


def test_ids_are_unique_and_carry_their_prefix() -> None:
    ids = [new_id("job") for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(id.startswith("job-") and len(id) == 24 for id in ids)


def test_a_later_id_sorts_later() -> None:
    sooner = new_id("job")
    time.sleep(0.002)
    assert sooner < new_id("job")
