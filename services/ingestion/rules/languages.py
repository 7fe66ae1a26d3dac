"""Which language a text is written in: by its script where that tells, else by a model of letter sequences (langid).

The model is Lui and Baldwin's (ACL 2012) as py3langid packs it; it needs no network.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from services.ingestion.rules.finding import Found, rejected
from shared.rows import Reason

HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
KANA = re.compile("[\u3041-\u30ff]")
HANGUL = re.compile("[\u1100-\u11ff\uac00-\ud7af]")
NOISE = re.compile(r"https?://\S+|[@#]\w+")
"""Says nothing about the language."""
LEAST_LETTERS = 20
LEAST_CHARACTERS = 6
"""Of a script in which a character is a syllable or a word."""
JUDGED = 2000
"""Characters that are looked at."""
DOUBT = 0.1
"""A row is refused when the wanted languages have less than this share of the probability."""
UNKNOWN = "unknown"
SAME = {"wuu": "zh", "yue": "zh", "nn": "no", "ary": "ar", "arz": "ar"}
"""Written forms that the model tells apart and a pipeline file does not."""


class Languages:
    """Refuses rows that are written in no wanted language; what is too short to tell is let through."""

    def __init__(self, wanted: Sequence[str], seen: Counter[str]) -> None:
        """`seen` counts the rows that are let in by their likeliest language."""
        self._wanted, self._seen = wanted, seen

    def judge(self, texts: Sequence[str]) -> Found | None:
        shares = probabilities("\n".join(texts))
        likely = max(shares, key=lambda language: shares[language]) if shares else UNKNOWN
        if not shares or sum(shares.get(language, 0.0) for language in self._wanted) >= DOUBT:
            self._seen[likely] += 1
            return None
        wanted = ", ".join(self._wanted)
        return rejected("languages", Reason.WRONG_LANGUAGE, f"the row looks like {likely}; wanted: {wanted}")


def probabilities(text: str) -> Mapping[str, float]:
    """Language -> its share of the probability; empty for a text too short to tell."""
    text = NOISE.sub(" ", text[:JUDGED])
    letters = sum(map(str.isalpha, text))
    by_script = None if text.isascii() else _by_script(text, letters)
    if by_script is not None:
        return {by_script: 1.0} if letters >= LEAST_CHARACTERS else {}
    return _by_model(text) if letters >= LEAST_LETTERS else {}


def _by_script(text: str, letters: int) -> str | None:
    kana, hangul, han = (len(script.findall(text)) for script in (KANA, HANGUL, HAN))
    if (kana + hangul + han) * 2 < letters or not letters:
        return None
    if kana and kana * 10 >= kana + han:
        return "ja"
    return "ko" if hangul > han else "zh"


def _by_model(text: str) -> Mapping[str, float]:
    shares: dict[str, float] = {}
    for language, share in _identifier().rank(text.encode(errors="replace").decode()):
        known = SAME.get(language, language)
        shares[known] = shares.get(known, 0.0) + float(share)
    return shares


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
