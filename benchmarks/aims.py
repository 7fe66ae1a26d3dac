"""What the generation benchmark shall reach, and whether it did."""

from typing import Any

AT_ONCE = {
    "vllm": {1: 1.1, 4: 1.2, 16: 1.5, 32: 1.5},
    "openvino": {1: 1.0, 4: 1.0, 16: 1.0, 32: 1.0},
}
FIRST_TOKEN = 0.5
BESIDE_LONG_GAP = 0.25
BESIDE_LONG_RATE = 1.3
GOOD_REQUESTS = 1.8
INT8_RATE = 1.8
INT8_PERPLEXITY = 0.01


def judge(result: dict[str, Any]) -> list[dict[str, Any]]:
    """One entry an aim whose figures are there: what, the bound, what was reached, whether that is enough."""
    return [
        *(verdict for row in result.get("at_once", []) for verdict in _at_once(row)),
        *_long_prompts(result.get("long_prompts") or {}),
        *(
            _at_least(f"good requests a second against {peer}", GOOD_REQUESTS, ratio)
            for peer, ratio in (result.get("arrivals") or {}).get("ratios", {}).items()
        ),
        *_int8(result.get("int8") or {}),
    ]


def _at_once(row: dict[str, Any]) -> list[dict[str, Any]]:
    count = row.get("at_once")
    ratios = row.get("ratios", {})
    found = [
        _at_least(f"tokens/s against {peer} at {count}", AT_ONCE[peer][count], ratio)
        for peer, ratio in ratios.items()
        if count in AT_ONCE.get(peer, {})
    ]
    if count == 16 and "vllm" in ratios:
        ours, theirs = row["latency"]["ours"], row["latency"]["vllm"]
        for name in ("first_token_p50_ms", "first_token_p99_ms"):
            found.append(_at_most(f"{name} against vllm at 16", FIRST_TOKEN, round(ours[name] / theirs[name], 3)))
    return found


def _long_prompts(row: dict[str, Any]) -> list[dict[str, Any]]:
    gaps = row.get("inter_token_p99_ratios", {})
    rates = row.get("tokens_per_second_ratios", {})
    return [
        *(_at_most(f"inter-token p99 beside long prompts, {peer}", BESIDE_LONG_GAP, gaps[peer]) for peer in gaps),
        *(_at_least(f"tokens/s beside long prompts, {peer}", BESIDE_LONG_RATE, rates[peer]) for peer in rates),
    ]


def _int8(row: dict[str, Any]) -> list[dict[str, Any]]:
    if "perplexity_change" not in row:
        return []
    return [
        *(_at_least("int8 tokens/s against bfloat16 at 1", INT8_RATE, ratio) for ratio in row["ratios"].values()),
        _at_most("int8 perplexity above bfloat16's", INT8_PERPLEXITY, row["perplexity_change"]),
    ]


def _at_least(what: str, bound: float, reached: float) -> dict[str, Any]:
    return {"aim": what, "at_least": bound, "reached": reached, "met": reached >= bound}


def _at_most(what: str, bound: float, reached: float) -> dict[str, Any]:
    return {"aim": what, "at_most": bound, "reached": reached, "met": reached <= bound}
