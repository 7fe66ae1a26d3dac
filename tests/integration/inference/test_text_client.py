"""The client's calls and the commands for encoders and writers."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.cli import output
from shared.cli.main import execute
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
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server with a version of each kind, named after it with dashes; `new` is a classification without one."""
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
    yield platform.application.address
    platform.close()
    database.close()


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[FlywheelClient]:
    with FlywheelClient(inference=address) as made:
        yield made


@pytest.fixture
def flywheel(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs a command line; its exit code and what it printed."""
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    monkeypatch.setenv("FLYWHEEL_INFERENCE_ADDRESS", address)
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: str) -> tuple[int, str]:
        output.console.cache_clear()
        code = execute(arguments)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


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


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("tag", "token-classification", "open the door"), "token-classification v1"),
        (("relate", "relation-extraction", "turn the <e1>key</e1> and push the <e2>door</e2>"), "key"),
        (("answer", "question-answering", "what?", "--context", "ten coins for one"), "question-answering v1"),
        (("answer", "answer-selection", "what?", "--candidate", "one", "--candidate", "two"), "answer-selection v1"),
        (("embed", "embedding", "a film"), "embedding v1"),
        (("score", "ranking", "door", "a film", "a [bold] door"), "a [bold] door"),
        (("summarize", "summarisation", "a good film", "--max-tokens", "4"), "summarisation v1"),
        (("translate", "translation", "a", "--source", "en", "--target", "de", "--max-tokens", "4"), "translation v1"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_every_kind_has_a_command(
    flywheel: Callable[..., tuple[int, str]], arguments: tuple[str, ...], shown: str
) -> None:
    code, said = flywheel(*arguments)
    assert (code, shown in said) == (0, True), said
    code, said = flywheel(*arguments, "--json")
    assert code == 0
    assert json.loads(said)["lineage"]["version"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("answer", "question-answering", "what?"), 2, "--context or some --candidate"),
        (("tag", "ranking", "a"), 1, "is of kind ranking"),
        (("relate", "relation-extraction", "no marks here"), 1, "<e1>"),
        (("translate", "translation", "a", "--target", "xx"), 1, "target_language"),
    ],
)
def test_a_wrong_question_says_why(
    flywheel: Callable[..., tuple[int, str]], arguments: tuple[str, ...], code: int, reason: str
) -> None:
    found, said = flywheel(*arguments)
    assert (found, reason in said) == (code, True), said
