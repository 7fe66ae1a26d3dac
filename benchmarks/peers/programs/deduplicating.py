"""Copies found with other libraries: `python -m benchmarks.peers.programs.deduplicating WAY FILE CACHE`.

`python`: json.loads and a set of hashes. `datasets`: load_dataset, map (hash of text and label) and unique.
`datasketch`: MinHash of 128 permutations over pairs of words or characters and MinHashLSH at 0.8, as its manual has it.
The last line is one JSON object.
"""

import json
import re
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.ingesting.memory import peak_mib

WORD = re.compile(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+")
PERMUTATIONS = 128


def in_python(file: Path, cache: str) -> int:
    seen = set()
    with file.open("rb") as lines:
        for line in lines:
            row = json.loads(line)
            seen.add(_hash(row["text"], row["label"]))
    return len(seen)


def with_datasets(file: Path, cache: str) -> int:
    import datasets

    datasets.disable_progress_bars()
    rows: Any = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=cache)

    def hashed(batch: dict[str, list[str]]) -> dict[str, list[str]]:
        return {"hash": [_hash(*one) for one in zip(batch["text"], batch["label"], strict=True)]}

    return len(rows.map(hashed, batched=True).unique("hash"))


def with_datasketch(file: Path, cache: str) -> int:
    from datasketch import MinHash, MinHashLSH  # type: ignore[import-not-found]

    index, kept = MinHashLSH(threshold=0.8, num_perm=PERMUTATIONS), 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines):
            words = WORD.findall(json.loads(line)["text"].casefold())
            sketch = MinHash(num_perm=PERMUTATIONS)
            sketch.update_batch([f"{a} {b}".encode() for a, b in zip(words, words[1:] or words, strict=False)])
            kept += not index.query(sketch)
            index.insert(number, sketch)
    return kept


def _hash(text: str, label: str) -> str:
    return sha256(f"{label}\0{text}".encode()).hexdigest()


WAYS: dict[str, Callable[[Path, str], int]] = {
    "python": in_python,
    "datasets": with_datasets,
    "datasketch": with_datasketch,
}

if __name__ == "__main__":
    begun = perf_counter()
    rows = WAYS[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
    seconds = perf_counter() - begun
    print(json.dumps({"seconds": round(seconds, 3), "kept": rows, "peak_mib": peak_mib()}))
