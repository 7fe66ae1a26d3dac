import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestion.rules.chain import Rules
from services.ingestion.rules.texts import texts_of, with_texts
from shared.pipelines.data import Data
from shared.rows import SCHEMAS

TEXTS = {kind: schema.texts for kind, schema in SCHEMAS.items()}


def rules(kind: str = "classification", key: bytes = b"k" * 32, **data: Any) -> Rules:
    return Rules(Data.model_validate(data), TEXTS[kind], lambda: key)


def ruled(row: dict[str, Any], kind: str = "classification", **data: Any) -> Any:
    return rules(kind, **data).apply([row])[0]


def test_rows_pass_untouched_when_the_pipeline_asks_for_nothing() -> None:
    rows = [{"text": "<b>Ａ\u200b a@b.com</b>", "label": "x"}, {"text": 5}, {}, {"text": "half\ud800"}]
    found = rules().apply(rows)
    assert all(one.row is row and one.error is None and one.flags == () for one, row in zip(found, rows, strict=True))


@pytest.mark.parametrize(
    ("kind", "row", "cleaned"),
    [
        ("classification", {"text": "<b>a</b>", "text_pair": "b ", "label": "<b>"}, {"text": "a", "text_pair": "b"}),
        (
            "chat",
            {"messages": [{"role": "user", "content": "<i>你好</i>"}, {"role": "assistant", "content": "好"}, 7]},
            {"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "好"}, 7]},
        ),
        (
            "answer_selection",
            {"question": "q ", "candidates": ["<p>x</p>", "y", 3], "answer": "<p>x</p>"},
            {"question": "q", "candidates": ["x", "y", 3], "answer": "x"},
        ),
        ("answer_selection", {"question": "q", "candidates": ["x", "y "], "answer": 1}, {"candidates": ["x", "y"]}),
        (
            "ranking",
            {"query": " q", "positive": "p ", "negatives": ["n "]},
            {"query": "q", "positive": "p", "negatives": ["n"]},
        ),
        (
            "instruction",
            {"instruction": "<b>do</b>", "output": "done ", "input": None},
            {"instruction": "do", "output": "done"},
        ),
        ("translation", {"source": "a ", "target": "b ", "source_lang": "en "}, {"source": "a", "target": "b"}),
    ],
)
def test_every_text_of_a_row_is_cleaned_and_nothing_else(
    kind: str, row: dict[str, Any], cleaned: dict[str, Any]
) -> None:
    before = repr(row)
    found = ruled(row, kind, cleaning={"html": True, "whitespace": True})
    assert found.row == {**row, **cleaned}
    assert repr(row) == before


def test_personal_data_is_masked_or_hashed_by_its_kind() -> None:
    data = {"personal_data": {"policy": "mask", "policies": {"phone": "hash", "ip_address": "flag"}}}
    row = {"text": "写信给li@qq.com或打13812345678，来自8.8.8.8", "label": "13812345678"}
    found = ruled(row, **data)
    assert re.fullmatch(r"写信给<EMAIL>或打<PHONE:[a-p]{12}>，来自8\.8\.8\.8", found.row["text"])
    assert found.row["label"] == "13812345678"
    assert found.flags == ("personal_data.ip_address",)


def test_the_same_value_hashes_alike_however_it_is_written_and_only_under_the_same_key() -> None:
    data = {"personal_data": {"policy": "hash"}}
    texts = ["+86 138-1234-5678", "13812345678", "１３８１２３４５６７８", "13812345679"]
    hashed = [one.row["text"] for one in rules(**data).apply([{"text": text} for text in texts])]
    assert len(set(hashed[:3])) == 1
    assert hashed[3] != hashed[0]
    assert rules(key=b"another key, quite long", **data).apply([{"text": texts[0]}])[0].row["text"] != hashed[0]


def test_a_row_with_personal_data_is_refused_where_the_pipeline_takes_none() -> None:
    row = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "call 13812345678"}]}
    found = ruled(row, "chat", personal_data={"policy": "reject"})
    assert (found.error.reason, found.error.field) == ("PERSONAL_DATA", "messages[1].content")
    assert "138" not in found.error.message


