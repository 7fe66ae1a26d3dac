"""Rules meet rows of every kind, good and bad."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestion.rules.chain import Rules
from shared.pipelines.cleaning import PLACES
from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS

PERSON = "联系李伟：13812345678，li@qq.com，<b>谢谢</b>  "
ROWS: dict[str, dict[str, Any]] = {
    "classification": {"text": PERSON, "text_pair": "第二句 ", "label": "a"},
    "token_classification": {"text": PERSON, "entities": [{"start": 2, "end": 4, "label": "PER"}]},
    "relation_extraction": {"text": f"<e1>李伟</e1>在<e2>上海</e2>，{PERSON}", "label": "lives_in"},
    "question_answering": {"question": "电话？", "context": PERSON, "answers": [{"text": "13812345678", "start": 5}]},
    "answer_selection": {"question": PERSON, "candidates": [PERSON, "不知道"], "answer": PERSON},
    "ranking": {"query": PERSON, "positives": [PERSON], "negatives": ["不知道"]},
    "embedding": {"query": PERSON, "positive": PERSON},
    "translation": {"source": PERSON, "target": f"contact {PERSON}", "source_lang": "zh"},
    "summarisation": {"document": PERSON, "summary": PERSON},
    "chat": {"messages": [{"role": "user", "content": PERSON}, {"role": "assistant", "content": PERSON}]},
    "instruction": {"instruction": PERSON, "input": PERSON, "output": PERSON},
    "generation": {"prompt": PERSON, "completion": PERSON},
    "pretraining": {"text": PERSON},
}
ASKED = {"html": True, "unicode": "nfkc", "whitespace": True, "control_characters": True}
JUDGES = {"words": {"least": 1}, "characters": {"least": 1}, "languages": ["zh"], "repetition": "flag"}
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.just(PERSON), st.just("\ud800\0<b>")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["role", "content", "text"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def spec_of(kind: str) -> PipelineSpec:
    """With every rule that the kind allows."""
    cleaning = JUDGES if kind in PLACES else {**ASKED, **JUDGES}
    data = {"cleaning": cleaning, "personal_data": {"policy": "flag" if kind in PLACES else "hash"}, "toxic": "flag"}
    return PipelineSpec.model_validate({"name": "p", "kind": kind, "base": "none", "data": data})


def rules_of(spec: PipelineSpec) -> Rules:
    return Rules(spec.data, SCHEMAS[spec.kind].texts, lambda: b"a key of the tests")


def test_there_is_a_row_of_every_kind() -> None:
    assert set(ROWS) == set(SCHEMAS)


@pytest.mark.parametrize("kind", sorted(ROWS))
def test_a_row_that_was_ruled_is_a_good_row(kind: str) -> None:
    spec = spec_of(kind)
    (ruled,) = rules_of(spec).apply([ROWS[kind]])
    assert ruled.error is None
    stored = SCHEMAS[kind].check(ruled.row, spec).fields
    if kind in PLACES:
        assert set(ruled.flags) == {"personal_data.email", "personal_data.phone"}
        assert stored == SCHEMAS[kind].check(ROWS[kind], spec).fields
    else:
        told = str(stored)
        assert "<EMAIL:" in told
        assert "<PHONE:" in told
        assert not [clear for clear in ("li@qq.com", "13812345678", "<b>", "  ") if clear in told]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kind=st.sampled_from(sorted(ROWS)))
def test_whatever_comes_in_is_judged_and_not_a_crash(data: st.DataObject, kind: str) -> None:
    names = st.sampled_from(SCHEMAS[kind].inputs)
    rows = data.draw(st.lists(st.dictionaries(names, VALUES, max_size=4), max_size=3))
    before = repr(rows)
    ruled = rules_of(spec_of(kind)).apply(rows)
    assert len(ruled) == len(rows)
    assert repr(rows) == before
    for row, one in zip(rows, ruled, strict=True):
        assert set(one.row) == set(row)
