"""How fast the engine is, as measured, and what follows: who is refused at the door, how long a chunk may be."""

from collections.abc import Sequence
from dataclasses import dataclass, field

SMALLEST_CHUNK = 16  # prompt tokens: below that a step costs the same
STRETCH = 1.5
MEMORY = 0.9  # weight of what was measured before


@dataclass
class Pace:
    """What a step costs: `decode_step` seconds, and `prompt_token` for each token of a prompt; None until measured.

    Both come from one regression over the last steps, as there may be prompts in every one of them. `used` is the
    share of its allowed tokens that an answer takes.
    """

    decode_step: float | None = None
    prompt_token: float | None = None
    used: float = 1.0
    _sums: list[float] = field(default_factory=lambda: [0.0] * 5)

    def observe_step(self, seconds: float, prompt_tokens: int) -> None:
        """A step with so many prompt tokens took so long."""
        x, y = float(prompt_tokens), seconds
        for at, value in enumerate((1.0, x, y, x * x, x * y)):
            self._sums[at] = MEMORY * self._sums[at] + value
        count, sum_x, sum_y, sum_xx, sum_xy = self._sums
        mean_x, mean_y = sum_x / count, sum_y / count
        spread = sum_xx / count - mean_x**2
        if spread > SMALLEST_CHUNK:
            self.prompt_token = max(sum_xy / count - mean_x * mean_y, 0.0) / spread
        elif mean_x and self.prompt_token is None:
            self.prompt_token = mean_y / mean_x
        self.decode_step = max(mean_y - (self.prompt_token or 0.0) * mean_x, 0.0)

    def observe_answer(self, share: float) -> None:
        """An answer has ended after this share of the tokens it was allowed."""
        self.used = MEMORY * self.used + (1 - MEMORY) * share

    def chunk(self, step_seconds: float, most: int, pending: int, crowd: float = 0.0) -> int:
        """Prompt tokens that a step may take beside running answers without lasting longer than `step_seconds`.

        The more seconds the `pending` prompt tokens will take, the longer a step may last, up to `STRETCH` times:
        else prompts that arrive faster than such chunks are computed would wait ever longer. Where more than half of
        all running requests (the share `crowd`) have not begun to answer, it may last up to twice as long: few wait for the
        next token then, and many for their first. It may always last twice as long as one without a prompt.
        """
        if not self.prompt_token:
            return most
        seconds = step_seconds * min(1.0 + pending * self.prompt_token, STRETCH) * max(1.0, 2 * crowd)
        decode = self.decode_step or 0.0
        room = max(seconds - decode, decode) / self.prompt_token
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
