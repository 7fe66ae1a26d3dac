"""Asking for translations: what is tried again, what is not, and how soon a wish to stop is heard."""

from collections.abc import Sequence
from typing import Any

import pytest

from services.finetuning.paraphrasing import asking
from services.finetuning.paraphrasing.asking import Translators
from services.finetuning.paraphrasing.ending import NotTranslated
from shared.client import FlywheelClient
from shared.config import load_settings
from shared.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    FlywheelError,
    NotFound,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from shared.pipelines.back_translation import ServedModel

MODEL = ServedModel("en-de", version=3)


class Script:
    """Answers of the server, one a request: raised where it is an error."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Any, ...]] = []

    def __call__(self, model: str, texts: Sequence[str], **who: Any) -> Any:
        self.asked.append((model, list(texts), who))
        answer = self.answers.pop(0)
        if isinstance(answer, FlywheelError):
            raise answer
        return answer


def _asked(monkeypatch: pytest.MonkeyPatch, script: Script) -> Any:
    monkeypatch.setattr(FlywheelClient, "translate", script)
    monkeypatch.setattr(asking, "PAUSE_SECONDS", (0.0, 0.0))
    with Translators(load_settings(inference_address="127.0.0.1:1"), lambda: None) as translators:
        return translators.translate("there", MODEL, ["a text"])


def test_a_server_that_is_away_or_full_for_a_while_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(Unavailable("away"), ResourceExhausted("full", 9.0), "answer")
    assert _asked(monkeypatch, script) == "answer"
    assert script.asked == [("en-de", ["a text"], {"alias": "", "version": 3})] * 3


@pytest.mark.parametrize("error", [Unavailable("away"), DeadlineExceeded("late")])
def test_one_that_stays_away_ends_the_attempt_for_now(monkeypatch: pytest.MonkeyPatch, error: FlywheelError) -> None:
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(NotTranslated) as caught:
        _asked(monkeypatch, Script(error))
    ending = caught.value.ending
    assert (ending.kind, ending.reason, ending.final) == ("failed", "UNAVAILABLE", False)
    assert ending.message == f"method.augmentation.back_translation.there: {error.message}"


def test_a_full_one_is_given_longer_than_one_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.0)
    assert _asked(monkeypatch, Script(ResourceExhausted("full"), "answer")) == "answer"


@pytest.mark.parametrize("error", [NotFound("no model"), FailedPrecondition("no champion"), Unauthenticated("no key")])
def test_what_another_attempt_would_not_change_is_final(monkeypatch: pytest.MonkeyPatch, error: FlywheelError) -> None:
    with pytest.raises(NotTranslated) as caught:
        _asked(monkeypatch, Script(error, "never asked for"))
    assert caught.value.ending.final
    assert error.message in caught.value.ending.message


def test_an_error_of_another_sort_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any, **who: Any) -> Any:
        raise TimeoutError("not ours")

    monkeypatch.setattr(FlywheelClient, "translate", broken)
    translators = Translators(load_settings(inference_address="127.0.0.1:1"), lambda: None)
    with pytest.raises(TimeoutError), translators:
        translators.translate("there", MODEL, ["a text"])
