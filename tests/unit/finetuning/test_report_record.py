"""The training report in a job's history."""

from services.finetuning.attempts import Attempt
from services.finetuning.records import RunRecord
from tests.integration.finetuning.support import World


def test_a_job_reports_once_however_often_its_runs_do(world: World, attempt: Attempt) -> None:
    for run in ("run-1", "run-2"):
        RunRecord(world.database, attempt).event({"event": "report", "run": run, "lost": []})
    assert world.events(attempt.job.id, "report") == [{"run": "run-1", "lost": []}]
