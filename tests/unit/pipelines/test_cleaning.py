import pytest

from shared.errors import InvalidArgument
from shared.pipelines.reading import load_pipeline
from shared.pipelines.schema import PipelineSpec

HEAD = "name: reviews\nkind: {kind}\nbase: none\ndata:\n"


def declared(data: str, kind: str = "summarisation") -> PipelineSpec:
    return load_pipeline(HEAD.format(kind=kind) + data)


def test_a_pipeline_that_says_nothing_changes_no_text_and_flags_abuse_only() -> None:
    data = declared("  fields: {}").data
    assert (data.cleaning.changing, data.personal_data.in_force, data.toxic) == ([], {}, "flag")
    assert data.caps.per_source is data.caps.per_batch is None


def test_a_kind_of_personal_data_may_have_its_own_policy() -> None:
    found = declared("  personal_data: {policy: mask, kinds: [email, phone, iban], policies: {phone: hash, iban: off}}")
    assert found.data.personal_data.in_force == {"email": "mask", "phone": "hash"}


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("  cleaning: {languages: []}", "names no language"),
        ("  cleaning: {languages: [zh, chinese]}", "unknown languages chinese"),
        ("  cleaning: {characters: {}}", "needs least, most, or both"),
        ("  cleaning: {words: {least: 9, most: 3}}", "least=9 is more than most=3"),
        ("  cleaning: {htlm: true}", "did you mean 'html'"),
        ("  cleaning: {repetition: mask}", "repetition"),
        ("  personal_data: {policy: mask, kinds: []}", "names no kind"),
        ("  personal_data: {policy: mask, kinds: [emial]}", "did you mean 'email'"),
        ("  personal_data: {kinds: [email], policies: {phone: mask}}", "add it to kinds"),
        ("  personal_data: {phone_regions: [UK]}", "unknown countries UK"),
        ("  toxic: mask", "toxic"),
        ("  caps: {per_source: 0}", "per_source"),
    ],
)
def test_a_rule_that_can_not_be_is_refused_with_its_line_and_the_reason(data: str, what: str) -> None:
    with pytest.raises(InvalidArgument, match="line 5") as refused:
        declared(data)
    assert what in refused.value.message


@pytest.mark.parametrize("kind", ["token_classification", "relation_extraction", "question_answering"])
@pytest.mark.parametrize(
    "rule",
    [
        "cleaning: {html: true}",
        "cleaning: {unicode: nfkc}",
        "cleaning: {whitespace: true}",
        "cleaning: {control_characters: true}",
        "personal_data: {policy: mask}",
        "personal_data: {policy: flag, policies: {email: hash}}",
    ],
)
def test_places_in_a_text_are_not_moved_by_rules(kind: str, rule: str) -> None:
    with pytest.raises(InvalidArgument, match="changes the length of texts"):
        declared(f"  {rule}", kind)


@pytest.mark.parametrize("kind", ["token_classification", "relation_extraction", "question_answering"])
def test_rules_that_flag_or_reject_fit_every_kind(kind: str) -> None:
    rules = "  {cleaning: {languages: [zh], characters: {most: 99}}, personal_data: {policy: reject}, toxic: reject}"
    assert declared(rules, kind).data.toxic == "reject"
