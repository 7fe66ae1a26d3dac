"""`flywheel classify`, `chat`, `feedback`: talking to models."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli.options import AsJson, Home, ModelArgument, connect
from shared.cli.output import console, print_json, seconds, table

if TYPE_CHECKING:
    from shared.client.answers import Lineage
    from shared.client.generation import Generation

Texts = Annotated[list[str], typer.Argument(metavar="TEXT...", help="Texts; - reads lines from standard input.")]
Alias = Annotated[str, typer.Option(help="champion, candidate, or base for the untouched base model.")]
Version = Annotated[int, typer.Option("--version", help="A model version instead of an alias.")]
TopK = Annotated[int, typer.Option(help="Labels a text, best first; all when 0.")]
OneMessage = Annotated[str, typer.Option("--message", "-m", help="Ask this and leave; a conversation when absent.")]
System = Annotated[str, typer.Option(help="Instruction at the beginning of the conversation.")]
MaxTokens = Annotated[int, typer.Option(min=1, help="New tokens at most.")]
Temperature = Annotated[float, typer.Option(min=0, help="0 always takes the most likely token.")]
Schema = Annotated[
    Path | None, typer.Option("--json-schema", exists=True, dir_okay=False, help="Answers are JSON of this schema.")
]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same answer.")]
Request = Annotated[str, typer.Argument(metavar="REQUEST", help="Request id of the answer.")]
Rating = Annotated[float | None, typer.Option(min=-1, max=1, help="-1 (bad) to 1 (good).")]
Correction = Annotated[str | None, typer.Option(help="What the answer should have been: a label or a reply.")]
Comment = Annotated[str, typer.Option(help="Free text.")]
Consent = Annotated[bool, typer.Option("--consent", help="The correction may be trained on.")]
Index = Annotated[int, typer.Option(min=0, help="For a request with several texts: which one, from 0.")]


def classify(
    model: ModelArgument,
    texts: Texts,
    alias: Alias = "",
    version: Version = 0,
    top_k: TopK = 0,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Label texts."""
    wanted = lines_of(texts)
    with connect(home) as client:
        answer = client.classify(model, wanted, alias=alias, version=version, top_k=top_k)
    if as_json:
        return print_json(answer)
    rows = [
        (
            text,
            ", ".join(result.given) or "(none)",
            " ".join(f"{label.label} {label.score:.3f}" for label in result.labels),
        )
        for text, result in zip(wanted, answer.results, strict=True)
    ]
    return show_answer(("text", "label", "scores"), rows, answer)


def chat(
    model: ModelArgument,
    message: OneMessage = "",
    alias: Alias = "",
    version: Version = 0,
    system: System = "",
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    seed: Seed = None,
    json_schema: Schema = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Talk to a chat model; answers stream as they are made. Ctrl-C stops an answer, Ctrl-D leaves."""
    turns = [{"role": "system", "content": system}] if system else []
    with connect(home) as client:

        def ask(text: str) -> "Generation":
            turns.append({"role": "user", "content": text})
            return client.generate(
                model,
                turns,
                alias=alias,
                version=version,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
                json_schema=json_schema.read_text() if json_schema else None,
            )

        if message:
            _answer_once(ask(message), as_json)
            return
        while text := _prompt():
            turns.append({"role": "assistant", "content": stream(ask(text))})


def feedback(
    request: Request,
    rating: Rating = None,
    correction: Correction = None,
    comment: Comment = "",
    consent: Consent = False,
    index: Index = 0,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Rate or correct an answer; a correction with --consent becomes a row of the next dataset version."""
    if rating is None and correction is None and not comment:
        raise typer.BadParameter("give --rating, --correction or --comment")
    with connect(home) as client:
        kept = client.feedback(
            request, rating=rating, correction=correction, comment=comment, consent=consent, index=index
        )
    if as_json:
        return print_json(kept)
    console().print(f"kept as {kept.feedback}")
    if kept.batch:
        return console().print(f"the correction is a row of batch {kept.batch.id} ({kept.batch.pipeline})")
    if correction is not None and not consent:
        return console().print("the correction will not be trained on: --consent was not given")
    return None


def stream(generation: "Generation") -> str:
    """Prints an answer as it comes, then where it came from; Ctrl-C stops the answer alone."""
    try:
        for chunk in generation:
            sys.stdout.write(chunk.text)
            sys.stdout.flush()
    except KeyboardInterrupt:
        generation.cancel()
    sys.stdout.write("\n")
    if generation.accepted and generation.finished:
        total = seconds(generation.finished.timings.total)
        tokens = generation.finished.usage.completion_tokens
        console().print(
            f"[dim]{name_of(generation.accepted.lineage)} · {tokens} tokens in {total} · "
            f"{generation.finished.reason} · request {generation.accepted.request_id}[/]"
        )
    return generation.text


def lines_of(texts: list[str]) -> list[str]:
    """The texts, or the lines of standard input for `-`."""
    return [line.rstrip("\n") for line in sys.stdin if line.strip()] if texts == ["-"] else texts


def show_answer(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], answer: Any) -> None:
    """A table of plain texts, and which version answered."""
    from rich.markup import escape

    console().print(table(columns, [tuple(map(escape, row)) for row in rows]))
    console().print(
        f"[dim]{name_of(answer.lineage)} · {answer.timings.total * 1000:.0f} ms · request {answer.request_id}[/]"
    )


def name_of(lineage: "Lineage") -> str:
    """`sentiment v2`, or `sentiment base`."""
    return f"{lineage.model} v{lineage.version}" if lineage.version else f"{lineage.model} base"


def _answer_once(generation: "Generation", as_json: bool) -> None:
    if not as_json:
        stream(generation)
        return
    text = generation.read_all()
    print_json({"text": text, "accepted": generation.accepted, "finished": generation.finished})


def _prompt() -> str:
    while True:
        try:
            text = console().input("[bold cyan]you[/] ").strip()
        except EOFError:
            return ""
        if text:
            return text
