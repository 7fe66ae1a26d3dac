"""A model that gives any number of labels, through the door: against transformers run plainly."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.modeling.card import ModelCard
from shared.modeling.quiet import quiet_libraries
from shared.storage.database import Database
from shared.storage.tables import Base
from tests.integration.inference.platform import Platform
from tests.support.tiny_encoders import tiny_bert, word_tokenizer, write_version
from tests.support.wait import eventually

TEXTS = ("the quick brown fox jumps", "a good film", "how do I open the door? turn the key and push the door", "?")
THRESHOLD = 0.45
TOPICS = common_pb2.ModelRef(name="topics")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder: Path = tmp_path_factory.mktemp("sets")
    database = Database(f"sqlite:///{folder / 'flywheel.db'}")
    Base.metadata.create_all(database.engine)
    quiet_libraries()
    model, labels = tiny_bert("classification")
    version = write_version(folder / "version", "classification", model, labels)
    card = ModelCard.read(version)
    replace(card, options={"multi_label": True, "threshold": THRESHOLD}).write(version)
    platform = Platform(folder, database)
    platform.declare("topics", "classification")
    platform.point("topics", platform.add_folder("topics", version))
    platform.start()
    eventually(lambda: any(one.aliases for one in platform.deployments().values()), 60)
    yield platform
    platform.close()
    database.close()


def chances_of(*texts: str) -> dict[str, float]:
    """What transformers gives for one text or pair."""
    model, labels = tiny_bert("classification")
    with torch.inference_mode():
        logits = model(**word_tokenizer()(*texts, return_tensors="pt")).logits[0]
    return dict(zip(labels, logits.sigmoid().tolist(), strict=True))


def test_each_label_has_its_own_probability_and_those_that_reach_the_threshold_are_given(served: Platform) -> None:
    answer = served.inference.Classify(pb.ClassifyRequest(model=TOPICS, texts=TEXTS), timeout=20)
    sizes = set()
    for text, result in zip(TEXTS, answer.results, strict=True):
        wanted = chances_of(text)
        assert {one.label: one.score for one in result.labels} == pytest.approx(wanted, abs=1e-4)
        assert [one.score for one in result.labels] == sorted((one.score for one in result.labels), reverse=True)
        given = {one.label for one in result.labels if one.given}
        assert given == {label for label, chance in wanted.items() if chance >= THRESHOLD}
        sizes.add(len(given))
    assert sizes != {1}, "the texts should show that it is not always one"


def test_pairs_get_label_sets_too_and_the_best_may_be_all_that_is_asked_for(served: Platform) -> None:
    pair = pb.TextPair(text="open the door", text_pair="turn the key")
    answer = served.inference.Classify(pb.ClassifyRequest(model=TOPICS, pairs=[pair], top_k=1), timeout=20)
    wanted = chances_of("open the door", "turn the key")
    (label,) = answer.results[0].labels
    assert label.label == max(wanted, key=wanted.__getitem__)
    assert label.given == (wanted[label.label] >= THRESHOLD)


def test_the_likeliest_label_is_explained(served: Platform) -> None:
    request = pb.ClassifyRequest(model=TOPICS, texts=TEXTS[:2], explain=True)
    for result in served.inference.Classify(request, timeout=60).results:
        assert sum(abs(one.score) for one in result.attributions) == pytest.approx(1, abs=1e-5)
