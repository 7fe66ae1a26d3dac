"""What a load client is told to ask, and what it saw; JSON lines between two processes.

Only the standard library: other environments' interpreters read this too.
"""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Ask:
    """One request: a prompt in tokens, and exactly so many tokens in answer. `at` is seconds from the start."""

    prompt: tuple[int, ...]
    tokens: int
    at: float = 0.0
    label: str = ""


@dataclass(frozen=True)
class Script:
    """Lanes run side by side; in a lane one request follows the other's end.

    After `seconds` nothing starts and what runs is cut off; without it every request runs to its end.
    """

    lanes: tuple[tuple[Ask, ...], ...]
    seconds: float | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Script":
        fields = json.loads(line)
        lanes = tuple(tuple(Ask(**{**ask, "prompt": tuple(ask["prompt"])}) for ask in lane) for lane in fields["lanes"])
        return cls(lanes, fields["seconds"])


@dataclass(frozen=True)
class Answer:
    """What came back: `arrivals` are (seconds, tokens), all seconds from the start of the script.

    `due` is when the request should have been sent, so a client that is late flatters nobody.
    """

    label: str
    due: float
    arrivals: tuple[tuple[float, int], ...]
    whole: bool
    failed: str = ""

    @property
    def tokens(self) -> int:
        return sum(count for _, count in self.arrivals)

    @property
    def first(self) -> float | None:
        """Seconds to the first token."""
        return self.arrivals[0][0] - self.due if self.arrivals else None

    @property
    def gaps(self) -> list[float]:
        """Seconds before each token but the first; tokens that came together have none between them."""
        found: list[float] = []
        for index, (at, count) in enumerate(self.arrivals):
            if index:
                found.append(at - self.arrivals[index - 1][0])
            found += [0.0] * (count - 1)
        return found


def answers_to_json(answers: list[Answer]) -> str:
    return json.dumps([asdict(answer) for answer in answers])


def answers_from_json(line: str) -> list[Answer]:
    return [
        Answer(**{**fields, "arrivals": tuple((at, count) for at, count in fields["arrivals"])})
        for fields in json.loads(line)
    ]
