"""The README is true: its commands run, and so do its lines of client code."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.platform import Platform, wait_for_champion, wait_until_served
from tests.support.rows import learnable_rows
from tests.support.tiny_models import tiny_decoder, tiny_encoder
from tests.support.wait import eventually

pytestmark = pytest.mark.timeout(400)
ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()

LABELS = """\
name: sentiment
kind: classification
labels: [positive, negative]
base: {base}
method: {{name: full, learning_rate: 4e-3, epochs: 8, batch_size: 8}}
gate: {{floors: {{accuracy: 0.6}}}}
trigger: {{new_rows: 100}}
"""
SUPPORT = """\
name: support
kind: chat
base: {base}
method: {{name: lora}}
gate: {{floors: {{chrf: 0}}}}
trigger: {{new_rows: 50}}
"""


def block(language: str, number: int = 0) -> str:
    return str(re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)[number])


def commands_of(number: int) -> list[list[str]]:
    """The words of each command of a block."""
    return [shlex.split(line, comments=True) for line in block("sh", number).splitlines() if line.strip()]


def test_the_commands_run_in_the_order_given(tmp_path: Path) -> None:
    commands = commands_of(0)
    assert commands[0][:2] == ["flywheel", "up"]
    assert commands[-1][:2] == ["flywheel", "down"]
    platform = Platform(tmp_path / "home")
    try:
        for command in commands:
            done = platform.cli(*[str(ROOT / word) if word.startswith("examples/") else word for word in command[1:]])
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}{platform.logs()}"
    finally:
        platform.cli("down")


def test_the_commands_about_runs_do_what_is_said_of_them(tmp_path: Path) -> None:
    platform = Platform(tmp_path / "home").start()
    try:
        with platform.client() as client:
            labels = LABELS.replace("epochs: 8", "epochs: 3")
            client.apply_pipeline(labels.format(base=tiny_encoder(tmp_path / "encoder")))
            names = {"good": "positive", "bad": "negative"}
            client.append_rows(
                "sentiment", [{"text": row["text"], "label": names[row["label"]]} for row in learnable_rows(300)]
            )
            wait_for_champion(client, "sentiment", 1)
            job = client.jobs("sentiment")[0].id
        said = {}
        for command in commands_of(1):
            words = [
                job if word == "JOB" else str(tmp_path / word) if word == "report.html" else word for word in command
            ]
            done = platform.cli(*words[1:], timeout=300)
            assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}{platform.logs()}"
            said[command[1]] = done.stdout + done.stderr
        assert "identical" in said["verify"]
        assert "succeeded" in said["searches"]
        assert (tmp_path / "report.html").read_text().count("<svg") >= 3
    finally:
        platform.stop()


def test_the_lines_of_client_code_run(tmp_path: Path) -> None:
    code = block("python")
    assert 8 <= len([line for line in code.splitlines() if line.strip()]) <= 12, "the README promises ten lines"
    platform = Platform(tmp_path / "home").start()
    try:
        with platform.client() as client:
            client.apply_pipeline(LABELS.format(base=tiny_encoder(tmp_path / "encoder")))
            names = {"good": "positive", "bad": "negative"}
            rows = [{"text": row["text"], "label": names[row["label"]]} for row in learnable_rows(300)]
            client.append_rows("sentiment", rows)
            client.apply_pipeline(SUPPORT.format(base=tiny_decoder(tmp_path / "decoder")))
            client.append_rows("support", [{"prompt": f"price of {n}?", "response": "ten coins"} for n in range(150)])
            wait_for_champion(client, "sentiment", 1)
            wait_for_champion(client, "support", 1)
            wait_until_served(client, "sentiment", 1)
            wait_until_served(client, "support", 1)
            done = subprocess.run(
                [sys.executable, "-c", code], env=platform.environment, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, done.stderr
            assert re.match(r"(positive|negative) by version 1\n", done.stdout)
            assert re.search(r"\n\((eos|length|stop)\)\n$", done.stdout), done.stdout
            eventually(lambda: client.batches("sentiment")[0].source == "feedback")
    finally:
        platform.stop()
