"""Entry point of `flywheel`: the commands, and errors as one clear line with an exit code."""

import sys
from collections.abc import Sequence

import typer
from typer.core import TyperGroup

from shared.cli import (
    ask,
    data,
    datasets,
    demo,
    imports,
    jobs,
    models,
    pipelines,
    platform,
    reports,
    rows,
    serving,
    texts,
)
from shared.cli.doctor import doctor
from shared.cli.search import search, searches
from shared.cli.status import status
from shared.cli.suspects import suspects
from shared.cli.verify import verify
from shared.errors import Cancelled, DeadlineExceeded, FlywheelError, Unavailable

DONE, FAILED, USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(
    name="flywheel",
    help="Keeps language models learning from the products that use them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    *(demo.demo, platform.up, platform.down, status),
    *(pipelines.apply, rows.ingest, imports.imports),
    *(jobs.train, jobs.jobs, jobs.watch, jobs.cancel, jobs.pause, jobs.resume),
    *(models.models, models.promote, models.rollback, verify, search, searches),
    *(serving.deployments, serving.load, serving.unload, serving.traffic),
    *(texts.tag, texts.relate, texts.answer, texts.embed, texts.score, texts.translate, texts.summarize),
    *(ask.classify, ask.chat, ask.feedback, reports.lineage, reports.report, doctor),
):
    app.command()(command)
app.command("import")(imports.import_uri)
app.add_typer(pipelines.explain)
for about_data in (
    datasets.card,
    datasets.diff,
    datasets.sql,
    datasets.prove,
    datasets.export,
    datasets.delete,
    suspects,
):
    data.data.command()(about_data)
app.add_typer(data.data)


def run(arguments: Sequence[str] | None = None) -> None:
    """What the script `flywheel` calls; never returns."""
    sys.exit(execute(sys.argv[1:] if arguments is None else arguments))


def execute(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    command = typer.main.get_command(app)
    assert isinstance(command, TyperGroup)
    try:
        code = command.main(list(arguments), prog_name="flywheel", standalone_mode=False)
        if code == INTERRUPTED:  # how the parser tells of Ctrl-C
            return _say("interrupted", INTERRUPTED)
        return code if isinstance(code, int) else DONE
    except typer.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", INTERRUPTED)
    except Cancelled as error:
        return _say(error.message, INTERRUPTED)
    except (Unavailable, DeadlineExceeded) as error:
        return _say(error.message, UNREACHABLE)
    except (FlywheelError, ValueError, OSError) as error:
        return _say(str(error), FAILED)
    except Exception as error:
        if show := getattr(error, "show", None):  # wrong usage, told by the command-line parser
            show()
            return USAGE
        raise


def _say(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code


if __name__ == "__main__":
    run()
