"""One server with a model of each kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.modeling.quiet import quiet_libraries
from shared.storage.database import Database
from shared.storage.tables import Base
from tests.integration.inference.open_protocol.asking import Asker
from tests.integration.inference.platform import Platform
from tests.support.tiny_encoders import tiny_bert, tiny_seq2seq, write_version
from tests.support.tiny_models import tiny_model
from tests.support.wait import eventually

ENCODERS = (
    "classification",
    "token_classification",
    "embedding",
    "ranking",
    "relation_extraction",
    "question_answering",
    "answer_selection",
)
REWRITERS = {"translation": "t5", "summarisation": "bart"}


def write(folder: Path, kind: str) -> Path:
    if kind == "chat":
        return tiny_model(folder, kind, seed=1)
    if kind in REWRITERS:
        return write_version(folder, kind, tiny_seq2seq(REWRITERS[kind]))
    model, labels = tiny_bert(kind)
    return write_version(folder, kind, model, labels)


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Models are named after their kinds; each has one version, which is the champion."""
    folder = tmp_path_factory.mktemp("open")
    database = Database(f"sqlite:///{folder / 'flywheel.db'}")
    Base.metadata.create_all(database.engine)
    quiet_libraries()
    platform = Platform(folder, database)
    kinds = (*ENCODERS, *REWRITERS, "chat")
    for kind in kinds:
        platform.declare(kind, kind)
        platform.point(kind, platform.add_folder(kind, write(folder / kind, kind)))
    platform.start()
    eventually(lambda: sum(bool(one.aliases) for one in platform.deployments().values()) == len(kinds), 60)
    yield platform
    platform.close()
    database.close()


@pytest.fixture(scope="package")
def asker(served: Platform) -> Asker:
    return Asker(served.channel)


@pytest.fixture
def helper(platform: Platform) -> Platform:
    """A chat model with two versions on a server of its own; the first is champion."""
    platform.declare("helper", "chat")
    for seed in (1, 2):
        platform.add_version("helper", "chat", seed)
    platform.point("helper", 1)
    platform.start()
    eventually(lambda: platform.holds("helper", 1))
    return platform
