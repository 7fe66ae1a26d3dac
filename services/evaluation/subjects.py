"""The models that are judged together: the candidate, the champion and the untouched base."""

from collections.abc import Callable
from dataclasses import dataclass

from shared.config import Settings
from shared.modeling.bases import BaseModel, open_base
from shared.modeling.devices import choose_device, fast_at_bfloat16
from shared.modeling.loading import LoadedModel, load_base, load_model
from shared.modeling.methods import find_method
from shared.pipelines.schema import PipelineSpec
from shared.storage.artifacts import Artifacts
from shared.storage.tables import ModelVersion


@dataclass(frozen=True)
class Subject:
    """A model under judgement; its weights are read only by `load`."""

    digests: tuple[str, ...]
    """Of weights and adapter, and in which precision: equal digests, equal outputs."""
    load: Callable[[], LoadedModel]


class Subjects:
    """Makes subjects of model versions, for one device."""

    def __init__(self, settings: Settings, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._cache = settings.cache_folder / "bases"
        self._bases: dict[str, BaseModel] = {}
        self.device = choose_device(settings.device)

    def version(self, row: ModelVersion, half_precision: bool) -> Subject:
        dtype = self._dtype(half_precision)

        def load() -> LoadedModel:
            folder = self._artifacts.fetch_folder(row.weights_uri)
            base = self._base(row.base).path if find_method(row.method).adapter else None
            return load_model(folder, base=base, device=self.device, dtype=dtype)

        return Subject((row.weights_digest, row.adapter_digest, dtype), load)

    def base(self, row: ModelVersion, spec: PipelineSpec, half_precision: bool) -> Subject:
        """The base model that a version was made from. Raises NotFound or Unavailable."""
        dtype, max_length = self._dtype(half_precision), spec.method.max_length
        base = self._base(row.base)

        def load() -> LoadedModel:
            return load_base(
                base, row.kind, max_length=max_length, device=self.device, dtype=dtype, options=spec.options
            )

        return Subject((base.digest, "", dtype, str(max_length)), load)

    def _base(self, name: str) -> BaseModel:
        """Found once: its digest reads all of its files. An adapter's own check of its base is made every time."""
        if name not in self._bases:
            self._bases[name] = open_base(name, self._cache, self._artifacts)
        return self._bases[name]

    def _dtype(self, half_precision: bool) -> str:
        return "bfloat16" if half_precision and fast_at_bfloat16(self.device) else "float32"
