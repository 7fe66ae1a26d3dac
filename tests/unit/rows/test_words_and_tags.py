import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from shared.rows import Reason, RowError
from shared.rows.tags import tagged_spans, tags_of, to_iob2
from shared.rows.words import split_words, unspaced_share, word_spans

TAGS = st.lists(st.sampled_from(["O", *(f"{prefix}-{label}" for prefix in "BIES" for label in ("PER", "LOC"))]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ann's e-mail: a_b@c.de!", ["Ann", "'", "s", "e", "-", "mail", ":", "a", "_", "b", "@", "c", ".", "de", "!"]),
        ("我爱Berlin，真的。", ["我", "爱", "Berlin", "，", "真", "的", "。"]),
        ("カフェは3つ", ["カ", "フ", "ェ", "は", "3", "つ"]),
        ("서울에서 만나요", ["서울에서", "만나요"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("Café 5€ naïve", ["Café", "5", "€", "naïve"]),
        ("cafe\u0301 ok", ["cafe\u0301", "ok"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        (" \u3000\n", []),
        ("", []),
    ],
)
def test_words_are_cut_in_every_script(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@given(st.text(max_size=60))
def test_words_cover_all_that_is_no_blank_in_order(text: str) -> None:
    spans = word_spans(text)
    assert "".join(text[start:end] for start, end in spans) == "".join(text.split())
    assert all(start < end for start, end in spans)
    assert spans == sorted(spans)


@given(st.text(max_size=40))
def test_a_word_is_not_cut_further(text: str) -> None:
    for word in split_words(text):
        assert split_words(word) == [word]


def test_scripts_without_blanks_are_told_by_their_share_of_the_letters() -> None:
    assert unspaced_share("我爱你") == 1
    assert unspaced_share("I love 北京") == pytest.approx(2 / 7)
    assert unspaced_share("plain, text!") == unspaced_share("!?") == 0


@pytest.mark.parametrize(
    ("given_tags", "iob2"),
    [
        ("I-A I-A B-A O I-B", "B-A I-A B-A O B-B"),  # IOB1
        ("B-A I-A B-A O B-B", "B-A I-A B-A O B-B"),
        ("B-A E-A S-A O S-B", "B-A I-A B-A O B-B"),  # BIOES
        ("B-A L-A U-A O U-B", "B-A I-A B-A O B-B"),  # BILOU
        ("B-A I-B I-B", "B-A B-B I-B"),
        ("E-A I-A", "B-A B-A"),
        ("gene gene O gene-product", "B-gene I-gene O B-gene-product"),  # labels alone
        ("B-PER.NOM I-PER.NOM", "B-PER.NOM I-PER.NOM"),
    ],
)
def test_every_notation_becomes_iob2(given_tags: str, iob2: str) -> None:
    assert to_iob2(given_tags.split()) == iob2.split()


@pytest.mark.parametrize("tag", ["B", "B-", "I-", "S"])
def test_a_tag_without_a_label_is_named(tag: str) -> None:
    with pytest.raises(RowError) as refused:
        to_iob2(["O", tag])
    assert (refused.value.reason, refused.value.field) == (Reason.BAD_TAG, "tags[1]")


@given(TAGS)
def test_entities_are_seqevals_before_and_after(tags: list[str]) -> None:
    made = to_iob2(tags)
    spans = [(span.label, span.first, span.end - 1) for span in tagged_spans(made)]
    assert spans == get_entities(made) == get_entities(tags)
    assert tags_of(tagged_spans(made), len(made)) == made == to_iob2(made)
