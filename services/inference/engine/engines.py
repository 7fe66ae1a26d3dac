"""Which engine writes text for which model, as FLYWHEEL_ENGINES says."""

from collections.abc import Mapping

from shared.errors import InvalidArgument

TORCH, VLLM = "torch", "vllm"
ENGINES = (TORCH, VLLM)
FIELD = "FLYWHEEL_ENGINES"


class EngineChoice:
    """Ours for every model that is not named."""

    def __init__(self, setting: str) -> None:
        """`setting` is `model=engine,…`. Raises InvalidArgument naming the part that is wrong."""
        self._chosen: Mapping[str, str] = dict(_entry(part) for part in setting.split(",") if part.strip())

    def __getitem__(self, model: str) -> str:
        return self._chosen.get(model, TORCH)


def _entry(part: str) -> tuple[str, str]:
    model, _, engine = (piece.strip() for piece in part.partition("="))
    if not model or engine not in ENGINES:
        raise InvalidArgument(
            f"{FIELD} has {part.strip()!r}; write model=engine, with an engine of {', '.join(ENGINES)}", field=FIELD
        )
    return model, engine
