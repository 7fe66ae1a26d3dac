"""How a model that translates or summarises is told what it shall do, and into which language."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidArgument

LANGUAGE = re.compile(r"(__)?[a-z]{2,3}(_[A-Za-z]{2,4})?(__)?")
ROUTE = re.compile(r"translation_\w+_to_\w+")
SUMMARISATION = "summarisation"


@dataclass(frozen=True)
class Route:
    """How a model is told the languages: a text put before the input, the source that its tokenizer is set to, the
    token that its output begins with."""

    prefix: str = ""
    source: str = ""
    forced_first: int | None = None


def find_route(tokenizer: Any, config: Any, kind: str, source: str, target: str) -> Route:
    """What the model's tokenizer and configuration want: language tokens (NLLB, mBART, M2M-100), a code before the
    text (Marian with several targets), a prefix (T5), or nothing. Raises InvalidArgument naming what it knows."""
    prefixes = _prefixes(config)
    if kind == SUMMARISATION:
        return Route(prefixes.get("summarization", ""))
    if hasattr(tokenizer, "src_lang"):
        return _by_tokens(tokenizer, source, target)
    if codes := [code.strip("><") for code in getattr(tokenizer, "supported_language_codes", [])]:
        return Route(f">>{_one_of(codes, target, 'target_language')}<< ")
    if routes := {name: prefix for name, prefix in prefixes.items() if ROUTE.fullmatch(name)}:
        pairs = [name.removeprefix("translation_").replace("_to_", " to ") for name in routes]
        if not source and not target and len(routes) == 1:
            return Route(next(iter(routes.values())))
        wanted = f"{source} to {target}"
        return Route(routes[f"translation_{_one_of(pairs, wanted, 'target_language').replace(' to ', '_to_')}"])
    for field, given in (("source_language", source), ("target_language", target)):
        if given:
            raise InvalidArgument(
                f"{field} is {given!r}, but this model translates between one pair of languages; leave it empty",
                field=field,
            )
    return Route()


def _prefixes(config: Any) -> dict[str, str]:
    tasks = getattr(config, "task_specific_params", None) or {}
    return {name: str(settings["prefix"]) for name, settings in tasks.items() if settings.get("prefix")}


def _by_tokens(tokenizer: Any, source: str, target: str) -> Route:
    tokens = [str(token) for token in tokenizer.all_special_tokens if LANGUAGE.fullmatch(str(token))]
    codes = [token.strip("_") for token in tokens]
    _one_of(codes, source, "source_language")
    wanted = tokens[codes.index(_one_of(codes, target, "target_language"))]
    return Route(source=source, forced_first=int(tokenizer.convert_tokens_to_ids(wanted)))


def _one_of(known: Sequence[str], given: str, field: str) -> str:
    if given not in known:
        raise InvalidArgument(f"{field} is {given!r}; this model knows {', '.join(sorted(known))}", field=field)
    return given
