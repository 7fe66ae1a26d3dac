from pathlib import Path

from services.ingestion.storing.journal import Entry, Journal, entries_at, entries_of, read_journal, without


def stored(journal: Journal, path: Path) -> Path:
    file = journal.finish()
    assert file is not None
    with file:
        path.write_bytes(file.read())
    return path


def test_a_batch_without_anything_to_tell_has_no_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.finish() is None
    journal.close()


def test_what_was_noted_comes_back_in_order_and_more_may_follow(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for line in range(1, 9001):
        journal.note(line, f"{line:064x}", "duplicate", other=f"{line + 1:064x}")
    first = stored(journal, tmp_path / "first")
    journal.note(3, "", "quarantined", "languages", detail="WRONG_LANGUAGE")
    second = stored(journal, tmp_path / "second")
    journal.close()
    assert [entry.line for entry in read_journal(first)] == list(range(1, 9001))
    assert list(read_journal(second))[9000:] == [Entry(3, "", "quarantined", "languages", "", "WRONG_LANGUAGE")]
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("first", "second")] == []


def test_a_row_is_found_by_the_beginning_of_its_id_also_where_another_row_is_like_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.note(1, "aaaa1", "flagged", "toxic")
    journal.note(2, "bbbb", "near", other="aaaa1")
    journal.note(3, "cccc", "flagged", "toxic")
    path = stored(journal, tmp_path / "j")
    journal.close()
    assert [entry.line for entry in entries_of(path, "aaaa")] == [1, 2]
    assert [entry.row_id for entry in entries_at(path, [3, 1, 99])] == ["aaaa1", "cccc"]


def test_deleted_rows_leave_no_trace_in_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.note(1, "aaaa", "flagged", "toxic")
    journal.note(2, "bbbb", "near", other="aaaa")
    journal.note(3, "cccc", "masked", "personal_data.email")
    path = stored(journal, tmp_path / "j")
    journal.close()
    left = without(path, ["aaaa"], tmp_path)
    assert left is not None
    with left:
        (tmp_path / "left").write_bytes(left.read())
    assert [entry.row_id for entry in read_journal(tmp_path / "left")] == ["cccc"]
    assert without(path, ["aaaa", "bbbb", "cccc"], tmp_path) is None
