"""The README is true: its commands run, and so do its lines of client code."""

import gzip
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from shared.client import FlywheelClient
from shared.errors import NotFound
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
FILES = ("reviews.csv", "more.jsonl.gz", "card.html", "diff.html", "rows.csv")
NOUNS = [("wonder", "positive"), ("sorrow", "negative"), ("thunder", "negative")]


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


def test_the_commands_about_data_do_what_is_said_of_them(tmp_path: Path) -> None:
    rows = [(f"review {number} of {noun * 3}", label) for number, (noun, label) in enumerate(NOUNS * 20)]
    (tmp_path / "reviews.csv").write_text("".join(["text,label\n", *(f"{text},{label}\n" for text, label in rows)]))
    with gzip.open(tmp_path / "more.jsonl.gz", "wt") as more:
        more.write("".join(json.dumps({"text": text[::-1], "label": label}) + "\n" for text, label in rows))
    platform = Platform(tmp_path / "home").start()
    said = []
    try:
        with platform.client() as client:
            base = tiny_encoder(tmp_path / "encoder")
            client.apply_pipeline(LABELS.format(base=base).replace("new_rows: 100", "new_rows: 100000"))
            for command in commands_of(2):
                words = [
                    str(tmp_path / word) if word in FILES and "--source" not in command else word for word in command
                ]
                if "ROW" in words:
                    words[words.index("ROW")] = next(iter(client.rows("sentiment", limit=1))).id
                done = platform.cli(*words[1:])
                assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}{platform.logs()}"
                said.append(done.stdout)
                if command[1] == "ingest" and "--dry-run" not in command:
                    expected = 2 if "more.jsonl.gz" in command else 1
                    eventually(lambda expected=expected: newest_version(client) == expected)
            eventually(lambda: newest_version(client) == 3)
            assert client.dataset_version("sentiment").splits == client.dataset_version("sentiment", 1).splits
    finally:
        platform.stop()
    assert all((tmp_path / name).read_text().count("<svg") >= 1 for name in ("card.html", "diff.html"))
    assert (tmp_path / "rows.csv").read_text().count("review") >= 1
    assert any("train" in one for one in said)


def newest_version(client: FlywheelClient) -> int:
    try:
        return client.dataset_version("sentiment").version
    except NotFound:
        return 0


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
