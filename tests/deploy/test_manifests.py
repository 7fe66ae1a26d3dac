"""What is deployed is valid, and names only things that exist. Nothing here needs a container engine."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY

import shared.telemetry.metrics  # registers every metric
from shared.config import PREFIX, Settings
from shared.contracts.routes import QUEUES

ROOT = Path(__file__).resolve().parents[2]
assert shared.telemetry.metrics.DEAD_LETTERS


def tool(name: str) -> str:
    """A command from outside Python: missing, it skips on a laptop and fails in CI."""
    found = shutil.which(name) or shutil.which(name, path=str(ROOT / ".venv/bin"))
    if found is None and os.environ.get("CI"):
        pytest.fail(f"{name} is not installed, and CI has to have it")
    return found or pytest.skip(f"{name} is not installed")


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


def test_the_compose_file_is_valid_with_the_example_environment() -> None:
    checked = run(tool("docker-compose"), "--env-file", "deploy/example.env", "config")
    assert checked.returncode == 0, checked.stderr
    services = yaml.safe_load(checked.stdout)["services"]
    assert {"redis", "postgres", "object-store", "ingestion", "control", "evaluation", "inference"} <= services.keys()


def test_the_compose_file_refuses_to_run_without_passwords(tmp_path: Path) -> None:
    (tmp_path / "empty.env").touch()
    checked = run(tool("docker-compose"), "--env-file", str(tmp_path / "empty.env"), "config")
    assert checked.returncode != 0
    assert "in .env" in checked.stderr


def test_workers_scale_by_device_and_every_queue_has_a_worker() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    served = {services[f"finetuning-{device}"]["environment"]["FLYWHEEL_QUEUES"] for device in ("cpu", "gpu")}
    assert served | {"ingestion", "control", "evaluation"} == set(QUEUES)
    assert all("ports" not in services[f"finetuning-{device}"] for device in ("cpu", "gpu")), "a port can't be scaled"


def test_every_setting_in_the_compose_file_exists() -> None:
    named = set(re.findall(rf"{PREFIX}([A-Z_]+):", (ROOT / "docker-compose.yml").read_text()))
    assert named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_the_dockerfile_is_clean_and_has_a_target_for_every_build() -> None:
    linted = run(tool("hadolint"), "deploy/docker/Dockerfile")
    assert linted.returncode == 0, linted.stdout
    targets = set(re.findall(r"^FROM \S+ AS (\S+)", (ROOT / "deploy/docker/Dockerfile").read_text(), re.MULTILINE))
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert {service["build"]["target"] for service in services.values() if "build" in service} <= targets


def test_what_the_dockerfile_copies_is_in_the_build_context() -> None:
    copied = set(
        re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "deploy/docker/Dockerfile").read_text(), re.MULTILINE)
    )
    sources = {source for line in copied for source in line.split()}
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == entry or source.startswith(entry + "/") for entry in let_through), source


def test_prometheus_accepts_its_configuration_and_alerts() -> None:
    checked = run(tool("promtool"), "check", "config", "deploy/prometheus/prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def exported() -> set[str]:
    """Every sample name that /metrics can show."""
    names = {name for metric in REGISTRY.collect() for name in (metric.name, *(s.name for s in metric.samples))}
    return (
        names
        | {f"{m.name}_total" for m in REGISTRY.collect() if m.type == "counter"}
        | {
            f"{m.name}_{suffix}"
            for m in REGISTRY.collect()
            if m.type == "histogram"
            for suffix in ("bucket", "count", "sum")
        }
    )


@pytest.mark.parametrize("file", ["deploy/grafana/dashboards/flywheel.json", "deploy/prometheus/alerts.yml"])
def test_dashboards_and_alerts_ask_only_for_metrics_that_exist(file: str) -> None:
    asked = set(re.findall(r"flywheel_[a-z_]+", (ROOT / file).read_text()))
    assert asked
    assert asked - exported() == set()


def test_the_dashboard_has_panels_that_do_not_overlap() -> None:
    panels = json.loads((ROOT / "deploy/grafana/dashboards/flywheel.json").read_text())["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)
