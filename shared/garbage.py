"""Python's search for cyclic garbage, for a process that holds many small objects for a while."""

import gc

OBJECTS = 100_000
"""New containers between two searches, instead of 700: rows come and go by the thousand and are no cycles."""


def collect_rarely() -> None:
    """What was imported is never searched again, and what is new less often. A fifth of ingestion's time was this."""
    gc.freeze()
    gc.set_threshold(OBJECTS)
