"""What deploy/tls says about certificates and keys is true: its commands run, and a server and a client start with them."""

import re
import subprocess
from pathlib import Path

import grpc
import pytest
import yaml

from shared.config import Settings, load_settings
from shared.rpc.security import Security
from tests.deploy.test_manifests import ROOT, run, tool
from tests.integration.security.world import World, classify

FOLDER = ROOT / "deploy/tls"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the commands of the README have run."""
    folder = tmp_path_factory.mktemp("tls")
    tool("openssl")
    commands = re.search(r"```sh\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    assert commands
    done = subprocess.run(["sh", "-eu", "-c", commands[1]], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def settings_of_compose(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As a service has them in compose, with the mounted folder in its place."""
    environment = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())["x-secured"]["environment"]
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("/run/flywheel", str(folder / "server")))
    return load_settings()


def test_a_server_and_a_product_start_with_what_the_commands_make(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = Security.of(settings_of_compose(made, monkeypatch))
    shop = Security(
        certificate=str(made / "client/client.pem"),
        key=str(made / "client/client.key"),
        authority=str(made / "client/ca.pem"),
        api_key=(made / "client/api.key").read_text().strip(),
    )
    world = World(platform)
    try:
        assert classify(world.channel(shop), "sentiment") == "shop"
        assert classify(world.channel(platform), "anything") == "platform"
        with pytest.raises(grpc.RpcError, match="does not cover the model"):
            classify(world.channel(shop), "anything")
    finally:
        world.close()


def test_the_compose_files_fit_together() -> None:
    files = ("-f", "docker-compose.yml", "-f", "deploy/tls/docker-compose.yml")
    checked = run(tool("docker-compose"), "--env-file", "deploy/example.env", *files, "config")
    assert checked.returncode == 0, checked.stderr
    services = yaml.safe_load(checked.stdout)["services"]
    for name in ("ingestion", "control", "inference"):
        environment = services[name]["environment"]
        assert environment["FLYWHEEL_TLS_CLIENT_CA"] == "/run/flywheel/ca.pem"
        assert environment["FLYWHEEL_LISTEN"], "the first file's settings are kept"


def test_every_setting_in_it_exists() -> None:
    named = set(re.findall(r"FLYWHEEL_([A-Z_]+?)(?:_FILE)?:", (FOLDER / "docker-compose.yml").read_text()))
    assert named
    assert {name.lower() for name in named} <= set(Settings.model_fields)
