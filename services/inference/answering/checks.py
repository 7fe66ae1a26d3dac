"""What a client may send, checked: texts, counts, and the requests of the methods that answer at once."""

from collections.abc import Sequence

from services.inference.kinds.capabilities import DEFAULT_NEW_TOKENS, Question, Rewriting
from services.inference.kinds.relation_extraction import MarkedText
from shared.errors import InvalidArgument
from shared.modeling.kinds.markers import Span

MAX_TEXTS = 256
MAX_TEXT_BYTES = 65_536
MAX_QUESTIONS = 64
MAX_CANDIDATES = 256
MAX_SCORED = 1024
MAX_REWRITTEN = 64
MAX_EXPLAINED = 16
MAX_WORDS = 4096
MAX_BEAMS = 16
MAX_NEW_TOKENS = 4096


def check_list(field: str, texts: Sequence[str], most: int, most_bytes: int = MAX_TEXT_BYTES) -> None:
    """From 1 to `most` texts, none empty, none too long."""
    check_count(field, len(texts), 1, most)
    for position, text in enumerate(texts):
        check_text(f"{field}[{position}]", text, most_bytes)


def check_text(field: str, text: str, most_bytes: int = MAX_TEXT_BYTES) -> None:
    if not text.strip():
        raise InvalidArgument(f"{field} is empty", field=field)
    size = len(text.encode())
    if size > most_bytes:
        raise InvalidArgument(f"{field} has {size} bytes, the limit is {most_bytes}", field=field, limit=most_bytes)


def check_count(field: str, count: float, least: float, most: float) -> None:
    if not least <= count <= most:  # also refuses NaN
        raise InvalidArgument(f"{field} is {count:g}; it must be from {least:g} to {most:g}", field=field)


def check_classified(texts: Sequence[str], pairs: Sequence[tuple[str, str]], explain: bool) -> None:
    """Texts or pairs, one of the two."""
    if texts and pairs:
        raise InvalidArgument("texts and pairs are both given; send one of them", field="pairs")
    if pairs:
        check_list("pairs", [first for first, _ in pairs], MAX_TEXTS)
        for position, (_, second) in enumerate(pairs):
            check_text(f"pairs[{position}].text_pair", second)
    else:
        check_list("texts", texts, MAX_TEXTS)
    if explain and len(texts) + len(pairs) > MAX_EXPLAINED:
        raise InvalidArgument(
            f"explain is set for {len(texts) + len(pairs)} texts; at most {MAX_EXPLAINED} are explained at once",
            field="explain",
            limit=MAX_EXPLAINED,
        )


def check_tagged(texts: Sequence[str], tokenised: Sequence[Sequence[str]]) -> None:
    """Texts, or texts cut into words, one of the two."""
    if texts and tokenised:
        raise InvalidArgument("texts and tokenised are both given; send one of them", field="tokenised")
    if not tokenised:
        check_list("texts", texts, MAX_TEXTS)
        return
    check_count("tokenised", len(tokenised), 1, MAX_TEXTS)
    for position, words in enumerate(tokenised):
        check_list(f"tokenised[{position}].words", words, MAX_WORDS)
        check_text(f"tokenised[{position}]", " ".join(words))


def check_marked(texts: Sequence[MarkedText]) -> None:
    """Two spans inside each text that do not overlap."""
    check_list("texts", [one.text for one in texts], MAX_TEXTS)
    for position, one in enumerate(texts):
        where = f"texts[{position}]"
        for name, span in (("head", one.head), ("tail", one.tail)):
            _check_span(f"{where}.{name}", span, one.text)
        if max(one.head[0], one.tail[0]) < min(one.head[1], one.tail[1]):
            raise InvalidArgument(f"{where}: head {one.head} and tail {one.tail} overlap", field=f"{where}.tail")


def _check_span(field: str, span: Span, text: str) -> None:
    start, end = span
    if not 0 <= start < end <= len(text):
        raise InvalidArgument(
            f"{field} is {start} to {end}; it must hold a character and lie inside the text's {len(text)}", field=field
        )


def check_questions(questions: Sequence[Question]) -> None:
    """Each with a context or with candidates; all of one sort."""
    check_count("questions", len(questions), 1, MAX_QUESTIONS)
    for position, one in enumerate(questions):
        where = f"questions[{position}]"
        check_text(f"{where}.question", one.question)
        if bool(one.context) == bool(one.candidates):
            both = "both given" if one.context else "both missing"
            raise InvalidArgument(f"{where}: context and candidates are {both}; send one of them", field=where)
        if bool(one.context) != bool(questions[0].context):
            raise InvalidArgument(
                f"{where} differs from the first: all questions have a context, or all have candidates", field=where
            )
        if one.candidates:
            check_list(f"{where}.candidates", one.candidates, MAX_CANDIDATES)
        else:
            check_text(f"{where}.context", one.context)


def check_rewriting(texts: Sequence[str], bounds: Rewriting) -> None:
    check_list("texts", texts, MAX_REWRITTEN)
    most = DEFAULT_NEW_TOKENS if bounds.max_tokens is None else bounds.max_tokens
    check_count("rewriting.max_tokens", most, 1, MAX_NEW_TOKENS)
    check_count("rewriting.min_tokens", bounds.min_tokens, 0, most)
    check_count("rewriting.num_beams", bounds.num_beams, 1, MAX_BEAMS)
    check_count("rewriting.length_penalty", bounds.length_penalty, -10, 10)
