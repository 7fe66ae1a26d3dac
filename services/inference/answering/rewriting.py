"""Texts to translations and summaries."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.inference.answering.asking import Answered, Ask, Asking, Shadowed
from services.inference.answering.checks import check_rewriting
from services.inference.answering.metering import metered
from services.inference.engine.interface import Usage
from services.inference.kinds.capabilities import PendingTexts, Rewrites, Rewriting, Rewritten
from services.inference.kinds.rewriting import Summariser, Translator
from shared.telemetry import metrics


class RewritingTexts:
    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def translate(
        self, ask: Ask, texts: Sequence[str], languages: tuple[str, str], bounds: Rewriting
    ) -> Answered[list[Rewritten]]:
        """Languages are (source, target), as the model names them."""
        return self._rewrite("Translate", ask, Translator, texts, languages, bounds)  # type: ignore[type-abstract]

    def summarise(self, ask: Ask, texts: Sequence[str], bounds: Rewriting) -> Answered[list[Rewritten]]:
        return self._rewrite("Summarize", ask, Summariser, texts, ("", ""), bounds)  # type: ignore[type-abstract]

    def _rewrite(
        self,
        method: str,
        ask: Ask,
        wanted: type[Rewrites],
        texts: Sequence[str],
        languages: tuple[str, str],
        bounds: Rewriting,
    ) -> Answered[list[Rewritten]]:
        def submit(model: Rewrites, deadline: float = ask.deadline) -> PendingTexts:
            return model.submit_texts(texts, languages, bounds, deadline)

        def remember(found: list[Rewritten]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
            source, target = languages
            asked = {"texts": list(texts), "source_language": source, "target_language": target}
            return asked, {"texts": [one.text for one in found]}

        with metered(method) as meter:
            check_rewriting(texts, bounds)
            answered = self._asking.ask(meter, ask, wanted, submit, remember, Shadowed(submit, _same))
            usage = usage_of(answered.result)
            metrics.INFERENCE_TOKENS.labels(ask.model.name, "prompt").inc(usage.prompt_tokens)
            metrics.INFERENCE_TOKENS.labels(ask.model.name, "completion").inc(usage.completion_tokens)
            return answered


def _same(real: list[Rewritten], shadow: list[Rewritten]) -> bool:
    """Whether two versions write the same texts."""
    return [one.text for one in real] == [one.text for one in shadow]


def usage_of(texts: Sequence[Rewritten]) -> Usage:
    """Tokens of all texts together."""
    return Usage(sum(one.prompt_tokens for one in texts), sum(one.completion_tokens for one in texts))
