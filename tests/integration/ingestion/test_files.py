"""JSON Lines files through the real gRPC door, the bad ones above all."""

import json

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from tests.integration.ingestion.door import Door, lines, tweets

GOOD = b'{"text": "fine", "label": "positive"}'


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_a_file_may_come_in_pieces_of_any_size(door: Door, piece: int) -> None:
    batch = door.upload(lines(tweets(30)), "pieces", piece=piece)
    assert (batch.received, batch.accepted) == (30, 30)


def test_a_byte_order_mark_windows_line_ends_and_blank_lines_are_taken(door: Door) -> None:
    content = b"\xef\xbb\xbf" + GOOD + b"\r\n\r\n   \n" + GOOD.replace(b"fine", b"better") + b"\r\n"
    batch = door.upload(content, "windows")
    assert (batch.received, batch.accepted, batch.quarantined) == (2, 2, 0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "cut', "MALFORMED_JSON"),
        (b"text,label", "MALFORMED_JSON"),
        (b'{"text": ' + b"9" * 5000 + b"}", "MALFORMED_JSON"),
        (b'["text", "label"]', "NOT_AN_OBJECT"),
        (b'{"text": "caf\xe9", "label": "neutral"}', "BAD_ENCODING"),
        (b'{"text": "a\\u0000b", "label": "neutral"}', "BAD_CHARACTER"),
        (b'{"text": "a\\ud83d", "label": "neutral"}', "BAD_CHARACTER"),
        (b'{"text": "a", "label": NaN}', "NON_FINITE_NUMBER"),
        (b'{"text": "a", "label": 1e999}', "NON_FINITE_NUMBER"),
        (b'{"text": 5, "label": "neutral"}', "WRONG_TYPE"),
        (b'{"text": "a", "label": 0.5}', "WRONG_TYPE"),
        (b'{"text": "a", "label": true}', "WRONG_TYPE"),
        (b'{"text": "a", "label": ' + b"9" * 400 + b"}", "WRONG_TYPE"),
        (b'{"text": "a", "label": -9223372036854775809}', "WRONG_TYPE"),
        (b'{"text": "a", "label": null}', "MISSING_FIELD"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "TOO_DEEP"),
        (b'{"text": "' + b"x" * 66_000 + b'", "label": "neutral"}', "ROW_TOO_LONG"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_line_is_kept_with_its_reason_and_the_rest_goes_on(door: Door, line: bytes, reason: str) -> None:
    batch = door.upload(GOOD + b"\n" + line + b"\n" + GOOD.replace(b"fine", b"better"), "one-bad")
    assert (batch.accepted, batch.quarantined) == (2, 1)
    (kept,) = door.quarantine(batch)
    assert (kept.line, kept.reason) == (2, reason)
    assert len(kept.raw.encode()) <= 3 * 4096
    assert kept.message


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"", "no rows"),
        (b"\n\n  \n", "no rows"),
        (b"BZh91AY", "bzip2"),
        (b"%PDF-1.7", "a PDF"),
        (bytes(range(256)) * 4 + bytes(1000), "no text"),
    ],
    ids=["empty", "blank", "bzip2", "pdf", "binary"],
)
def test_a_file_that_holds_no_rows_is_refused_with_what_to_do(door: Door, content: bytes, advice: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        door.upload(content, "not-rows")
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert advice in str(refused.value.details())


def test_conversations_come_as_messages_or_as_prompt_and_response(door: Door) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": "Now."},
    ]
    rows = [
        {"messages": turns},
        {"prompt": "Where?", "response": "Here."},
        {"messages": turns[:2]},
        {"messages": turns[2:]},
        {"messages": [{"role": "robot", "content": "Beep"}]},
        {"messages": [{"role": "user"}, turns[2]]},
        {"messages": "hello"},
        {"prompt": "Why?"},
        {"text": "?"},
    ]
    batch = door.upload("".join(json.dumps(row) + "\n" for row in rows), "talk", pipeline="support")
    assert (batch.accepted, batch.quarantined) == (2, 7)
    assert [(row.reason, row.field) for row in door.quarantine(batch)] == [
        ("BAD_TURN_ORDER", "messages"),
        ("BAD_TURN_ORDER", "messages"),
        ("UNKNOWN_ROLE", "messages[0].role"),
        ("MISSING_FIELD", "messages[0].content"),
        ("WRONG_TYPE", "messages"),
        ("MISSING_FIELD", "response"),
        ("MISSING_FIELD", "messages"),
    ]
    assert door.build("support") == 1
    stored = [MessageToDict(row.fields)["messages"] for row in door.rows("support")]
    assert {len(messages): messages[0]["role"] for messages in stored} == {3: "system", 2: "user"}


def test_a_repeated_key_answers_before_the_file_is_read(door: Door) -> None:
    first = door.upload(lines(tweets(3)), "file")
    again = door.upload(b"PK\x03\x04 not even text", "file")
    assert (again.id, again.repeated_call) == (first.id, True)


def test_quarantine_is_paged_and_says_when_it_ends(door: Door) -> None:
    batch = door.upload(b"nonsense\n" * 25, "bad")
    seen: list[int] = []
    token = ""
    while True:
        request = pb.ListQuarantineRequest(pipeline="sentiment", batch=batch.id, page_size=10, page_token=token)
        page = door.stub.ListQuarantine(request, timeout=20)
        seen += [row.line for row in page.rows]
        token = page.next_page_token
        if not token:
            break
    assert seen == list(range(1, 26))
