from collections.abc import Callable
from datetime import datetime
from typing import Any

import grpc
import pytest
from sqlalchemy import select

from services.control import verdicts
from shared.contracts.generated.flywheel.control.v1 import control_pb2 as pb
from shared.errors import GateNotPassed
from shared.rpc.status import from_rpc_error
from shared.storage.database import Database, clock
from shared.storage.tables import Answer, ModelVersion
from tests.integration.control.calls import refused
from tests.unit.control import history

Code = grpc.StatusCode


@pytest.fixture
def proved(any_database: Database) -> Database:
    """Versions 1 and 2 were champions, 3 was refused."""
    with any_database.write() as session:
        history.declare(session)
        for number in (1, 2, 3):
            history.add_batch(session, f"b{number}", 100, source="feedback" if number == 2 else "client")
            history.seal(session, number, *(f"b{n}" for n in range(1, number + 1)))
            version = history.finish(session, history.queue_job(session, number))
            report = history.judge(session, version, "fail" if number == 3 else "pass")
            verdicts.consider(session, report.id)
    return any_database


def champion_at(moves: list[pb.AliasMove], when: datetime) -> int:
    """Who was champion, from the history alone (newest first)."""
    then = (
        move for move in moves if move.alias == "champion" and move.created_at.ToDatetime(tzinfo=when.tzinfo) <= when
    )
    move = next(then, None)
    return move.to_version if move else 0


def test_models_versions_and_reports_are_looked_up(serve: Any, proved: Database) -> None:
    control = serve(proved)
    (model,) = control.ListModels(pb.ListModelsRequest()).models
    assert (model.name, dict(model.aliases), model.newest_version) == ("sentiment", {"champion": 2}, 3)
    page = control.ListModelVersions(pb.ListModelVersionsRequest(model="sentiment", page_size=2))
    assert [(row.version, row.state) for row in page.versions] == [(3, "refused"), (2, "champion")]
    assert list(page.versions[0].reasons) == ["accuracy 0.9 against a floor"]
    assert page.versions[1].metrics["accuracy"] == pytest.approx(0.9)
    assert page.next_page_token
    assert control.GetModelVersion(pb.GetModelVersionRequest(model="sentiment")).version == 2
    newest = control.GetReport(pb.GetReportRequest(model="sentiment"))
    assert (newest.version, newest.champion, newest.verdict, newest.took.ToTimedelta().total_seconds()) == (
        3,
        2,
        "fail",
        1.5,
    )
    assert [(rule.code, rule.passed) for rule in newest.reasons] == [("BELOW_FLOOR", False)]
    first = control.GetReport(pb.GetReportRequest(model="sentiment", version=1))
    assert control.GetReport(pb.GetReportRequest(id=first.id)) == first


def test_what_is_not_there_is_not_found(control: Any, database: Database) -> None:
    with database.write() as session:
        history.declare(session)
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: control.ListModelVersions(pb.ListModelVersionsRequest(model="sentimint")), "did you mean 'sentiment'"),
        (lambda: control.GetModelVersion(pb.GetModelVersionRequest(model="sentiment")), "no champion"),
        (lambda: control.GetReport(pb.GetReportRequest(model="sentiment")), "no evaluation report on sentiment"),
        (lambda: control.GetReport(pb.GetReportRequest(id="report-x")), "report-x"),
        (lambda: control.GetLineage(pb.GetLineageRequest(request_id="request-x")), "request-x"),
        (lambda: control.ReplayDeadLetter(pb.ReplayDeadLetterRequest(id="dead-x")), "dead-x"),
    ]
    for call, words in cases:
        with refused(Code.NOT_FOUND, words):
            call()


def test_the_gate_is_a_precondition_of_promotion(serve: Any, proved: Database) -> None:
    control = serve(proved)
    with pytest.raises(grpc.RpcError) as caught:
        control.Promote(pb.PromoteRequest(model="sentiment", version=3, reason="I like it"))
    error = from_rpc_error(caught.value)
    assert isinstance(error, GateNotPassed)
    assert error.metadata["version"] == "3"
    assert "accuracy 0.9 against a floor" in error.message
    with refused(Code.INVALID_ARGUMENT, "version"):
        control.Promote(pb.PromoteRequest(model="sentiment"))
    with refused(Code.NOT_FOUND, "no version 9; its newest is 3"):
        control.Promote(pb.PromoteRequest(model="sentiment", version=9))
    assert control.GetModelVersion(pb.GetModelVersionRequest(model="sentiment")).version == 2


def test_the_history_tells_who_was_champion_at_any_time(serve: Any, proved: Database) -> None:
    control = serve(proved)
    moments = []
    steps: list[Callable[[], Any]] = [
        lambda: control.Rollback(pb.RollbackRequest(model="sentiment", reason="complaints")),
        lambda: control.Promote(pb.PromoteRequest(model="sentiment", version=2, reason="false alarm")),
    ]
    for step in steps:
        with proved.read() as session:
            moments.append(clock(session))
        move = step()
        assert move.actor == "operator"
    with proved.read() as session:
        moments.append(clock(session))
    moves = list(control.ListAliasMoves(pb.ListAliasMovesRequest(model="sentiment", page_size=500)).moves)
    assert [champion_at(moves, moment) for moment in moments] == [2, 1, 2]
    assert champion_at(moves, moments[0].replace(year=2000)) == 0
    assert (moves[0].reason, moves[0].from_version) == ("false alarm", 1)
    paged = control.ListAliasMoves(pb.ListAliasMovesRequest(model="sentiment", page_size=3))
    assert list(paged.moves) == moves[:3]
    assert paged.next_page_token


def test_rollback_stops_at_the_first_champion(serve: Any, proved: Database) -> None:
    control = serve(proved)
    assert control.Rollback(pb.RollbackRequest(model="sentiment")).to_version == 1
    with refused(Code.FAILED_PRECONDITION, "nothing to go back to"):
        control.Rollback(pb.RollbackRequest(model="sentiment"))


def test_lineage_leads_from_an_answer_to_its_batches(serve: Any, proved: Database) -> None:
    control = serve(proved)
    with proved.write() as session:
        for version in (0, 2):
            session.add(
                Answer(
                    request_id=f"request-{version}",
                    model="sentiment",
                    version=version,
                    method="Classify",
                    input={},
                    output={},
                    lineage={},
                    timings={},
                    created_at=clock(session),
                )
            )
        row = session.scalars(select(ModelVersion).where(ModelVersion.version == 2)).one()
    found = control.GetLineage(pb.GetLineageRequest(request_id="request-2"))
    assert (found.request_id, found.model_version.version, found.job.id, found.run.id) == (
        "request-2",
        2,
        row.job,
        row.run,
    )
    assert (found.pipeline, found.dataset_version, found.dataset_digest) == ("sentiment", 2, f"{2:064x}")
    assert [(batch.id, batch.source, batch.rows) for batch in found.batches] == [
        ("b1", "client", 100),
        ("b2", "feedback", 100),
    ]
    assert found.report == found.model_version.report
    assert found.train_rows == 200
    champion = control.GetLineage(pb.GetLineageRequest(model="sentiment"))
    assert champion.model_version == found.model_version
    base = control.GetLineage(pb.GetLineageRequest(request_id="request-0"))
    assert (base.pipeline, base.HasField("model_version"), list(base.batches)) == ("sentiment", False, [])
