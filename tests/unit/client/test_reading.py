from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from shared.client import answers, data, operations
from shared.client.reading import read, struct
from shared.contracts.generated.flywheel.control.v1 import control_pb2 as control
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as inference
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2 as serving
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as ingestion
from shared.rpc.times import duration

PAIRS = [
    (answers.ClassifyAnswer, inference.ClassifyResponse()),
    (answers.Accepted, inference.Accepted()),
    (answers.Chunk, inference.TokenChunk()),
    (answers.Finished, inference.Finished()),
    (answers.Explanation, inference.ExplainResponseResponse()),
    (answers.Deployment, serving.Deployment()),
    (data.Batch, ingestion.Batch()),
    (data.DatasetVersion, ingestion.DatasetVersion()),
    (data.Row, ingestion.Row()),
    (data.QuarantinedRow, ingestion.QuarantinedRow()),
    (data.FeedbackReceipt, inference.RecordFeedbackResponse()),
    (operations.Pipeline, control.Pipeline()),
    (operations.JobEvent, control.JobEvent()),
    (operations.Search, control.Search(trials=[control.SearchTrial()])),
    (operations.SearchTrial, control.SearchTrial()),
    (operations.Run, control.Run()),
    (operations.Checkpoint, control.Checkpoint()),
    (operations.Model, control.Model()),
    (operations.ModelVersion, control.ModelVersion()),
    (operations.Report, control.EvaluationReport()),
    (operations.LineageGraph, control.LineageGraph()),
    (operations.AliasMove, control.AliasMove()),
    (operations.TriggerDecision, control.TriggerDecision()),
    (operations.DeadLetter, control.DeadLetter()),
    (operations.FleetStatus, control.Status(pipelines=[control.PipelineStatus()])),
]


@pytest.mark.parametrize(("kind", "message"), PAIRS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_dataclass_has_exactly_the_fields_of_its_message(kind: type, message: object) -> None:
    names = set(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    assert names == {field.name for field in message.DESCRIPTOR.fields}  # type: ignore[attr-defined]
    read(kind, message)  # type: ignore[arg-type]


def test_a_report_is_read_whole() -> None:
    report = control.EvaluationReport(
        metrics={"accuracy": 0.5},
        reasons=[control.GateReason(code="BELOW_FLOOR", message="too low")],
        took=duration(2.5),
    )
    report.detail.update({"confusion": {"labels": ["a"], "matrix": [[1]]}})
    report.created_at.FromDatetime(datetime(2026, 1, 2, tzinfo=UTC))
    found = read(operations.Report, report)
    assert found.metrics == {"accuracy": 0.5}
    assert found.reasons == (operations.GateReason("BELOW_FLOOR", False, "too low"),)
    assert found.took == 2.5
    assert found.detail == {"confusion": {"labels": ["a"], "matrix": [[1.0]]}}
    assert found.created_at == datetime(2026, 1, 2, tzinfo=UTC)


def test_what_is_unset_is_none_where_that_differs_from_zero() -> None:
    job = read(operations.Job, control.Job(state=control.JOB_STATE_PAUSING))
    assert (job.loss, job.eta, job.created_at, job.state, job.step) == (None, None, None, "pausing", 0)
    assert read(operations.Job, control.Job(loss=0.0)).loss == 0.0


def test_words_of_enums_are_plain() -> None:
    assert read(data.Batch, ingestion.Batch(state=ingestion.BATCH_STATE_HELD)).state == "held"
    assert read(answers.Finished, inference.Finished(reason=inference.FINISH_REASON_LENGTH)).reason == "length"
    assert read(operations.Job, control.Job()).state == ""


def test_a_row_of_what_json_cannot_hold_is_refused() -> None:
    assert struct({"text": "a", "n": 1, "list": [True, None]})["text"] == "a"
    with pytest.raises(ValueError, match="a row holds only"):
        struct({"when": datetime.now(UTC)})


def test_a_dataclass_is_asked_for() -> None:
    @dataclass(frozen=True)
    class OnlyId:
        id: str

    assert read(OnlyId, ingestion.Batch(id="b", pipeline="p")) == OnlyId("b")
