"""The program around vLLM, run by an interpreter that has it: `python -P program.py`. It imports nothing of ours.

Lines of JSON. In: first the settings of the engine, then `{"add": ...}` or `{"abort": key}`. Out: `{"ready": ...}`,
then a list a step with what each answer got, or `{"refused": key, "error": ...}`. Standard input's end is its own.
"""

import json
import os
import queue
import sys
import threading
from typing import Any

Line = dict[str, Any]


def main() -> None:
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the library prints must not mix with our lines
    engine = _open(json.loads(sys.stdin.readline()))
    commands: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(commands,), daemon=True).start()
    _write(lines, {"ready": True})
    while _obey(engine, commands, lines):
        outputs = [told for output in engine.step() for told in _tell(output)]
        if outputs:
            _write(lines, outputs)


def _open(settings: Line) -> Any:
    from vllm.engine.arg_utils import EngineArgs  # type: ignore[import-not-found]  # lives in its own environment
    from vllm.v1.engine.llm_engine import LLMEngine  # type: ignore[import-not-found]

    return LLMEngine.from_engine_args(EngineArgs(**settings), enable_multiprocessing=False)


def _read(commands: "queue.SimpleQueue[Line | None]") -> None:
    for line in sys.stdin:
        commands.put(json.loads(line))
    commands.put(None)


def _obey(engine: Any, commands: "queue.SimpleQueue[Line | None]", lines: Any) -> bool:
    """Takes what was asked for, waiting for it when there is nothing to compute. False at the end."""
    while not commands.empty() or not engine.has_unfinished_requests():
        command = commands.get()
        if command is None:
            return False
        if "abort" in command:
            engine.abort_request([command["abort"]])
        else:
            _add(engine, command["add"], lines)
    return True


def _add(engine: Any, wanted: Line, lines: Any) -> None:
    from vllm.sampling_params import (  # type: ignore[import-not-found]
        RequestOutputKind,
        SamplingParams,
        StructuredOutputsParams,
    )

    prompt = {"prompt_token_ids": wanted["prompt"]} | ({"cache_salt": wanted["salt"]} if wanted["salt"] else {})
    fields = dict(wanted["sampling"])
    fields["logit_bias"] = {int(token): bias for token, bias in fields["logit_bias"].items()} or None
    try:
        if wanted["constraint"]:
            fields["structured_outputs"] = StructuredOutputsParams(**wanted["constraint"])
        params = SamplingParams(**fields, output_kind=RequestOutputKind.DELTA)
        engine.add_request(wanted["key"], prompt, params)
    except Exception as error:  # its checks raise many types, and one request must not end the others
        _write(lines, {"refused": wanted["key"], "error": str(error)})


def _tell(output: Any) -> list[Line]:
    """One entry an answer."""
    told = [
        {
            "key": output.request_id,
            "index": answer.index,
            "text": answer.text,
            "tokens": list(answer.token_ids),
            "logprobs": _logprobs(answer.token_ids, answer.logprobs),
            "finished": answer.finish_reason,
            "stopped_by": answer.stop_reason,
            "cached": output.num_cached_tokens or 0,
        }
        for answer in output.outputs
    ]
    if told and output.prompt_logprobs:
        told[0]["prompt_logprobs"] = _logprobs(output.prompt_token_ids, output.prompt_logprobs)
    return told


def _logprobs(tokens: Any, positions: Any) -> list[Any]:
    """Per token [id, log-probability or null, [[id, log-probability], ...]], alternatives best first."""
    if not positions:
        return []
    return [
        [
            token,
            seen[token].logprob if seen else None,
            [[other, one.logprob] for other, one in sorted((seen or {}).items(), key=lambda item: item[1].rank)],
        ]
        for token, seen in zip(tokens, positions, strict=True)
    ]


def _write(lines: Any, told: Any) -> None:
    print(json.dumps(told), file=lines)


if __name__ == "__main__":
    main()
