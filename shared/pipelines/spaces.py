"""Whether a search's space fits the pipeline that it changes, told before the first trial."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from shared.errors import InvalidArgument
from shared.pipelines.changing import changed_spec
from shared.pipelines.kinds import METRICS
from shared.pipelines.searching import Choice, Range, SearchPlan


def read_plan(given: Mapping[str, Any]) -> SearchPlan:
    """A plan from the keys of a pipeline file's `search`. Raises InvalidArgument naming the key."""
    for key in given:
        if key not in SearchPlan.model_fields:
            near = difflib.get_close_matches(key, SearchPlan.model_fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(SearchPlan.model_fields)}"
            raise InvalidArgument(f"{key}: unknown key; {hint}", field=key)
    try:
        return SearchPlan.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        raise InvalidArgument(f"{field}: {message}" if field else message, field=field) from None


def check_plan(spec: Mapping[str, Any], plan: SearchPlan) -> None:
    """Raises InvalidArgument for a key, an end of a range or a value that the pipeline can't take, or a metric that
    its kind does not have."""
    if not plan.space:
        raise InvalidArgument("space: says nothing to search; give keys such as method.learning_rate", field="space")
    known = METRICS[spec["kind"]]
    if plan.metric not in known:
        raise InvalidArgument(
            f"metric: kind {spec['kind']} has no metric {plan.metric!r}; it has {', '.join(known)}", field="metric"
        )
    dimensions = plan.dimensions()
    first = {key: next(_ends(dimension)) for key, dimension in dimensions.items()}
    for key, dimension in dimensions.items():
        for value in _ends(dimension):
            try:
                changed_spec(spec, {**first, key: value})
            except InvalidArgument as error:
                raise InvalidArgument(f"space: {error.message}", field=f"space.{key}") from None


def _ends(dimension: Range | Choice) -> Iterator[Any]:
    yield from dimension.values if isinstance(dimension, Choice) else (dimension.low, dimension.high)
