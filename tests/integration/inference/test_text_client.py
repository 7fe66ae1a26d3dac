"""The client's calls to encoders and writers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.client import FlywheelClient
from shared.errors import FailedPrecondition, InvalidArgument
from shared.modeling.quiet import quiet_libraries
from shared.storage.database import Database, clock
from shared.storage.tables import Base, Pipeline
from tests.integration.inference.platform import Platform
from tests.support.tiny_encoders import HEADS, tiny_bert, tiny_seq2seq, write_version
from tests.support.tiny_models import tiny_encoder
from tests.support.wait import eventually


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlywheelClient]:
    """A version of each kind, named after it with dashes; `new` is a classification without a version."""
    folder: Path = tmp_path_factory.mktemp("client")
    database = Database(f"sqlite:///{folder / 'flywheel.db'}")
    Base.metadata.create_all(database.engine)
    quiet_libraries()
    platform = Platform(folder, database)
    folders = {kind: write_version(folder / kind, kind, *tiny_bert(kind)) for kind in HEADS}
    folders["summarisation"] = write_version(folder / "summarisation", "summarisation", tiny_seq2seq("bart"))
    folders["translation"] = write_version(folder / "translation", "translation", tiny_seq2seq("t5"))
    for kind, made in folders.items():
        name = kind.replace("_", "-")
        platform.declare(name, kind)
        platform.point(name, platform.add_folder(name, made))
    with database.write() as session:
        spec = {"name": "new", "kind": "classification", "base": str(tiny_encoder(folder / "base"))}
        session.add(Pipeline(name="new", revision=1, spec=spec, created_at=clock(session), updated_at=clock(session)))
    platform.start()
    eventually(lambda: sum(bool(one.aliases) for one in platform.deployments().values()) == len(folders), 60)
    assert platform.application is not None
    with FlywheelClient(inference=platform.application.address) as made_client:
        yield made_client
    platform.close()
    database.close()


def test_every_method_has_a_call(client: FlywheelClient) -> None:
    explained = client.classify("classification", pairs=[("open the door", "turn the key")], explain=True)
    assert {one.in_pair for one in explained.results[0].attributions} == {True, False}
    assert client.tag("token-classification", words=[["open", "the", "door"]]).results[0].entities is not None
    related = client.relations("relation-extraction", [("turn the key", (0, 4), (9, 12))])
    assert related.results[0].direction in ("", "head_to_tail", "tail_to_head")
    found = client.answer("question-answering", "what?", context="ten coins for one").answers[0]
    assert (found.span is None) == (found.text == "")
    chosen = client.answer("answer-selection", "what?", candidates=["one", "two"]).answers[0]
    assert chosen.text == ("one", "two")[chosen.candidate]
    assert len(client.embed("embedding", ["a film", "a door"]).vectors) == 2
    assert len(client.score("ranking", "door", ["a film", "a door"]).scores) == 2
    assert client.summarize("summarisation", "a good film", bounds={"max_tokens": 4}).results[0].score < 0
    spoken = client.translate("translation", "a", source="en", target="de", bounds={"max_tokens": 4}, request_id="t-1")
    assert spoken.request_id == "t-1"
    assert client.tokenize("ranking", "a film").results[0].pieces[0] == "[CLS]"


def test_errors_are_ours(client: FlywheelClient) -> None:
    with pytest.raises(InvalidArgument, match="query is empty"):
        client.score("ranking", "", ["a"])
    with pytest.raises(FailedPrecondition, match="is of kind ranking"):
        client.tag("ranking", "a")
    with pytest.raises(ValueError, match="not both"):
        client.embed("embedding", "a", alias="base", version=1)


def test_the_untouched_base_of_a_pipeline_embeds_and_does_not_classify(client: FlywheelClient) -> None:
    answer = client.embed("new", "a good film", alias="base")
    assert sum(value**2 for value in answer.vectors[0].values) == pytest.approx(1, abs=1e-4)
    assert answer.lineage.version == 0
    with pytest.raises(FailedPrecondition, match="has no head before it is trained"):
        client.classify("new", "a good film", alias="base")
