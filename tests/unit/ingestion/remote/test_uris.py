"""URIs that rows may come from, as they are read, compared and shown."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestion.remote.policy import Policy
from services.ingestion.remote.uris import FileUri, S3Uri, WebUri, parse_uri, shown
from shared.config import load_settings
from shared.errors import InvalidArgument, PermissionDenied

SCHEMES = ("https://", "http://", "https://a@", "https://[", "file:///", "file://", "s3://", "s3://bucket/")


def policy(**settings: object) -> Policy:
    return Policy.of(load_settings(**settings))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("s3://bucket/a/b c#d?.jsonl", S3Uri("bucket", "a/b c#d?.jsonl")),
        ("s3://bucket/", S3Uri("bucket", "")),
        ("file:///data/a%20b.jsonl", FileUri(PurePosixPath("/data/a b.jsonl"), False)),
        ("file://localhost/data/", FileUri(PurePosixPath("/data"), True)),
        ("https://Data.Example.ORG./a?b=c#d", WebUri("https", "data.example.org", 443, "/a?b=c")),
        ("HTTPS://bücher.example/", WebUri("https", "xn--bcher-kva.example", 443, "/")),
        ("https://203.0.113.7:8443", WebUri("https", "203.0.113.7", 8443, "/")),
        ("https://[2001:DB8:0::1]/", WebUri("https", "2001:db8::1", 443, "/")),
    ],
)
def test_a_uri_is_read(text: str, wanted: object) -> None:
    assert parse_uri(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rows.jsonl",
        "/etc/passwd",
        "s3:/bucket/key",
        "s3://../key",
        "s3://Bucket/key",
        "s3://b/key",
        "file://other/etc/passwd",
        "file:///data/../etc/passwd",
        "file:///data/%2e%2e/etc/passwd",
        "file:///data/a?b",
        "ftp://example.org/a",
        "gopher://example.org/",
        "data:text/plain,a",
        "jar:https://example.org/!/a",
        "https:///path",
        "https://user@example.org/",
        "https://user:word@example.org/",
        "https://example.org:port/",
        "https://example.org:99999/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.0.1.5/",
        "https://[fe80::1%25eth0]/",
        "https://exa mple.org/",
        "https://example.org/a b",
        "https://example.org\\@evil.example/",
        "https://example.org/\n",
        "https://example..org/",
        "https://-example.org/",
        "https://example.org/" + "a" * 3000,
    ],
)
def test_what_is_no_uri_of_ours_is_refused_with_what_is_taken(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"s3://bucket/key|printable characters"):
        parse_uri(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("https://example.org/a?token=secret", "https://example.org/a?…"),
        ("https://example.org?token=secret", "https://example.org"),
        ("https://user:secret@example.org/a#secret", "https://example.org/a"),
        ("s3://bucket/a?b", "s3://bucket/a?b"),
    ],
)
def test_what_may_be_secret_is_not_shown(text: str, wanted: str) -> None:
    assert shown(text) == wanted


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("https://data.example.org/a", True),
        ("https://example.org/a", False),
        ("https://evilexample.org/a", False),
        ("https://one.test/", True),
        ("https://two.one.test/", False),
        ("https://one.test:8443/", True),
        ("https://one.test:22/", False),
        ("http://one.test/", False),
        ("s3://lake/any/key", True),
        ("s3://shared/in/key", True),
        ("s3://shared/in", False),
        ("s3://shared/internal/key", False),
        ("file:///data/in/a", True),
        ("file:///data/in/", True),
        ("file:///data/internal/a", False),
    ],
)
def test_only_what_the_settings_name_is_allowed(text: str, allowed: bool) -> None:
    rules = policy(
        import_hosts="*.example.org, ONE.test",
        import_ports="443,8443",
        import_buckets="lake, s3://shared/in",
        import_folders="/data/in",
    )
    if allowed:
        rules.check(parse_uri(text))
    else:
        with pytest.raises(PermissionDenied, match="FLYWHEEL_IMPORT_"):
            rules.check(parse_uri(text))


@pytest.mark.parametrize("text", ["https://example.org/", "s3://bucket/key", "file:///data/a"])
def test_nothing_is_allowed_without_settings(text: str) -> None:
    with pytest.raises(PermissionDenied, match="allows: nothing"):
        policy().check(parse_uri(text))


@pytest.mark.parametrize(
    "settings",
    [
        {"import_folders": "data"},
        {"import_ports": "https"},
        {"import_ports": "0"},
        {"import_networks": "10.1.2.3/8"},
        {"import_hosts": "127.1"},
    ],
)
def test_a_setting_that_can_t_be_is_named(settings: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        policy(**settings)


@given(st.text() | st.builds(lambda scheme, rest: scheme + rest, st.sampled_from(SCHEMES), st.text()))
def test_any_text_is_a_uri_of_ours_or_refused_and_can_be_shown(text: str) -> None:
    assert isinstance(shown(text), str)
    try:
        found = parse_uri(text)
    except InvalidArgument:
        return
    if isinstance(found, WebUri):
        assert found.host == found.host.lower()
        assert found.target.startswith("/")
        assert "@" not in found.authority
    elif isinstance(found, FileUri):
        assert found.path.is_absolute()
        assert ".." not in found.path.parts
