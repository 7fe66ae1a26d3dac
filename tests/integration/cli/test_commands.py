"""The command against real gRPC servers: output, JSON, exit codes, errors in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared.cli import ask
from tests.integration.cli.conftest import Command
from tests.integration.client.servers import Fleet
from tests.support.processes import free_ports

HEAVY = ("torch", "transformers", "grpc", "sqlalchemy", "celery", "matplotlib", "pydantic")


def test_classify_shows_label_scores_version_and_request(fleet: Fleet, flywheel: Command) -> None:
    outcome = flywheel("classify", "sentiment", "what a [day]", "x")
    assert outcome.code == 0
    assert "what a [day]" in outcome.out
    assert "positive 0.750" in outcome.out
    assert "sentiment v2" in outcome.out
    assert fleet.inference.requests[0].request_id in outcome.out


def test_chat_streams_one_answer(fleet: Fleet, flywheel: Command) -> None:
    outcome = flywheel("chat", "support", "--message", "hello", "--alias", "base", "--max-tokens", "9")
    assert outcome.code == 0
    assert outcome.out.startswith("Good morning!\n")
    request = fleet.inference.requests[0]
    assert (request.model.alias, request.stopping.max_tokens) == ("base", 9)


def test_chat_asks_for_json_of_a_schema_in_a_file(fleet: Fleet, flywheel: Command, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "integer"}')
    assert flywheel("chat", "support", "--message", "hello", "--json-schema", str(schema)).code == 0
    assert fleet.inference.requests[0].constraint.json_schema == '{"type": "integer"}'
    assert flywheel("chat", "support", "--message", "hello", "--json-schema", str(tmp_path / "absent")).code != 0


def test_reading_commands_print_json(fleet: Fleet, flywheel: Command, tmp_path: Path) -> None:
    answer = json.loads(flywheel("classify", "sentiment", "a", "--json").out)
    assert answer["results"][0]["labels"][0]["label"] == "positive"
    batches = json.loads(flywheel("data", "batches", "--limit", "3", "--json").out)
    assert [batch["id"] for batch in batches] == ["batch-0", "batch-1", "batch-2"]
    events = flywheel("watch", "job-1", "--json").out.splitlines()
    assert [json.loads(event)["sequence"] for event in events] == [1, 2, 3, 4, 5]


def test_status_has_the_agreed_shape(fleet: Fleet, flywheel: Command, tmp_path: Path) -> None:
    outcome = flywheel("status", "--json")
    status = json.loads(outcome.out)
    assert outcome.code == 0
    assert status["ready"] is True
    assert status["home"] == str(tmp_path / "home")
    assert status["services"]["inference"] == {"address": fleet.address, "metrics": None, "ready": True, "pid": None}
    assert status["queues"] == {"ingestion": 3}
    sentiment = status["pipelines"]["sentiment"]
    assert (sentiment["champion"], sentiment["candidate"], sentiment["rows"], sentiment["state"]) == (
        2,
        None,
        7500,
        "idle",
    )
    assert "sentiment" in flywheel("status").out


def test_status_without_a_platform_says_so_and_exits_3(
    flywheel: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    outcome = flywheel("status", "--json")
    assert outcome.code == 3
    assert json.loads(outcome.out)["ready"] is False
    assert "flywheel up" in outcome.err


def test_an_unreachable_service_is_one_line_and_exit_3(
    flywheel: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_ports()[0]}"
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    monkeypatch.setenv("FLYWHEEL_CONTROL_ADDRESS", address)
    monkeypatch.setattr("shared.cli.options.CLI_PATIENCE_SECONDS", 0.2)
    outcome = flywheel("jobs")
    assert outcome.code == 3
    assert outcome.err == f"error: control at {address} can't be reached\n"


def test_a_refusal_is_one_line_and_exit_1(fleet: Fleet, flywheel: Command) -> None:
    outcome = flywheel("promote", "sentiment", "3")
    assert (outcome.code, outcome.err) == (1, "error: sentiment v3: the verdict is fail\n")
    outcome = flywheel("watch", "job-7")
    assert (outcome.code, outcome.err) == (1, "error: no job 'job-7'; nearest: 'job-1'\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["clasify"],
        ["classify"],
        ["promote", "sentiment", "three"],
        ["jobs", "--no-such-option"],
        ["feedback", "r-1"],
        ["feedback", "r-1", "--rating", "5"],
        ["models", "--history"],
    ],
)
def test_wrong_usage_is_exit_2(flywheel: Command, arguments: list[str]) -> None:
    outcome = flywheel(*arguments)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert outcome.err


def test_an_interruption_is_exit_130(fleet: Fleet, flywheel: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ask, "print_json", interrupt)
    outcome = flywheel("classify", "sentiment", "a", "--json")
    assert (outcome.code, outcome.err.strip()) == (130, "error: interrupted")


def test_ingest_sends_a_file_and_a_rejected_batch_is_exit_1(fleet: Fleet, flywheel: Command, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a"}\n')
    outcome = flywheel("ingest", str(file), "--pipeline", "sentiment")
    assert outcome.code == 1
    assert "rejected" in outcome.out
    assert "no row can be used" in outcome.out
    assert fleet.ingestion.file == file.read_bytes()


def test_a_missing_file_is_named(fleet: Fleet, flywheel: Command, tmp_path: Path) -> None:
    outcome = flywheel("ingest", str(tmp_path / "nowhere.jsonl"), "--pipeline", "sentiment")
    assert outcome.code == 1
    assert outcome.err.endswith("nowhere.jsonl: no such file\n")
    outcome = flywheel("apply", str(tmp_path / "nowhere.yaml"))
    assert "nowhere.yaml: No such file" in outcome.err


def test_explain_pipeline_names_every_key(flywheel: Command) -> None:
    outcome = flywheel("explain", "pipeline")
    assert outcome.code == 0
    for key in ("name", "method.learning_rate", "data.splits.test", "trigger.new_rows", "gate.champion"):
        assert key in outcome.out
    assert {"path": "seed", "meaning": "Seed of data order, head and dropout.", "default": "0"} in json.loads(
        flywheel("explain", "pipeline", "--json").out
    )


def test_doctor_finds_this_machine_fit_and_hides_secrets(
    flywheel: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    monkeypatch.setenv("FLYWHEEL_DATABASE_URL", f"sqlite:///{tmp_path}/secret.db")
    found = json.loads(flywheel("doctor", "--json").out)
    checks = {check["name"]: check for check in found["checks"]}
    assert checks["queue"]["fine"]
    assert checks["database"]["fine"]
    assert found["settings"]["database_url"] == "(set)"


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom shared.cli.main import execute\ncode = execute(['--help'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
