"""protos/ and what was generated from it say the same."""

import subprocess
import sys
from pathlib import Path

from shared.contracts import generate


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "shared.contracts.generate", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    fresh, committed = _files(tmp_path), _files(generate.GENERATED)
    assert fresh.keys() == committed.keys()
    stale = [name for name, content in fresh.items() if committed[name] != content]
    assert stale == [], "run: python -m shared.contracts.generate"


def test_buf_finds_nothing_to_say() -> None:
    buf = Path(sys.executable).parent / "buf"
    done = subprocess.run([buf, "lint", generate.PROTOS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_field_and_message_has_a_comment() -> None:
    bare = []
    for path in generate.PROTOS.rglob("*.proto"):
        before = ""
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            words = line.split("//")[0].split()
            declares = words[:1] in (["message"], ["enum"], ["service"], ["rpc"]) or (
                len(words) >= 4 and words[-2] == "=" and words[-1].endswith(";") and words[0] != "option"
            )
            if declares and "//" not in line and not before.startswith("//"):
                bare.append(f"{path.name}:{number}")
            before = line.strip()
    assert bare == []


def _files(root: Path) -> dict[str, str]:
    found = (path for path in root.rglob("*.py*") if path.suffix in (".py", ".pyi"))
    return {path.relative_to(root).as_posix(): path.read_text() for path in found}
