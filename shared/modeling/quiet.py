"""Keep the modelling libraries' progress bars and load reports out of a service's output."""

from typing import Any

from transformers.utils import logging


def quiet_libraries() -> None:
    """Errors only, no progress bars; called once by a process that loads models."""
    library: Any = logging
    library.set_verbosity_error()
    library.disable_progress_bar()
