from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from shared.cli.output import plain, seconds, text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0.04, "0.0 s"), (8.25, "8.2 s"), (42.4, "42 s"), (125, "2 min 05 s"), (3720, "1 h 02 min")],
)
def test_durations_read_as_people_say_them(value: float | None, shown: str) -> None:
    assert seconds(value) == shown


@pytest.mark.parametrize(
    ("cell", "shown"), [(None, "–"), ("", "–"), (True, "yes"), (1500, "1,500"), (0.71234, "0.7123")]
)
def test_cells_read_as_people_say_them(cell: object, shown: str) -> None:
    assert text(cell) == shown


def test_dataclasses_and_times_become_plain() -> None:
    @dataclass
    class Thing:
        when: datetime
        items: tuple[int, ...]

    assert plain([Thing(datetime(2026, 1, 2, tzinfo=UTC), (1,))]) == [
        {"when": "2026-01-02T00:00:00+00:00", "items": [1]}
    ]
