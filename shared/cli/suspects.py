"""`flywheel data suspects`: rows whose label the champion finds wrong."""

from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.options import AsJson, Home, Limit, Pipeline, SealedVersion, connect
from shared.cli.output import console, print_json, table

if TYPE_CHECKING:
    from shared.client.suspects import Suspects

AlsoLearnt = Annotated[
    bool, typer.Option("--also-learnt", help="Judge rows as well that the champion was trained on and knows too well.")
]
LONGEST = 80
"""Characters of a text that are shown."""


def suspects(
    pipeline: Pipeline,
    version: SealedVersion = 0,
    also_learnt: AlsoLearnt = False,
    limit: Limit = 20,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List rows whose label looks wrong to the champion, the worst first."""
    from shared.client.suspects import find_suspects

    with connect(home) as client, console().status("asking the champion …") as told:

        def progress(done: int, total: int) -> None:
            told.update(f"asking the champion … {done:,} of {total:,} rows")

        found = find_suspects(client, pipeline, version, also_learnt=also_learnt, progress=progress)
    found.found = found.found[:limit]
    print_json(found) if as_json else show(found)


def show(found: "Suspects") -> None:
    """As a table, with what was not judged."""
    from rich.markup import escape

    console().print(
        f"{found.pipeline} dataset version {found.dataset_version}, judged by model version {found.model_version}: "
        f"{found.judged:,} rows, {len(found.found):,} suspects shown"
    )
    if found.left_out:
        console().print(f"  {found.left_out:,} rows have a label that the model does not know")
    if found.rare_labels:
        console().print(f"  too few rows to be judged by: {escape(', '.join(found.rare_labels))}")
    if found.found:
        cells = [
            (
                one.row.id[:12],
                one.row.split,
                one.label,
                one.suggested,
                f"{one.quality:.2f}",
                _shown(one.row.fields["text"]),
            )
            for one in found.found
        ]
        console().print(table(("row", "split", "label", "the model says", "quality#", "text"), cells))
        console().print(f"what became of one: flywheel data explain {found.pipeline} ROW")


def _shown(text: str) -> str:
    from rich.markup import escape

    line = " ".join(text.split())
    return escape(line if len(line) <= LONGEST else line[: LONGEST - 1] + "…")
