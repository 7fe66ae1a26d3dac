from services.ingestion.intake.quoting import quoted_row
from services.ingestion.reading.received import RAW_BYTES, Received
from shared.rows import Reason, RowError

BROKEN = RowError(Reason.MALFORMED_JSON, "", "")


def without_mail(text: str) -> str:
    return text.replace("li@qq.com", "<EMAIL>")


def test_a_row_is_quoted_as_it_came_when_nothing_is_to_be_hidden() -> None:
    assert quoted_row(Received(1, {"text": "好"}, b'{"text":  "\\u597d"}', 20)) == '{"text":  "\\u597d"}'


def test_what_is_escaped_is_looked_through_as_it_reads() -> None:
    raw = b'{"text": "li\\u0040qq.com"}'
    assert quoted_row(Received(1, {"text": "li@qq.com"}, raw, 9), without_mail) == '{"text": "<EMAIL>"}'
    assert quoted_row(Received(1, BROKEN, raw[:-1], 9), without_mail) == '{"text": "<EMAIL>"'


def test_a_quote_is_cut_after_it_was_looked_through() -> None:
    row = {"text": "x" * (RAW_BYTES - 15) + "li@qq.com"}
    assert "li@" not in quoted_row(Received(1, row, row, 9), without_mail)
    assert len(quoted_row(Received(1, row, row, 9), without_mail).encode()) <= RAW_BYTES


def test_half_a_surrogate_and_a_nul_are_no_trouble() -> None:
    row = {"text": "\ud800\0"}
    assert "\0" not in quoted_row(Received(1, row, row, 9), without_mail)
    assert "\0" not in quoted_row(Received(1, BROKEN, row, 9), without_mail)
