"""The command line. Everything heavy is imported inside the commands, so that help comes at once."""

from __future__ import annotations

import sys

import typer

from benchmark.cli import author, lab, look, meta, run, sweep
from benchmark.cli.terminal import BAD_INPUT, FAILED, INTERRUPTED, err, out
from benchmark.errors import InputError

__all__ = ["FAILED", "app", "lab_app", "main"]

app = typer.Typer(
    help="Which way of making a language model forget is best, and at what cost.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
lab_app = typer.Typer(help="The embedded models with the exact answer.", rich_markup_mode=None)
app.add_typer(lab_app, name="lab")
app.command()(run.run)
app.command("list")(look.list_)
app.command()(look.show)
app.command("new-method")(author.new_method)
app.command()(author.check)
app.command()(sweep.sweep)
app.command()(meta.meta)
app.command()(run.leaderboard)
lab_app.command("train")(lab.train)

USAGE: type[Exception] = typer.BadParameter.__bases__[0]
"""Click's UsageError: of the copy of Click inside Typer, or of the installed one where Typer has none."""


def main() -> None:
    """Run the command line; bad input is one line on stderr and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except (InputError, USAGE) as error:
        message = error.format_message() if isinstance(error, USAGE) else str(error)  # type: ignore[attr-defined]
        err.print(f"bench: error: {' '.join(message.splitlines())}", markup=False, soft_wrap=True)
        code = BAD_INPUT
    except (typer.Abort, KeyboardInterrupt):
        err.print("bench: interrupted; what was measured is kept, and the same command goes on from there")
        code = INTERRUPTED
    sys.exit(code)


@app.callback(invoke_without_command=True)
@lab_app.callback(invoke_without_command=True)
def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        out.print(context.get_help(), markup=False, soft_wrap=True)
