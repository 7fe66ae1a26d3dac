"""E-mail addresses, IP addresses, and names with passwords in URLs."""

import ipaddress
import re
from collections.abc import Iterator

from services.ingestion.rules.personal.finder import Finder, Span, matched

EMAIL_ADDRESS = re.compile(
    r"(?<![A-Za-z0-9._%+-])[._%+-]*+([A-Za-z0-9][A-Za-z0-9._%+-]*+@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+"
    r"[A-Za-z]{2,24})"
)
ADDRESS = re.compile(r"(?<![0-9A-Za-z.:])(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f:]{2,39})(?![0-9A-Za-z:]|\.[0-9])")
USER = re.compile(r"(?<=://)[^\s/?#@:<>]{1,256}:[^\s/?#@<>]{1,256}(?=@)")
PARAMETER = re.compile(
    r"(?i)(?<=[?&])(?:access_token|api_?key|auth|passw(?:or)?d|pwd|secret|sig(?:nature)?|token)=[^\s&#<>]+"
)
LEAST_IPV6 = 8
"""Shorter ones are times, or names of C++."""


def _mail_addresses(text: str) -> Iterator[Span]:
    for match in EMAIL_ADDRESS.finditer(text):
        yield Span(match.start(1), match.end(1), match[1].lower())


def _address(text: str) -> str | None:
    if ":" in text and (len(text) < LEAST_IPV6 or text.count(":") < 3):
        return None
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if found.is_loopback or found.is_unspecified or found.is_multicast else str(found)


def _credentials(text: str) -> Iterator[Span]:
    for match in USER.finditer(text):
        yield Span(match.start(), match.end(), match[0])
    for match in PARAMETER.finditer(text):
        start = match.start() + match[0].index("=") + 1
        yield Span(start, match.end(), text[start : match.end()])


EMAIL = Finder("email", r"[0-9A-Za-z._%+-]@[0-9A-Za-z-]+\.[A-Za-z]", _mail_addresses)
IP_ADDRESS = Finder(
    "ip_address", r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|:[0-9A-Fa-f]{0,4}:", matched(ADDRESS, _address)
)
URL_CREDENTIALS = Finder("url_credentials", r"://[^\s/@]+:[^\s/@]+@|[?&][A-Za-z_]+=", _credentials)
