"""A worker that stops for ever once its model has been judged, before it can report; to be killed by its test."""

import sys
import threading

from services.evaluation.handler import Evaluating
from shared.config import load_settings
from shared.contracts.messages import EvaluateModelVersion
from shared.messaging.handler import HandlerContext
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database


class Dying(Artifacts):
    def write_bytes(self, uri: str, data: bytes) -> None:
        super().write_bytes(uri, data)
        sys.stdout.write("half way\n")
        sys.stdout.flush()
        threading.Event().wait()


def main(url: str, model: str, version: str) -> None:
    settings = load_settings(device="cpu", lease_seconds=3)
    database = Database(url)
    artifacts = Dying(settings.resolved_artifacts_url, settings.cache_folder)
    context = HandlerContext("msg", threading.Event(), database)
    message = EvaluateModelVersion(model=model, version=int(version))
    Evaluating(settings, database, artifacts)(message, context)


if __name__ == "__main__":
    main(*sys.argv[1:])
