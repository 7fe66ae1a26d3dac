"""What the rules of a pipeline do to the rows that come in at the real gRPC door."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.storage.database import Database
from shared.storage.tables import Feedback
from tests.integration.ingestion.door import SENTIMENT, SUPPORT, Door, declare, lines, open_door, struct, tweets


def declared(door: Door, base: dict[str, Any] = SENTIMENT, **data: Any) -> None:
    declare(door.database, {**base, "data": data})


def rules(batch: pb.Batch) -> dict[tuple[str, str], int]:
    return {(one.rule, one.action): one.rows for one in batch.rules}


def texts(door: Door) -> list[str]:
    door.build()
    return sorted(row.fields["text"] for row in door.rows())


def test_the_products_fields_are_mapped_then_cleaned_then_checked(door: Door) -> None:
    declared(
        door,
        fields={"text": "tweet.body", "label": "mood"},
        cleaning={"html": True, "unicode": "nfkc", "whitespace": True, "control_characters": True},
    )
    rows = [
        {"tweet": {"body": "<p>酒店\u3000很好\0 ＡＢＣ</p>"}, "mood": "positive", "text": "not this"},
        {"tweet": {"body": "<br/> \u200b "}, "mood": "positive"},
        {"tweet": {}, "mood": "positive"},
    ]
    batch = door.append(rows, "a")
    assert texts(door) == ["酒店 很好 ABC"]
    empty, missing = door.quarantine(batch)
    assert (empty.line, empty.reason) == (2, "EMPTY_TEXT")
    assert (missing.reason, missing.message) == ("MISSING_FIELD", "text (the product's tweet.body) is missing")
    assert rules(batch)["html", "changed"] == 2


def test_rows_that_differ_only_in_what_is_cleaned_away_are_one(door: Door) -> None:
    declared(door, cleaning={"html": True, "whitespace": True})
    batch = door.append([{"text": text, "label": "positive"} for text in ("<b>好</b>", "好 ", "好")], "a")
    assert (batch.accepted, batch.duplicates) == (1, 2)


def test_personal_data_is_in_no_row_no_quarantine_and_no_label_is_touched(door: Door) -> None:
    declared(door, personal_data={"policy": "mask"})
    rows = [
        {"text": "打13812345678找我", "label": "positive"},
        {"text": "身份证11010519491231002X", "label": "li@qq.com", "note": "4111 1111 1111 1111"},
    ]
    batch = door.append(rows, "a")
    broken = door.upload('{"text": "li\\u0040qq.com", "label": \n', "b")
    assert texts(door) == ["打<PHONE>找我"]
    assert rules(batch) == {("personal_data.phone", "masked"): 1, ("personal_data.cn_identity_number", "masked"): 1}
    quarantined = door.quarantine(batch) + door.quarantine(broken)
    assert [row.reason for row in quarantined] == ["UNKNOWN_LABEL", "MALFORMED_JSON"]
    told = " ".join(f"{row.raw} {row.message}" for row in quarantined)
    assert not [clear for clear in ("li@qq.com", "u0040", "4111", "110105") if clear in told]
    assert "<EMAIL>" in told


def test_rows_with_personal_data_are_refused_and_not_quoted_in_clear(door: Door) -> None:
    declared(door, SUPPORT, personal_data={"policy": "reject", "kinds": ["email", "phone"]})
    rows = [{"prompt": "who are you", "response": "mail li@qq.com"}, {"prompt": "IP?", "response": "8.8.8.8"}]
    batch = door.append(rows, "a", "support")
    (refused,) = door.quarantine(batch)
    assert (refused.reason, refused.field, refused.line) == ("PERSONAL_DATA", "response", 1)
    assert "li@qq.com" not in refused.raw + refused.message
    assert (batch.accepted, rules(batch)) == (1, {("personal_data.email", "rejected"): 1})


def test_what_users_say_is_kept_without_personal_data_too(door: Door) -> None:
    declared(door, SUPPORT, personal_data={"policy": "hash", "policies": {"ip_address": "flag"}})
    request = pb.RecordFeedbackRequest(
        pipeline="support",
        request_id="r",
        input=struct({"prompt": "how do I reach you"}),
        output="no idea",
        correction="mail li@qq.com",
        comment="I am 13812345678 at 8.8.8.8",
        consent=True,
    )
    kept = door.stub.RecordFeedback(request, timeout=20)
    assert door.stub.RecordFeedback(request, timeout=20).id == kept.id
    with door.database.read() as session:
        found = session.get(Feedback, kept.id)
    assert found is not None
    assert (found.correction, found.comment) == ("mail <EMAIL>", "I am <PHONE> at 8.8.8.8")
    door.build("support")
    (row,) = door.rows("support")
    assert row.fields["messages"][1]["content"].startswith("mail <EMAIL:")


def test_hashes_are_the_same_in_every_batch_so_that_rows_can_be_joined(door: Door) -> None:
    declared(door, personal_data={"policy": "hash", "kinds": ["phone"]})
    door.append([{"text": "我的手机13812345678", "label": "positive"}], "a")
    door.append([{"text": "请打 +86 138 1234 5678", "label": "positive"}], "b")
    hashes = {text[text.index("<") :] for text in texts(door)}
    assert len(hashes) == 1


def test_rules_are_counted_by_batch_and_in_the_metrics(door: Door) -> None:
    declared(door, cleaning={"languages": ["zh"], "characters": {"most": 60}, "repetition": "flag"})
    labels = {"pipeline": "sentiment", "rule": "toxic", "action": "flagged"}
    before = REGISTRY.get_sample_value("flywheel_ingestion_rule_rows_total", labels) or 0
    rows = [
        "这家酒店真不错",
        "你是白痴吗",
        "哈哈哈哈哈哈哈哈哈哈哈哈",
        "this hotel was really very nice indeed",
        "好" * 61,
    ]
    batch = door.append([{"text": text, "label": "positive"} for text in rows], "a")
    assert rules(batch) == {
        ("toxic", "flagged"): 1,
        ("repetition", "flagged"): 1,
        ("languages", "rejected"): 1,
        ("characters", "rejected"): 1,
    }
    reasons = {one.reason: one.rows for one in batch.quarantine_reasons}
    assert reasons == {"WRONG_LANGUAGE": 1, "TOO_LONG": 1}
    door.build()
    assert dict(door.version().statistics["languages"]) == {"zh": 2, "unknown": 1}
    assert REGISTRY.get_sample_value("flywheel_ingestion_rule_rows_total", labels) == before + 1


def test_a_source_brings_no_more_rows_than_its_cap_over_all_batches(door: Door) -> None:
    declared(door, caps={"per_source": 5})
    first = door.append(tweets(4), "a", source="web")
    second = door.append([*tweets(4), *tweets(3, start=4)], "b", source="web")
    assert (first.accepted, second.accepted, second.duplicates, second.quarantined) == (4, 1, 4, 2)
    assert {row.reason for row in door.quarantine(second)} == {"SOURCE_CAP"}
    assert rules(second) == {("caps.per_source", "rejected"): 2}
    other = door.append(tweets(3, start=5), "c", source="app")
    assert other.accepted == 3
    door.stub.HoldBatch(pb.HoldBatchRequest(id=first.id, reason="poisoned"), timeout=20)
    assert door.append(tweets(6, start=20), "d", source="web").accepted == 4


def test_caps_hold_and_lives_are_told_on_postgresql(postgres_database: Database, tmp_path: Path) -> None:
    key = "a key of the whole fleet"
    with open_door(postgres_database, tmp_path / "home", personal_data_key=key) as door:
        declared(door, caps={"per_source": 5}, personal_data={"policy": "hash"})
        rows = [{**row, "text": f"{row['text']} of user{n}@x.com"} for n, row in enumerate(tweets(7))]
        with ThreadPoolExecutor(2) as clients:
            batches = list(clients.map(lambda n: door.append(rows[3 * n : 3 * n + 4], f"batch-{n}"), range(2)))
        assert sum(batch.accepted for batch in batches) == 5
        door.build()
        row = door.rows()[0]
        life = door.stub.ExplainRow(pb.ExplainRowRequest(pipeline="sentiment", row=row.id[:8]), timeout=20)
    assert [one.event for one in life.events][:2] == ["received", "hashed"]
    assert list(life.dataset_versions) == [1]


def test_hashing_without_a_key_of_the_fleet_is_refused_and_keeps_nothing(
    postgres_database: Database, tmp_path: Path
) -> None:
    url = "postgresql://somewhere"
    with open_door(postgres_database, tmp_path / "home", database_url=url) as door:
        declared(door, personal_data={"policy": "hash"})
        with pytest.raises(grpc.RpcError, match="FLYWHEEL_PERSONAL_DATA_KEY") as refused:
            door.append([{"text": "mail li@qq.com", "label": "positive"}], "a")
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert not door.stub.ListBatches(pb.ListBatchesRequest(), timeout=20).batches
        assert door.append(tweets(1), "b").accepted == 1


def test_many_clients_of_one_source_at_once_do_not_pass_its_cap(door: Door) -> None:
    declared(door, caps={"per_source": 8, "per_batch": 3})

    def send(client: int) -> pb.Batch:
        return door.append(tweets(5, start=5 * client), f"batch-{client}", source="web")

    with ThreadPoolExecutor(6) as clients:
        batches = list(clients.map(send, range(6)))
    assert sum(batch.accepted for batch in batches) == 8
    assert all(batch.accepted <= 3 and batch.accepted + batch.quarantined == 5 for batch in batches)
    assert len(texts(door)) == 8


@pytest.mark.parametrize("policy", ["off", "flag"])
def test_what_is_on_by_default_changes_no_row(door: Door, policy: str) -> None:
    rows = [{"text": f"<b>真他妈的差</b>\u200b  li@qq.com {n}", "label": "negative"} for n in range(3)]
    plain = door.append(rows, "a")
    declared(door, personal_data={"policy": policy})
    again = door.append(rows, "b")
    assert (plain.accepted, again.accepted, again.duplicates) == (3, 0, 3)
    assert rules(plain) == {("toxic", "flagged"): 3}


def test_a_dry_run_shows_rows_as_they_would_be_stored_and_what_rules_did(door: Door) -> None:
    declared(door, personal_data={"policy": "mask"}, cleaning={"words": {"least": 2}})
    header = pb.BatchHeader(pipeline="sentiment", batch_key="a", source="f", dry_run=True)
    content = lines([{"text": "mail li@qq.com you idiot", "label": "negative"}, {"text": "short", "label": "negative"}])
    requests = [pb.ImportFileRequest(header=header), pb.ImportFileRequest(chunk=content.encode())]
    shown = door.stub.ImportFile(iter(requests), timeout=30)
    stored, refused = shown.preview
    assert (stored.fields["text"], list(stored.rules)) == (
        "mail <EMAIL> you idiot",
        ["personal_data.email: masked", "toxic: flagged"],
    )
    assert (refused.reason, refused.line) == ("TOO_SHORT", 2)
    assert rules(shown)["personal_data.email", "masked"] == 1
    assert not door.stub.ListBatches(pb.ListBatchesRequest(), timeout=20).batches
