"""Whatever answers a script: a server with a load client before it, or a program that has the model itself."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.contenders.processes import ProcessGroup
from benchmarks.figures import BenchmarkFailed, check_whole
from benchmarks.load.playing import READY
from benchmarks.load.script import Answer, Ask, Script, answers_from_json


class Contender:
    """`player` speaks the language of `serve_scripts`; `behind` are the processes that it needs.

    It sleeps (SIGSTOP) but for the time between `awake`, so that contenders don't take each other's cores.
    """

    def __init__(self, name: str, player: ProcessGroup, behind: Sequence[ProcessGroup] = (), address: str = "") -> None:
        self.name = name
        self.address = address
        self._player = player
        self._groups = (*behind, player)
        line = player.read_line().strip()
        assert line == READY, f"{name} said {line!r}"

    def play(self, script: Script) -> list[Answer]:
        """Raises BenchmarkFailed when an answer was not as asked."""
        self._player.write_line(script.to_json())
        answers = answers_from_json(self._player.read_line())
        check_whole(answers)
        return answers

    @contextmanager
    def awake(self, warm_up: Ask) -> Iterator[None]:
        """Resumed, and warmed by one request that nobody measures."""
        for group in self._groups:
            group.resume()
        try:
            self._warm(warm_up)
            yield
        finally:
            self.sleep()

    def _warm(self, ask: Ask) -> None:
        """Twice where the first fails: a connection whose keepalive slept too long is opened anew."""
        try:
            self.play(Script(((ask,),)))
        except BenchmarkFailed:
            self.play(Script(((ask,),)))

    def sleep(self) -> None:
        for group in reversed(self._groups):
            group.pause()

    def close(self) -> None:
        for group in reversed(self._groups):
            group.stop()
