"""Versions trained with LoRA, through the door: one copy of the base, each version's own answers and lineage."""

from pathlib import Path

import pytest

from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.modeling.bases import BaseModel
from shared.modeling.card import ModelCard
from shared.modeling.digests import base_digest
from shared.storage.database import Database
from shared.storage.ids import new_id
from shared.storage.repositories import models
from tests.integration.inference.platform import Platform, text_of
from tests.support.tiny_models import tiny_adapter
from tests.support.wait import eventually

MODEL = "helper"


def add_adapter(platform: Platform, seed: int) -> int:
    """A version of random LoRA weights on the pipeline's base; returns its number."""
    path = platform.folder / f"{MODEL}-base"
    folder = tiny_adapter(platform.folder / f"adapter-{seed}", BaseModel(str(path), path, base_digest(path)), seed)
    card = ModelCard.read(folder)
    uri = f"models/{MODEL}/{new_id('v')}"
    platform.artifacts.put_folder(folder, uri)
    with platform.database.write() as session:
        row = models.add_version(
            session,
            model=MODEL,
            kind="chat",
            method="lora",
            base=card.base,
            base_digest=card.base_digest,
            weights_uri=uri,
            weights_digest=card.weights_digest,
            adapter_digest=card.adapter_digest,
            labels=[],
            job=new_id("job"),
            run=card.run,
            dataset_version=seed,
        )
        return row.version


def answer(platform: Platform, **reference: object) -> tuple[str, common_pb2.Lineage]:
    ref = common_pb2.ModelRef(name=MODEL, **reference)  # type: ignore[arg-type]
    events = list(platform.generate(reference=ref))
    return text_of(events), events[0].accepted.lineage


@pytest.fixture
def served(tmp_path: Path, database: Database) -> Platform:
    return Platform(tmp_path, database, cache_bytes=1 << 20, weights="float32")


def test_versions_of_one_base_answer_beside_each_other_on_one_copy_of_it(served: Platform) -> None:
    try:
        served.declare(MODEL, "chat")
        first, second = add_adapter(served, 1), add_adapter(served, 2)
        served.point(MODEL, first)
        served.start()
        eventually(lambda: served.holds(MODEL, first))
        alone = served.deployments()[MODEL, first].memory_bytes
        champion, lineage = answer(served)
        base, _ = answer(served, alias="base")
        other, other_lineage = answer(served, version=second)
        assert len({champion, base, other}) == 3
        assert (lineage.version, other_lineage.version) == (first, second)
        assert lineage.adapter_digest != other_lineage.adapter_digest
        assert lineage.weights_digest == other_lineage.weights_digest
        together = sum(one.memory_bytes for one in served.deployments().values())
        assert together < 1.2 * alone, "the base is held more than once"
        served.point(MODEL, second)
        eventually(lambda: answer(served)[0] == other)
        served.point(MODEL, first, kind="rollback")
        eventually(lambda: answer(served)[0] == champion)
    finally:
        served.close()
