"""How fast the engine is, as measured, and what follows: who is refused at the door, how long a chunk may be."""

from collections.abc import Sequence
from dataclasses import dataclass

SMALLEST_CHUNK = 16  # prompt tokens: below that a step costs the same
STRETCH = 1.5
MEMORY = 0.9  # weight of what was measured before


@dataclass
class Pace:
    """Moving averages; None until measured.

    `decode_step` is seconds a step without prompt tokens, `prompt_token` seconds each of them adds to a step,
    `used` the share of its allowed tokens that an answer takes.
    """

    decode_step: float | None = None
    prompt_token: float | None = None
    used: float = 1.0

    def observe_step(self, seconds: float, decoding: int, prompt_tokens: int) -> None:
        if not prompt_tokens:
            self.decode_step = _blend(self.decode_step, seconds)
        elif prompt_tokens >= SMALLEST_CHUNK:
            own = seconds - (self.decode_step or 0.0) if decoding else seconds
            self.prompt_token = _blend(self.prompt_token, max(own, 0.0) / prompt_tokens)

    def observe_answer(self, share: float) -> None:
        """An answer has ended after this share of the tokens it was allowed."""
        self.used = _blend(self.used, share)

    def chunk(self, step_seconds: float, most: int, pending: int) -> int:
        """Prompt tokens that a step may take beside running answers without lasting longer than `step_seconds`.

        The more seconds the `pending` prompt tokens will take, the longer a step may last, up to `STRETCH` times:
        else prompts that arrive faster than such chunks are computed would wait ever longer.
        """
        if not self.prompt_token:
            return most
        seconds = step_seconds * min(1.0 + pending * self.prompt_token, STRETCH)
        room = (seconds - (self.decode_step or 0.0)) / self.prompt_token
        return max(min(int(room), most), min(SMALLEST_CHUNK, most))

    def wait(self, prompt_tokens: int, position: int, remaining: Sequence[int]) -> float:
        """Estimated seconds until the first token of a request.

        `prompt_tokens` are to be computed before it, its own included; `position` requests must end before it can
        run; `remaining` tokens are allowed to each of those that run.
        """
        seconds = prompt_tokens * (self.prompt_token or 0.0)
        if position <= 0 or not remaining:
            return seconds
        rounds, last = divmod(position - 1, len(remaining))
        tokens = sorted(remaining)[last] + rounds * max(remaining)
        return seconds + tokens * self.used * (self.decode_step or 0.0)


def _blend(before: float | None, seen: float) -> float:
    return seen if before is None else MEMORY * before + (1 - MEMORY) * seen
