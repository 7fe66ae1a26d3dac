"""A whole platform whose services, command line and products speak mutual TLS and show keys."""

from pathlib import Path

from tests.support.certificates import Authority
from tests.support.platform import Platform

OPERATOR, PRODUCT = "the-key-of-the-operator", "the-key-of-one-product"
KEYS = f"""
- {{key: {OPERATOR}, tenant: platform, roles: [call, operate, ingest]}}
- {{key: {PRODUCT}, tenant: shop}}
"""


def test_the_platform_runs_secured_and_turns_others_away(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.sign("server")
    (tmp_path / "keys.yaml").write_text(KEYS)
    secured = {
        "FLYWHEEL_TLS_CERT": pair.certificate,
        "FLYWHEEL_TLS_KEY": pair.key,
        "FLYWHEEL_TLS_CA": authority.path,
        "FLYWHEEL_TLS_CLIENT_CA": authority.path,
        "FLYWHEEL_API_KEYS_FILE": str(tmp_path / "keys.yaml"),
        "FLYWHEEL_API_KEY": OPERATOR,
    }
    platform = Platform(tmp_path / "home", **secured).start()
    try:
        assert platform.json("status")["ready"]
        finding = {check["name"]: check for check in platform.json("doctor")["checks"]}["TLS"]
        assert finding["finding"].startswith("on, clients need certificates; FLYWHEEL_TLS_CERT ends in ")
        assert not finding["fine"], "it ends within a month"
        platform.environment["FLYWHEEL_API_KEY"] = PRODUCT
        refused = platform.cli("models")
        assert (refused.returncode, "needs a key with the role operate" in refused.stderr) == (1, True)
    finally:
        platform.stop()
