"""How requests for a model's champion are shared between versions, and copied to shadows.

Both decisions are pure functions of the request id, so that a request that is sent again meets the same version.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from shared.errors import InvalidArgument

MAX_VERSIONS = 16
ROUNDING = 1e-9  # ten times 0.1 is a little more than 1


@dataclass(frozen=True)
class Share:
    """A version with the share of requests that it gets, above 0 and at most 1."""

    version: int
    share: float


@dataclass(frozen=True)
class Traffic:
    """`shares` are answered beside the champion, which gets the rest; `shadows` are copied, their answers counted."""

    model: str
    shares: tuple[Share, ...] = ()
    shadows: tuple[Share, ...] = ()
    set_at: datetime | None = None

    @property
    def versions(self) -> set[int]:
        return {one.version for one in (*self.shares, *self.shadows)}

    def chosen(self, request_id: str) -> int | None:
        """The version that a request goes to; None for the champion."""
        if not self.shares:
            return None
        place = _place("share", request_id)
        for one in self.shares:
            place -= one.share
            if place < 0:
                return one.version
        return None

    def copied(self, request_id: str) -> list[int]:
        """The shadows that get a copy of a request."""
        return [one.version for one in self.shadows if _place(f"shadow {one.version}", request_id) < one.share]

    def share_of(self, version: int) -> float:
        return sum(one.share for one in self.shares if one.version == version)

    def shadow_share_of(self, version: int) -> float:
        return sum(one.share for one in self.shadows if one.version == version)

    def without(self, version: int) -> "Traffic":
        def others(shares: tuple[Share, ...]) -> tuple[Share, ...]:
            return tuple(one for one in shares if one.version != version)

        return Traffic(self.model, others(self.shares), others(self.shadows), self.set_at)


def check_traffic(traffic: Traffic, versions: set[int], champion: int | None) -> None:
    """Raises InvalidArgument naming the field; `versions` are those that the model has."""
    for field, shares in (("shares", traffic.shares), ("shadows", traffic.shadows)):
        if len(shares) > MAX_VERSIONS:
            raise InvalidArgument(f"{field} has {len(shares)} entries, the limit is {MAX_VERSIONS}", field=field)
        _check_versions(field, shares, versions, champion)
        for position, one in enumerate(shares):
            if not (math.isfinite(one.share) and 0 < one.share <= 1):
                name = f"{field}[{position}].share"
                raise InvalidArgument(f"{name} is {one.share:g}; it must be above 0 and at most 1", field=name)
    total = sum(one.share for one in traffic.shares)
    if total > 1 + ROUNDING:
        raise InvalidArgument(f"shares sum to {total:g}; at most 1, the champion gets the rest", field="shares")


def _check_versions(field: str, shares: Sequence[Share], versions: set[int], champion: int | None) -> None:
    seen: set[int] = set()
    for position, one in enumerate(shares):
        name = f"{field}[{position}].version"
        if one.version not in versions:
            newest = max(versions, default=0)
            there = f"the newest is {newest}" if newest else "there is none yet"
            raise InvalidArgument(f"{name} is {one.version}; the model has no such version, {there}", field=name)
        if one.version == champion:
            raise InvalidArgument(f"{name} is {one.version}, the champion, which gets the rest anyway", field=name)
        if one.version in seen:
            raise InvalidArgument(f"{name} is {one.version} for the second time", field=name)
        seen.add(one.version)


def _place(purpose: str, request_id: str) -> float:
    """A number from 0 to 1, evenly spread over request ids and independent between purposes."""
    digest = blake2b(f"{purpose}/{request_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
