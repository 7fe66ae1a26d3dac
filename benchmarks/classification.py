"""Rows per second of classification through the gRPC door, against transformers' `pipeline` in the same run.

    .venv/bin/python -m benchmarks.classification [--texts 1024] [--rounds 5] [--threads 0]

MiniLM with a fitted head; real tweets of mixed lengths, one a call, 64 callers at once. The contenders take turns, so
that a busy machine slows all; a round's figures are compared with each other, and the median over the rounds counts.
Then calls come at random (Poisson) at half the rate that was reached, for the latency. The last line is JSON.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import grpc
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from benchmarks.classifier import register, write_classifier
from benchmarks.machine import describe_machine
from shared.cli.demo.material import load_tweets
from shared.config import child_environment, load_settings
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub
from shared.modeling.quiet import quiet_libraries
from shared.rpc.channel import open_channel
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.migrate import migrate

CALLERS = 64
FITTED_ROWS = 640
AIMS = {"one_by_one": 5.0, "bfloat16_batches": 1.8, "same_label": 0.995, "p99_ms": 60.0}
ONE_BY_ONE_SHARE = 8  # the slowest contender answers every so many-th text
MODEL = common_pb2.ModelRef(name="bench")


def main() -> None:
    options = _options()
    quiet_libraries()
    tweets = load_tweets()
    texts = [row["text"] for row in tweets.more[: options.texts]]
    with tempfile.TemporaryDirectory() as home:
        url = f"sqlite:///{Path(home) / 'flywheel.db'}"
        settings = load_settings(home=Path(home), database_url=url)
        folder = write_classifier(Path(home) / "model", settings.cache_folder / "bases", tweets.first[:FITTED_ROWS])
        migrate(url)
        database = Database(url)
        register(database, Artifacts(settings.resolved_artifacts_url, settings.cache_folder), "bench", folder)
        database.close()
        exact, fast = _pipeline(folder, torch.float32), _pipeline(folder, torch.bfloat16)
        with _server(Path(home), url, options.threads) as stub:
            print("serving", file=sys.stderr)
            result = _measure(stub, exact, fast, texts, options.rounds)
    result["reached"] = _judge(result)
    print(json.dumps({"benchmark": "classification", **result, "aims": AIMS, "machine": describe_machine()}))


def _measure(stub: InferenceStub, exact: Any, fast: Any, texts: Sequence[str], rounds: int) -> dict[str, Any]:
    some = texts[::ONE_BY_ONE_SHARE]
    contenders: dict[str, Callable[[], int]] = {
        "ours": lambda: len(_all_at_once(stub, texts)),
        "one_by_one": lambda: len([exact(text) for text in some]),
        "bfloat16_batches": lambda: len(fast(list(texts), batch_size=64)),
    }
    _all_at_once(stub, texts[:CALLERS])
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, run in contenders.items():
            began = time.perf_counter()
            rates[name].append(run() / (time.perf_counter() - began))
        print(number, {name: round(seen[-1], 1) for name, seen in rates.items()}, file=sys.stderr)
    found = _all_at_once(stub, texts)
    wanted = [exact(text)["label"] for text in texts]
    rate = median(rates["ours"])
    waits = _at_random(stub, texts, rate / 2)
    return {
        "rows_per_second": {name: round(median(seen), 1) for name, seen in rates.items()},
        "ratios": {
            name: round(median(mine / other for mine, other in zip(rates["ours"], rates[name], strict=True)), 2)
            for name in ("one_by_one", "bfloat16_batches")
        },
        "same_label": round(sum(map(str.__eq__, found, wanted)) / len(texts), 4),
        "half_load": {
            "calls_per_second": round(rate / 2, 1),
            "p50_ms": round(median(waits) * 1e3, 1),
            "p99_ms": round(quantiles(waits, n=100)[98] * 1e3, 1),
        },
    }


def _judge(result: dict[str, Any]) -> dict[str, bool]:
    return {
        **{name: result["ratios"][name] >= AIMS[name] for name in ("one_by_one", "bfloat16_batches")},
        "same_label": result["same_label"] >= AIMS["same_label"],
        "p99_ms": result["half_load"]["p99_ms"] <= AIMS["p99_ms"],
    }


def _all_at_once(stub: InferenceStub, texts: Sequence[str]) -> list[str]:
    """The best label of each text, one a call, as many calls at once as there are callers."""
    room = threading.Semaphore(CALLERS)
    calls = []
    for text in texts:
        room.acquire()
        call = stub.Classify.future(pb.ClassifyRequest(model=MODEL, texts=[text], top_k=1), timeout=60)
        call.add_done_callback(lambda _: room.release())
        calls.append(call)
    return [str(call.result().results[0].labels[0].label) for call in calls]


def _at_random(stub: InferenceStub, texts: Sequence[str], rate: float) -> list[float]:
    """Seconds from when each call was due to its answer."""
    chance = random.Random(0)
    waits: list[float] = []
    calls = []
    due = time.perf_counter()
    for text in texts:
        due += chance.expovariate(rate)
        time.sleep(max(due - time.perf_counter(), 0))
        call = stub.Classify.future(pb.ClassifyRequest(model=MODEL, texts=[text], top_k=1), timeout=60)
        call.add_done_callback(partial(_note, waits, due))
        calls.append(call)
    for call in calls:
        call.result()
    return waits


def _note(waits: list[float], due: float, call: "grpc.Future[pb.ClassifyResponse]") -> None:
    waits.append(time.perf_counter() - due)


def _pipeline(folder: Path, dtype: torch.dtype) -> Any:
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype)
    made: Any = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(folder))
    return lambda text, **options: made(text, truncation=True, **options)[0 if isinstance(text, str) else slice(None)]


@contextmanager
def _server(home: Path, url: str, threads: int) -> Iterator[InferenceStub]:
    """The service in a process of its own, once it answers."""
    environment = child_environment(home=home, database_url=url, threads=threads or None, log_level="WARNING")
    command = [sys.executable, "-m", "services.inference"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        with open_channel(json.loads(process.stdout.readline())["address"]) as channel:
            stub = InferenceStub(channel)
            _wait_for(stub, process)
            yield stub
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(stub: InferenceStub, process: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + 120
    while True:
        try:
            stub.Classify(pb.ClassifyRequest(model=MODEL, texts=["ready"]), timeout=5)
            return
        except grpc.RpcError:
            if time.monotonic() > until or process.poll() is not None:
                raise
            time.sleep(0.2)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="threads that a computation uses; 0: as in service")
    return parser.parse_args()


if __name__ == "__main__":
    main()
