"""Whether a method's keys fit the rest of its pipeline file. Torch-free."""

from collections.abc import Sequence

from shared.pipelines.methods import MethodConfig


def check_method(method: MethodConfig, kind: str, labels: Sequence[str] | None, validation: float) -> None:
    """Raises ValueError, as `key: reason`. `validation` is the share of rows that steer training, `labels` those that
    the file names."""
    if validation == 0:
        for key, asked in (
            ("patience", method.patience is not None),
            ("keep_best", bool(method.keep_best)),
            ("validate_every_steps", method.validate_every_steps is not None),
        ):
            if asked:
                raise ValueError(f"method.{key}: goes by validation rows, and data.splits.validation is 0")
    if labels is None or isinstance(method.class_weights, str):
        return
    known = set(labels)
    if kind == "token_classification":
        known |= {"O"} | {f"{prefix}-{label}" for label in labels for prefix in "BI"}
    for name in method.class_weights:
        if name not in known:
            raise ValueError(f"method.class_weights: there is no label {name!r}; there are {', '.join(labels)}")
