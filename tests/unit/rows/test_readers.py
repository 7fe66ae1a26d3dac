import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.rows import SCHEMAS, ParsedRow, RowError
from tests.unit.rows.specs import sentiment

AWKWARD = st.sampled_from(
    [None, "", " ", "\u3000", "a\0b", "\ud800", "é", "e\u0301", "İstanbul", "ﬁ", 3, 3.0, True, [], {}]
)
WORDS = st.one_of(st.text(max_size=20), st.text("aé \u0301\0好\u3000", max_size=6), AWKWARD)
LABELS = st.one_of(st.sampled_from(["negative", "positive", "posit\u0301ve", " ", ""]), WORDS)


def outcome(read, row: object) -> ParsedRow | tuple[str, str, str]:
    try:
        return read(row)
    except RowError as error:
        return error.reason, error.field, error.message


@settings(max_examples=300, deadline=None)
@given(
    row=st.fixed_dictionaries({}, optional={"text": WORDS, "label": LABELS, "text_pair": WORDS, "labels": WORDS}),
    labels=st.sampled_from([["negative", "positive"], ["a", " "], ["posit\u0301ve", "b"], None]),
)
def test_the_short_way_reads_every_row_as_the_long_one_does(row: dict[str, object], labels: list[str] | None) -> None:
    spec = sentiment(labels=labels)
    schema = SCHEMAS["classification"]
    read = schema.reader(spec)
    assert outcome(read, row) == outcome(lambda given: schema.check(given, spec), row)


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_what_people_wrote_is_among_what_a_row_may_hold_and_no_label_is(kind: str) -> None:
    schema = SCHEMAS[kind]
    assert set(schema.texts) <= set(schema.inputs)
    assert not {"label", "labels", "tags", "entities"} & set(schema.texts)


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_a_row_is_mapped_to_our_names_wherever_the_product_keeps_them(kind: str) -> None:
    schema = SCHEMAS[kind]
    names = {ours: f"body.{ours}" for ours in schema.inputs}
    row = {ours: f"the {ours}" for ours in schema.inputs}
    assert schema.mapped({"body": row, **dict.fromkeys(schema.inputs, "another")}, names) == row
    assert schema.mapped({f"body.{ours}": value for ours, value in row.items()}, names) == row
    assert schema.mapped(dict.fromkeys(schema.inputs), names) == {}


def test_messages_name_the_products_field_after_the_mapping() -> None:
    spec = sentiment(data={"fields": {"text": "tweet.body"}})
    with pytest.raises(RowError, match=r"text \(the product's tweet.body\) is missing"):
        SCHEMAS["classification"].parse({"tweet": {}, "text": "not this", "label": "a"}, spec)
