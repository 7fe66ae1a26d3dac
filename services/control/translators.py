"""The served models that paraphrase a pipeline's rows: there, of the right kind, and the versions that are named."""

from sqlalchemy.orm import Session

from shared.errors import InvalidArgument
from shared.pipelines.back_translation import ServedModel
from shared.pipelines.schema import PipelineSpec
from shared.storage.tables import ModelVersion, Pipeline

TRANSLATION = "translation"


def check_translators(session: Session, wanted: PipelineSpec) -> None:
    """Raises InvalidArgument naming the key. A champion may come later, a version that is named may not."""
    augmentation = wanted.method.augmentation
    if augmentation is None or augmentation.back_translation is None:
        return
    for key, model in augmentation.back_translation.translators.items():
        _check(session, f"method.augmentation.back_translation.{key}", model)


def _check(session: Session, field: str, model: ServedModel) -> None:
    pipeline = session.get(Pipeline, model.name)
    if pipeline is None or pipeline.deleted_at is not None:
        raise InvalidArgument(f"{field}: there is no pipeline {model.name!r}", field=field)
    kind = pipeline.spec["kind"]
    if kind != TRANSLATION:
        raise InvalidArgument(f"{field}: {model.name!r} is of kind {kind}, not {TRANSLATION}", field=field)
    if model.version and session.get(ModelVersion, (model.name, model.version)) is None:
        raise InvalidArgument(f"{field}: {model.name!r} has no version {model.version}", field=field)
