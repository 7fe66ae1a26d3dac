"""What every section of the pipeline file is, and words that stand for seconds."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
UNITS = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(value: Any) -> Any:
    match = DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(match[1]) * UNITS[match[2]] if match else value


Seconds = Annotated[float, BeforeValidator(_seconds)]
"""A number of seconds, or 30s, 5m, 2h, 1d."""


class Part(BaseModel):
    """A section: unknown keys and changes are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
