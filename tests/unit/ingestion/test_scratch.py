from pathlib import Path

from services.ingestion.scratch import RecordFile, scratch_file


def test_records_come_back_in_order_and_more_than_once(tmp_path: Path) -> None:
    file = RecordFile(tmp_path)
    for number in range(7):
        file.append({"line": number, "raw": "a\ud800b\n"})
    for _ in range(2):
        chunks = list(file.chunks(3))
        assert [len(chunk) for chunk in chunks] == [3, 3, 1]
        assert [record["line"] for chunk in chunks for record in chunk] == list(range(7))
    file.close()


def test_scratch_files_have_no_name_that_a_crash_could_leave_behind(tmp_path: Path) -> None:
    records, plain = RecordFile(tmp_path), scratch_file(tmp_path)
    records.append({"line": 1})
    assert list(tmp_path.iterdir()) == []
    records.close()
    plain.close()
