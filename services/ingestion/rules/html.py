"""Tags and entities of HTML to text.

Only what is HTML is taken for it: `a < b > c` and `AT&T` stay as they are.
"""

import html
import re

MARK = re.compile(r"<!--|<(/?)([a-zA-Z][a-zA-Z0-9]{0,15})(?=[\s/>])([^<>]*)>")
ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_LINES = (
    "address article aside blockquote br dd div dl dt figure footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol p "
    "pre section table tbody tfoot thead tr ul"
)
LINES = frozenset(_LINES.split())
CELLS = frozenset(["option", "td", "th"])
SILENT = frozenset(["script", "style"])
"""Elements whose content nobody reads."""
_INLINE = (
    "a abbr acronym audio b bdi bdo big body button canvas caption center cite code col colgroup data del details dfn "
    "em embed fieldset font head html i iframe img input ins kbd label legend link map mark meta noscript object "
    "param picture q rp rt ruby s samp select small source span strike strong sub summary sup svg textarea time title "
    "track tt u var video wbr"
)
INLINE = frozenset(_INLINE.split())


def plain_text(text: str) -> str:
    """The text without tags, comments, scripts and styles; entities as the characters that they stand for."""
    if "<" in text:
        text = _without_tags(text)
    return ENTITY.sub(_character, text) if "&" in text else text


def _without_tags(text: str) -> str:
    """One pass from left to right; what is hostile costs no more."""
    kept: list[str] = []
    place, unclosed = 0, set[str]()
    for mark in MARK.finditer(text):
        if mark.start() < place:
            continue
        closing, name = mark[1], (mark[2] or "").lower()
        instead = _instead(name) if len(name) != 1 or _is_tag(mark[3]) else None
        if instead is None:
            continue
        kept += (text[place : mark.start()], instead)
        place = mark.end()
        end = "-->" if not name else f"</{name}" if name in SILENT and not closing else ""
        if end and end not in unclosed:
            found = text.find(end, place)
            place = place if found < 0 else found + len(end) * (not name)
            if found < 0:
                unclosed.add(end)
    return "".join((*kept, text[place:]))


def _is_tag(inside: str) -> bool:
    """Of a name of one letter, which may as well stand in `a<b and c>d`."""
    return "=" in inside or not inside.strip(" \t\r\n/")


def _instead(name: str) -> str | None:
    """What stands in a tag's place; None for what is no tag of HTML."""
    if not name or name in INLINE or name in SILENT:
        return ""
    return "\n" if name in LINES else " " if name in CELLS else None


def _character(entity: re.Match[str]) -> str:
    return html.unescape(entity[0])
