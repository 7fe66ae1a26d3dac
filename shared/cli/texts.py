"""`flywheel tag`, `relate`, `answer`, `embed`, `score`, `translate`, `summarize`: asking the other kinds of models."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli.ask import Alias, MaxTokens, Texts, Version, lines_of, show_answer
from shared.cli.options import AsJson, Home, ModelArgument, connect
from shared.cli.output import print_json

if TYPE_CHECKING:
    from shared.client.asking import Bounds, Who

Question = Annotated[str, typer.Argument(metavar="QUESTION", help="What is asked.")]
Context = Annotated[str, typer.Option(help="The text that the answer stands in.")]
Candidates = Annotated[list[str] | None, typer.Option("--candidate", help="An answer to choose from; repeat it.")]
Query = Annotated[str, typer.Argument(metavar="QUERY", help="What is looked for.")]
Found = Annotated[list[str], typer.Argument(metavar="CANDIDATE...", help="What may fit.")]
Source = Annotated[str, typer.Option(help="Language of the texts, as the model names it.")]
Target = Annotated[str, typer.Option(help="Language to write, as the model names it.")]
Beams = Annotated[int, typer.Option(min=1, help="Beams that are searched; 1 is greedy.")]
Marked = Annotated[
    list[str], typer.Argument(metavar="TEXT...", help="Texts with <e1>head</e1> and <e2>tail</e2> marked.")
]


def tag(
    model: ModelArgument,
    texts: Texts,
    alias: Alias = "",
    version: Version = 0,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Find the entities of texts."""
    wanted = lines_of(texts)
    with connect(home) as client:
        answer = client.tag(model, wanted, **_who(alias, version))
    if as_json:
        return print_json(answer)
    rows = [
        (text, entity.text, entity.label, f"{entity.score:.3f}")
        for text, result in zip(wanted, answer.results, strict=True)
        for entity in result.entities
    ]
    return show_answer(("text", "entity", "label", "score"), rows, answer)


def relate(
    model: ModelArgument,
    texts: Marked,
    alias: Alias = "",
    version: Version = 0,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Name the relation between two marked spans."""
    from shared.rows.relation_extraction import read_marks

    marked = [read_marks(text) for text in lines_of(texts)]
    with connect(home) as client:
        answer = client.relations(model, marked, **_who(alias, version))
    if as_json:
        return print_json(answer)
    rows = [
        (text[slice(*head)], text[slice(*tail)], relation.label, relation.direction, f"{relation.score:.3f}")
        for (text, head, tail), relation in zip(marked, answer.results, strict=True)
    ]
    return show_answer(("head", "tail", "relation", "direction", "score"), rows, answer)


def answer(
    model: ModelArgument,
    question: Question,
    context: Context = "",
    candidates: Candidates = None,
    alias: Alias = "",
    version: Version = 0,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Answer a question from a context, or choose among candidates."""
    if bool(context) == bool(candidates):
        raise typer.BadParameter("give --context or some --candidate")
    with connect(home) as client:
        found = client.answer(model, question, context=context, candidates=candidates or (), **_who(alias, version))
    if as_json:
        return print_json(found)
    first = found.answers[0]
    return show_answer(("answer", "score"), [(first.text or "(no answer)", f"{first.score:.3f}")], found)


def embed(
    model: ModelArgument,
    texts: Texts,
    alias: Alias = "",
    version: Version = 0,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Turn texts into vectors; --json gives them whole."""
    wanted = lines_of(texts)
    with connect(home) as client:
        answer = client.embed(model, wanted, **_who(alias, version))
    if as_json:
        return print_json(answer)
    rows = [
        (text, str(len(vector.values)), " ".join(f"{value:.3f}" for value in vector.values[:4]) + " …")
        for text, vector in zip(wanted, answer.vectors, strict=True)
    ]
    return show_answer(("text", "numbers", "beginning with"), rows, answer)


def score(
    model: ModelArgument,
    query: Query,
    candidates: Found,
    alias: Alias = "",
    version: Version = 0,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Rank candidates by how well they fit a query, best first."""
    with connect(home) as client:
        answer = client.score(model, query, candidates, **_who(alias, version))
    if as_json:
        return print_json(answer)
    ranked = sorted(zip(candidates, answer.scores, strict=True), key=lambda pair: -pair[1])
    return show_answer(("candidate", "score"), [(text, f"{fits:.3f}") for text, fits in ranked], answer)


def translate(
    model: ModelArgument,
    texts: Texts,
    source: Source = "",
    target: Target = "",
    max_tokens: MaxTokens = 256,
    num_beams: Beams = 1,
    alias: Alias = "",
    version: Version = 0,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Translate texts."""
    wanted = lines_of(texts)
    bounds: Bounds = {"max_tokens": max_tokens, "num_beams": num_beams}
    with connect(home) as client:
        answer = client.translate(model, wanted, source=source, target=target, bounds=bounds, **_who(alias, version))
    if as_json:
        return print_json(answer)
    return show_answer(("text", "translation"), _written(wanted, answer), answer)


def summarize(
    model: ModelArgument,
    texts: Texts,
    max_tokens: MaxTokens = 256,
    num_beams: Beams = 1,
    alias: Alias = "",
    version: Version = 0,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Summarise texts."""
    wanted = lines_of(texts)
    bounds: Bounds = {"max_tokens": max_tokens, "num_beams": num_beams}
    with connect(home) as client:
        answer = client.summarize(model, wanted, bounds=bounds, **_who(alias, version))
    if as_json:
        return print_json(answer)
    return show_answer(("text", "summary"), _written(wanted, answer), answer)


def _who(alias: str, version: int) -> "Who":
    return {"alias": alias, "version": version}


def _written(texts: list[str], answer: Any) -> list[tuple[str, str]]:
    return [(text, result.text) for text, result in zip(texts, answer.results, strict=True)]
