import os
from pathlib import Path

from services.ingestion.scratch import DigestSet, RecordFile, scratch_file


def test_a_set_of_digests_knows_what_it_has_and_gives_it_sorted(tmp_path: Path) -> None:
    digests = [os.urandom(16) for _ in range(10_000)]
    found = DigestSet(tmp_path)
    for start in range(0, 10_000, 2000):
        found.add(digests[start : start + 2000])
    assert found.present([*digests[:50], b"never" * 3]) == set(digests[:50])
    assert [digest for chunk in found.chunks() for digest in chunk] == sorted(digests)
    found.close()


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
    digests, records, plain = DigestSet(tmp_path), RecordFile(tmp_path), scratch_file(tmp_path)
    digests.add([os.urandom(16)])
    assert list(tmp_path.iterdir()) == []
    for open_file in (digests, records, plain):
        open_file.close()
