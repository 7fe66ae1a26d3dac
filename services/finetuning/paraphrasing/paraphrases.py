"""Back-translation of a run's train rows before its training process starts."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from services.finetuning.attempts import Attempt
from services.finetuning.following import Ending
from services.finetuning.paraphrasing.asking import Translators
from services.finetuning.paraphrasing.drawing import Drawn, drawn_texts
from services.finetuning.paraphrasing.ending import NotTranslated
from services.finetuning.paraphrasing.keeping import keep, kept, origin, place_of
from services.finetuning.paraphrasing.translating import Translated, there_and_back
from services.finetuning.records import RunRecord
from services.finetuning.spec import TrainingSpec
from services.finetuning.watch import JobWatch
from shared.config import Settings
from shared.errors import NotFound
from shared.pipelines.back_translation import BackTranslation
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database

PROGRESS_SECONDS = 5.0


class Paraphrasing:
    """Gives a spec its paraphrases; asks served models for them once for all runs that go back to the same job."""

    def __init__(
        self,
        settings: Settings,
        artifacts: Artifacts,
        database: Database,
        attempt: Attempt,
        watch: JobWatch,
        draining: threading.Event,
        record: RunRecord,
    ) -> None:
        self._settings, self._artifacts, self._database = settings, artifacts, database
        self._attempt, self._watch, self._draining = attempt, watch, draining
        self._record = record

    def complete(self, spec: TrainingSpec) -> TrainingSpec:
        """Raises NotTranslated, LeaseLost, NotFound when a verification finds nothing, or DataCorrupted."""
        augmentation = spec.method.augmentation
        if augmentation is None or augmentation.back_translation is None:
            return spec
        keys = augmentation.back_translation
        with self._database.read() as session:
            uri = place_of(spec, keys, origin(session, self._attempt.job))
        found = kept(self._artifacts, uri)
        if found is not None:
            return replace(spec, paraphrases=found)
        if self._attempt.job.sort == "verify":
            raise NotFound(f"the paraphrases that the version was trained on are gone: {uri}", uri=uri)
        drawn = drawn_texts(spec, keys)
        made = self._translated(drawn, keys)
        return replace(spec, paraphrases=keep(self._artifacts, uri, drawn, made.texts, made.by))

    def _translated(self, drawn: list[Drawn], keys: BackTranslation) -> Translated:
        self._tell(f"back-translation of {len(drawn)} texts by {keys.there} and {keys.back}")
        with Translators(self._settings, self._check) as translators:
            texts = [one.text for one in drawn]
            made = there_and_back(texts, keys, translators.translate, self._progress(len(drawn)))
        self._check()
        count = sum(text is not None for text in made.texts)
        self._tell(
            f"back-translation by {', '.join(made.by) or 'nobody'}: {count} paraphrases of {len(drawn)} texts; "
            f"{len(drawn) - count} came back empty or as they were, or are too long"
        )
        return made

    def _progress(self, total: int) -> Callable[[int], None]:
        due = time.monotonic() + PROGRESS_SECONDS

        def told(done: int) -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + PROGRESS_SECONDS
                self._tell(f"back-translation: {done} of {total} texts")

        return told

    def _tell(self, message: str) -> None:
        self._record.event({"event": "log", "level": "info", "message": message})

    def _check(self) -> None:
        """Raises when the job is another worker's, or is to stop."""
        self._watch.check()
        if self._watch.cancel or self._watch.pause or self._draining.is_set():
            raise NotTranslated(Ending("stopped"))
