"""Checking a file of rows on this machine, before anything is sent."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from shared.cli.output import console, table

if TYPE_CHECKING:
    from shared.client.operations import Pipeline

SHOWN = 20


@dataclass
class Problem:
    """`line` counts from 1."""

    line: int
    reason: str
    message: str


@dataclass
class FileCheck:
    """What ingestion would say to a file. Only the first problems are kept, all are counted."""

    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, line: int, reason: str, message: str) -> None:
        self.refused += 1
        self.reasons[reason] += 1
        if len(self.problems) < SHOWN:
            self.problems.append(Problem(line, reason, message))


def check_file(file: Path, pipeline: "Pipeline") -> FileCheck:
    """Reads a file line by line against the pipeline's schema."""
    from shared.pipelines.schema import PipelineSpec
    from shared.rows import SCHEMAS, RowError

    spec = PipelineSpec.model_validate(pipeline.spec)
    schema, check, seen = SCHEMAS[spec.kind], FileCheck(), set()
    with file.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            if not raw.strip():
                continue
            try:
                row = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
                if not isinstance(row, dict):
                    check.refuse(number, "NOT_AN_OBJECT", "a row is a JSON object")
                    continue
                parsed = schema.parse(row, spec)
            except UnicodeDecodeError as error:
                check.refuse(number, "BAD_ENCODING", f"not UTF-8 at byte {error.start}")
            except json.JSONDecodeError as error:
                check.refuse(number, "MALFORMED_JSON", f"{error.msg} at character {error.pos}")
            except RowError as error:
                check.refuse(number, str(error.reason), error.message)
            else:
                check.duplicates += parsed.row_id in seen
                check.accepted += parsed.row_id not in seen
                seen.add(parsed.row_id)
    return check


def show_check(file: Path, check: FileCheck) -> None:
    console().print(
        f"{file}: {check.accepted:,} rows would be accepted, {check.duplicates:,} are duplicates, "
        f"{check.refused:,} would go to quarantine; nothing was sent"
    )
    if check.problems:
        rows = [(problem.line, problem.reason, problem.message) for problem in check.problems]
        console().print(table(("line#", "reason", "what is wrong"), rows))
