"""Ids: a prefix that tells what it is, then 20 characters that sort by time."""

import secrets
import time


def new_id(prefix: str) -> str:
    """Such as `job-01m3k9x2c5f7a1b2c3d4`: 11 hex digits of milliseconds, 9 of chance."""
    return f"{prefix}-{int(time.time() * 1000):011x}{secrets.token_hex(5)[:9]}"
