"""Searches and verification through the front door."""

from typing import Any

import grpc
import pytest

from shared.contracts.generated.flywheel.control.v1 import control_pb2 as pb
from shared.storage.database import Database
from shared.storage.repositories import jobs
from shared.storage.tables import DatasetVersion
from tests.integration.control.calls import refused
from tests.unit.control import history

Code = grpc.StatusCode
SEARCH = {"space": {"method.learning_rate": "log:1e-5..1e-3"}, "trials": 5}


@pytest.fixture
def sealed(any_database: Database) -> Database:
    with any_database.write() as session:
        history.declare(session, search=SEARCH)
        history.add_batch(session, "b1", 10)
        history.seal(session, 1, "b1")
        session.get_one(DatasetVersion, (history.NAME, 1)).validation = 3
    return any_database


def request(**plan: Any) -> pb.CreateSearchRequest:
    made = pb.CreateSearchRequest(pipeline=history.NAME)
    made.plan.update(plan)
    return made


def test_a_search_is_the_pipelines_with_what_the_call_says_over_it(serve: Any, sealed: Database) -> None:
    control = serve(sealed)
    keyed = request(trials=3, parallel=2, space={"seed": [1, 2, 3]})
    keyed.idempotency_key = "mine"
    made = control.CreateSearch(keyed)
    assert (made.state, made.dataset_version, made.plan["trials"], made.plan["metric"]) == ("running", 1, 3, "loss")
    assert list(made.plan["space"]["seed"]) == [1, 2, 3]
    assert control.CreateSearch(keyed).id == made.id
    (status,) = control.GetStatus(pb.GetStatusRequest()).pipelines
    assert status.state == "searching"
    plain = control.CreateSearch(request())
    assert (plain.plan["trials"], plain.plan["space"]["method.learning_rate"]) == (5, "log:1e-5..1e-3")
    assert [one.id for one in control.ListSearches(pb.ListSearchesRequest()).searches] == [plain.id, made.id]
    assert control.ListSearches(pb.ListSearchesRequest(pipeline="other")).searches == []
    assert control.CancelSearch(pb.CancelSearchRequest(id=made.id)).state == "cancelled"
    assert control.GetSearch(pb.GetSearchRequest(id=made.id)).reason == "cancelled on request"


def test_a_search_that_can_not_be_is_refused(serve: Any, sealed: Database) -> None:
    control = serve(sealed)
    with refused(Code.INVALID_ARGUMENT, "trails: unknown key", "did you mean 'trials'"):
        control.CreateSearch(request(trails=3))
    with refused(Code.INVALID_ARGUMENT, "space: method.learning_rate: 7"):
        control.CreateSearch(request(space={"method.learning_rate": "1..7"}))
    with refused(Code.NOT_FOUND, "no pipeline 'sentimant'", "'sentiment'"):
        control.CreateSearch(pb.CreateSearchRequest(pipeline="sentimant"))
    for call in (control.GetSearch, control.CancelSearch):
        with refused(Code.NOT_FOUND, "no search 'search-x'"):
            call(
                pb.GetSearchRequest(id="search-x")
                if call == control.GetSearch
                else pb.CancelSearchRequest(id="search-x")
            )
    with sealed.write() as session:
        session.get_one(DatasetVersion, (history.NAME, 1)).validation = 0
    with refused(Code.FAILED_PRECONDITION, "no validation rows"):
        control.CreateSearch(request())


def test_a_version_is_verified_by_a_job_after_the_one_that_made_it(serve: Any, sealed: Database) -> None:
    control = serve(sealed)
    version = history.trained(sealed, 1)
    asked = pb.VerifyModelRequest(model=history.NAME, version=1, idempotency_key="once")
    job = control.VerifyModel(asked)
    assert (job.sort, job.verifies, job.clone_of, job.trigger) == ("verify", 1, version.job, "verify")
    assert control.VerifyModel(asked).id == job.id
    with sealed.read() as session:
        assert jobs.get(session, job.id).spec == jobs.get(session, version.job).spec
    with refused(Code.NOT_FOUND, "has no champion"):
        control.VerifyModel(pb.VerifyModelRequest(model=history.NAME))