def test_of_two_kinds_in_one_place_the_surer_one_is_told() -> None:
    mask = {"personal_data": {"policy": "mask"}}
    assert ruled({"text": "https://bob:pw@mail.com/"}, **mask).row["text"] == "https://<URL_CREDENTIALS>@mail.com/"
    assert ruled({"text": "11010519491231002X"}, **mask).row["text"] == "<CN_IDENTITY_NUMBER>"


def test_words_of_a_tagged_row_are_looked_at_together() -> None:
    row = {"tokens": ["call", "138", "1234", "5678"], "tags": ["O"] * 4}
    assert ruled(row, "token_classification", personal_data={"policy": "flag"}).flags == ("personal_data.phone",)


def test_rules_count_what_they_did_and_a_refused_row_is_not_shown_to_the_next() -> None:
    data = {"cleaning": {"whitespace": True, "characters": {"most": 40}}, "personal_data": {"policy": "mask"}}
    chain = rules(**data)
    texts = ["fine", " a@b.com", "c@d.com or e@f.com", "you idiot", "x" * 41 + " g@h.com"]
    found = chain.apply([{"text": text} for text in texts])
    assert [one.error.reason if one.error else "" for one in found] == ["", "", "", "", "TOO_LONG"]
    assert found[-1].row["text"].endswith("g@h.com")
    assert chain.counts == [
        {"rule": "characters", "action": "rejected", "rows": 1},
        {"rule": "personal_data.email", "action": "masked", "rows": 2},
        {"rule": "toxic", "action": "flagged", "rows": 1},
        {"rule": "whitespace", "action": "changed", "rows": 1},
    ]


@pytest.mark.parametrize(
    ("toxic", "flags", "reason"), [("off", (), None), ("flag", ("toxic",), None), ("reject", (), "TOXIC")]
)
def test_abuse_is_flagged_refused_or_let_be(toxic: str, flags: tuple[str, ...], reason: str | None) -> None:
    found = ruled({"text": "真他妈的差"}, toxic=toxic)
    assert found.flags == flags
    assert (found.error.reason if found.error else None) == reason


def test_what_people_read_has_no_personal_data_that_is_not_kept_in_clear() -> None:
    mask = rules(personal_data={"policy": "mask", "policies": {"phone": "hash", "email": "flag"}})
    assert mask.redacts
    assert mask.redacted("a@b.com 13812345678 8.8.8.8") == "a@b.com <PHONE> <IP_ADDRESS>"
    assert not rules(personal_data={"policy": "flag"}).redacts
    assert rules().redacted("a@b.com") == "a@b.com"


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "li@qq.com",
                "13812345678",
                "8.8.8.8",
                "4111 1111 1111 1111",
                "://u:p@h",
                "+1 212-555-2368",
                " ",
                "：",
                "x",
                "1",
            ]
        ),
        max_size=8,
    ).map("".join),
    st.sampled_from(["mask", "hash"]),
)
def test_masking_twice_changes_nothing(text: str, policy: str) -> None:
    data = {"personal_data": {"policy": policy, "phone_regions": ["US"]}}
    once = ruled({"text": text}, **data).row
    again = ruled(dict(once), **data)
    assert again.row == once


def test_texts_are_put_back_where_they_were_and_the_given_row_stays() -> None:
    row = {
        "messages": [{"role": "user", "content": "a"}, 7, {"content": 3}],
        "candidates": ("b", None),
        "prompt": "c",
    }
    found = texts_of(row, ("messages", "candidates", "prompt", "absent"))
    assert [text.field for text in found] == ["messages[0].content", "candidates[0]", "prompt"]
    changed = with_texts(row, [text._replace(text=text.text.upper()) for text in found])
    assert changed == {
        "messages": [{"role": "user", "content": "A"}, 7, {"content": 3}],
        "candidates": ["B", None],
        "prompt": "C",
    }
    assert row["messages"][0] == {"role": "user", "content": "a"}  # type: ignore[index]
