"""One platform a folder: a lock that ends with its process, however that ends."""

import fcntl
import os
from pathlib import Path
from typing import IO

from shared.errors import FailedPrecondition


class HomeLock:
    """Held while a manager runs on `home`; the file names its pid."""

    def __init__(self, home: Path) -> None:
        self.path = home / "run" / "platform.lock"
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Raises FailedPrecondition naming the holder's pid when another manager has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            home = self.path.parent.parent
            raise FailedPrecondition(
                f"a platform already runs on {home} (pid {self.holder()}); stop it with `flywheel down`, "
                "or give another folder with --home"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file:
            self._file.truncate(0)
            self._file.close()
            self._file = None

    def holder(self) -> int | None:
        """Pid of the manager that holds the lock now; None when it is free."""
        try:
            with self.path.open("r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(file.read() or 0)
        except FileNotFoundError:
            pass
        return None
