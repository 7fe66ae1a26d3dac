"""Translation and summarisation: a text written anew, by a sequence-to-sequence or a causal model."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedModel, PreTrainedTokenizerBase

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import Row
from shared.modeling.kinds.causal import load_causal
from shared.modeling.kinds.exchange import encode_exchange, encode_question, end_token, fitted, shortened
from shared.modeling.kinds.heads import load_with_head
from shared.modeling.kinds.routes import Route, find_route
from shared.modeling.kinds.writing import Writing
from shared.modeling.prompts import DEFAULT_PROMPTS, TEXT, filled, languages_asked_for
from shared.pipelines.options import Options

Languages = tuple[str, str]


class Rewriting(Writing):
    """A sequence-to-sequence model reads the text with an encoder; a causal model is asked in words, and learns what
    comes after them. Which of the two it is, is what the folder's configuration says. Texts are cut on the right."""

    def __init__(self, options: Options | None = None) -> None:
        super().__init__(options)
        self._routes: dict[Languages, Route] = {}

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        self._config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if self.seq2seq:
            return load_with_head(AutoModelForSeq2SeqLM, folder, self.name, {}, may_lack=())
        return load_causal(folder)

    @abstractmethod
    def texts(self, row: Row) -> tuple[str, str]:
        """What is read and what is written."""

    def languages(self, row: Row) -> Languages:
        """(source, target); empty where nobody says."""
        return "", ""

    def asked(self, tokenizer: PreTrainedTokenizerBase, row: Row, limit: int) -> list[int]:
        text, _ = self.texts(row)
        if self.seq2seq:
            return self._read(tokenizer, text, self.languages(row), limit)
        return encode_wanted(tokenizer, self._prompt(row), text, self.languages(row), limit)

    def first_written(self, tokenizer: PreTrainedTokenizerBase, row: Row) -> int | None:
        return self._route(tokenizer, self.languages(row)).forced_first if self.seq2seq else None

    def example(self, tokenizer: PreTrainedTokenizerBase, row: Row, limit: int) -> tuple[list[int], list[int], bool]:
        text, written = self.texts(row)
        languages = self.languages(row)
        if not self.seq2seq:
            prompt = self._prompt(row)
            return fitted(
                tokenizer,
                text,
                limit,
                lambda part: encode_exchange(tokenizer, filled(prompt, part, languages), written),
            )
        ids = self._read(tokenizer, text, languages, limit + 1)
        targets = self._written(tokenizer, written, languages[1], limit + 1)
        cut = len(ids) > limit or len(targets) > limit
        if cut:
            ids = self._read(tokenizer, text, languages, limit)
            targets = self._written(tokenizer, written, languages[1], limit)
        return ids, targets, cut

    def _prompt(self, row: Row) -> str:
        prompt = self.options.prompt or DEFAULT_PROMPTS[self.name]
        check_languages(prompt, self.languages(row))
        return prompt

    def _route(self, tokenizer: Any, languages: Languages) -> Route:
        """A prompt of the pipeline's own says everything; a model that knows one way only needs no languages."""
        if self.options.prompt:
            return Route()
        if languages not in self._routes:
            self._routes[languages] = known_route(tokenizer, self._config, self.name, languages)
        return self._routes[languages]

    def _read(self, tokenizer: Any, text: str, languages: Languages, limit: int) -> list[int]:
        route = self._route(tokenizer, languages)
        prompt = route.prefix + filled(self.options.prompt or TEXT, text, languages)
        _set(tokenizer, "src_lang", route.source)
        ids: list[int] = tokenizer(prompt, truncation=True, max_length=limit)["input_ids"]
        return ids

    def _written(self, tokenizer: Any, text: str, language: str, limit: int) -> list[int]:
        _set(tokenizer, "tgt_lang", language)
        ids: list[int] = tokenizer(text_target=text, truncation=True, max_length=limit)["input_ids"]
        ends = {tokenizer.eos_token_id, tokenizer.sep_token_id}
        # One that ends with the language (mBART) has its end token before that.
        return ids if ends & set(ids[-2:]) else [*ids[: limit - 1], end_token(tokenizer)]


class Translation(Rewriting):
    """Another language, the same meaning. A row's own languages come before those of the pipeline."""

    name = "translation"
    columns = ("source", "target", "source_lang", "target_lang")

    def texts(self, row: Row) -> tuple[str, str]:
        return row["source"], row["target"]

    def languages(self, row: Row) -> Languages:
        source = row["source_lang"] or self.options.source_language
        return source, row["target_lang"] or self.options.target_language


class Summarisation(Rewriting):
    """The same language, shorter."""

    name = "summarisation"
    columns = ("document", "summary")

    def texts(self, row: Row) -> tuple[str, str]:
        return row["document"], row["summary"]


def encode_wanted(
    tokenizer: PreTrainedTokenizerBase, prompt: str, text: str, languages: Languages, limit: int
) -> list[int]:
    """What a causal model reads: the prompt with as much of the text in it as fits."""

    def encode(part: str) -> list[int]:
        return encode_question(tokenizer, filled(prompt, part, languages))

    return encode(shortened(tokenizer, text, limit, encode))[-limit:]


def known_route(tokenizer: Any, config: Any, kind: str, known: Languages) -> Route:
    """As `find_route` for languages that are known, but that the model need not be told."""
    try:
        return find_route(tokenizer, config, kind, "", "")
    except InvalidArgument:
        return find_route(tokenizer, config, kind, *known)


def check_languages(prompt: str, languages: Languages) -> None:
    """Raises InvalidArgument when the prompt asks for a language that nobody gave."""
    given = dict(zip(("source", "target"), languages, strict=True))
    for name in languages_asked_for(prompt):
        if not given[name]:
            raise InvalidArgument(
                f"{name}_language is empty; this model must be told the language", field=f"{name}_language"
            )


def _set(tokenizer: Any, name: str, value: str) -> None:
    """A language as the tokenizer's setting, where it has such a setting and a language is known."""
    if value and hasattr(tokenizer, name) and getattr(tokenizer, name) != value:
        setattr(tokenizer, name, value)
