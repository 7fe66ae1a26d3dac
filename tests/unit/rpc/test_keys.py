"""The file of API keys: what it may say, what it must not, and how it changes."""

import hashlib
from pathlib import Path

import pytest

from shared.errors import InvalidArgument, ResourceExhausted
from shared.rpc import keys
from shared.rpc.callers import Role
from shared.rpc.keys import KeyRing, parse_keys
from shared.rpc.security import Security
from tests.support.wait import eventually

KEY = "a-key-of-sixteen-and-more"


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def test_a_key_is_found_by_its_digest_with_all_that_it_may_do() -> None:
    text = f"""
    - key_sha256: {digest(KEY)}
      tenant: acme
      roles: [call, ingest]
      models: [mood]
      priority_max: 5
    """
    caller = KeyRing(Security(api_keys=text)).find(KEY)
    assert caller is not None
    assert (caller.tenant, caller.roles, caller.models) == (
        "acme",
        frozenset({Role.CALL, Role.INGEST}),
        frozenset({"mood"}),
    )
    assert caller.priority_max == 5


def test_json_works_too_and_a_key_may_only_call_unless_it_says_more() -> None:
    caller = KeyRing(Security(api_keys=f'[{{"key": "{KEY}", "tenant": "acme"}}]')).find(KEY)
    assert caller is not None
    assert (caller.roles, caller.models) == (frozenset({Role.CALL}), None)


@pytest.mark.parametrize("wrong", ["", KEY[:-1], KEY + "x", KEY.upper(), "\udcff", digest(KEY)])
def test_another_key_is_nobody(wrong: str) -> None:
    assert KeyRing(Security(api_keys=f"[{{key: {KEY}, tenant: acme}}]")).find(wrong) is None


def test_the_keys_of_a_tenant_share_its_quota() -> None:
    text = "\n".join(f"- {{key: {KEY}{n}, tenant: acme, concurrent: 1}}" for n in (1, 2))
    ring = KeyRing(Security(api_keys=text))
    first, second = ring.find(KEY + "1"), ring.find(KEY + "2")
    assert first is not None
    assert second is not None
    assert first.quota is not None
    assert second.quota is not None
    first.quota.enter()
    with pytest.raises(ResourceExhausted):
        second.quota.enter()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "is not YAML, line 1"),
        ("tenant: acme", "should be a valid list"),
        ("", "should be a valid list"),
        ("- {tenant: acme}", "0: Value error, give one of key and key_sha256"),
        (f"- {{key: {KEY}, key_sha256: {digest(KEY)}, tenant: acme}}", "give one of"),
        (f"- {{key: {KEY}}}", "0.tenant: Field required"),
        (f"- {{key: {KEY}, tenant: acme, rate: 5}}", "0.rate: Extra inputs"),
        ("- {key: secret, tenant: acme}", "0.key: String should have at least 16"),
        ("- {key_sha256: abc, tenant: acme}", "0.key_sha256"),
        (f"- {{key: {KEY}, tenant: 'a b'}}", "0.tenant"),
        (f"- {{key: {KEY}, tenant: acme, roles: [root]}}", "0.roles"),
        (f"- {{key: {KEY}, tenant: acme, roles: []}}", "0.roles"),
        (f"- {{key: {KEY}, tenant: acme, requests_per_second: 0}}", "0.requests_per_second"),
        (f"- {{key: {KEY}, tenant: acme, requests_per_second: .nan}}", "0.requests_per_second"),
        (f"- {{key: {KEY}, tenant: acme, burst: 5}}", "burst needs requests_per_second"),
        (f"- {{key: {KEY}, tenant: acme, roles: [operate], models: [mood]}}", "operator acts on every model"),
        (f"- {{key: {KEY}, tenant: acme}}\n- {{key: {KEY}, tenant: other}}", "1: the key is there twice"),
        (f"- {{key: {KEY}, tenant: acme, concurrent: 1}}\n- {{key: {KEY}2, tenant: acme}}", "'acme' differ"),
    ],
)
def test_a_mistake_is_named_and_no_key_is_told(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_keys(text, "FLYWHEEL_API_KEYS")
    assert words in caught.value.message
    assert caught.value.message.startswith("FLYWHEEL_API_KEYS")
    assert "secret" not in caught.value.message
    assert KEY not in caught.value.message


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"FLYWHEEL_API_KEYS_FILE=.*No such file"):
        KeyRing(Security(api_keys_file=str(tmp_path / "none")))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidArgument, match="UTF-8"):
        KeyRing(Security(api_keys_file=str(tmp_path / "bytes")))


def test_a_changed_file_is_read_again_and_a_wrong_one_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "LOOK_SECONDS", 0.0)
    path = tmp_path / "keys.yaml"
    path.write_text(f"- {{key: {KEY}, tenant: acme}}")
    ring = KeyRing(Security(api_keys_file=str(path)))
    path.write_text("- {nonsense")
    ring.find(KEY)
    path.write_text(f"- {{key: {KEY}2, tenant: acme}}")
    eventually(lambda: ring.find(KEY + "2") is not None)
    assert ring.find(KEY) is None
    path.write_text("- {nonsense")
    eventually(lambda: ring.find("x") is None and not ring._reading.locked())
    path.unlink()
    ring.find(KEY)
    eventually(lambda: not ring._reading.locked())
    assert ring.find(KEY + "2") is not None


def test_an_empty_list_lets_nobody_in() -> None:
    assert KeyRing(Security(api_keys="[]")).find(KEY) is None


def test_neither_keys_nor_files_of_keys_show_in_what_is_printed() -> None:
    assert KEY not in repr(Security(api_key=KEY, api_keys=f"[{{key: {KEY}, tenant: acme}}]"))
