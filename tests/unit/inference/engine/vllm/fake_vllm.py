"""Speaks the language of our program around vLLM without vLLM: every token of an answer is the prompt's last.

A prompt that begins with 1 is refused, with 2 kills the process, with 3 is answered slowly. With the first argument
`broken` it does not start, with `once` only the first time.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

if sys.argv[1] == "broken" or (sys.argv[1] == "once" and Path(sys.argv[2]).exists()):
    sys.exit(3)
Path(sys.argv[2]).touch()
settings = json.loads(sys.stdin.readline())
print(json.dumps({"ready": True}), flush=True)
aborted: set[str] = set()
lock = threading.Lock()


def answer(wanted: dict) -> None:  # type: ignore[type-arg]
    prompt, tokens = wanted["prompt"], wanted["sampling"]["max_tokens"]
    for place in range(tokens):
        if prompt[0] == 3:
            time.sleep(0.01)
        if wanted["key"] in aborted:
            return
        told = {
            "key": wanted["key"],
            "index": 0,
            "text": chr(prompt[-1]),
            "tokens": [prompt[-1]],
            "logprobs": [],
            "finished": "length" if place == tokens - 1 else None,
            "stopped_by": None,
            "cached": 0,
        }
        with lock:
            print(json.dumps([told]), flush=True)


for line in sys.stdin:
    command = json.loads(line)
    if "abort" in command:
        aborted.add(command["abort"])
        continue
    wanted = command["add"]
    if wanted["prompt"][0] == 1:
        with lock:
            print(json.dumps({"refused": wanted["key"], "error": "no ones"}), flush=True)
    elif wanted["prompt"][0] == 2:
        os._exit(9)
    else:
        threading.Thread(target=answer, args=(wanted,), daemon=True).start()
