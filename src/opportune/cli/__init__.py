"""The command line door. Commands are imported when they are asked for, so that --help answers at once."""

import importlib
import sys
from collections.abc import Sequence

import click

#: name -> module of opportune.cli that defines `command`; the first six are what a newcomer needs.
COMMANDS = {
    "demo": "demo",
    "init": "init",
    "serve": "serve",
    "ingest": "ingest",
    "check": "check",
    "explain": "explain",
    "work": "work",
    "features": "features",
    "train": "train",
    "models": "models",
    "decide": "decide",
    "replay": "replay",
    "simulate": "simulate",
    "test": "test",
    "publish": "publish",
    "report": "report",
    "events": "events",
    "doctor": "doctor",
    "ui": "ui",
}
#: One line each, so that --help imports nothing.
SUMMARIES = {
    "demo": "A whole sample shop: events, features, model, decisions, server.",
    "init": "Write a small playbook to edit, or propose one for a file.",
    "serve": "Serve the HTTP API, with the worker beside it.",
    "ingest": "Import event files.",
    "check": "Check a playbook; all problems at once.",
    "explain": "A past decision: what was sent, what was not, and why.",
    "work": "Run the worker alone.",
    "features": "Build, rebuild, check and show features.",
    "train": "Train a model and judge it against the champion.",
    "models": "List, promote, roll back models.",
    "decide": "Decide for every customer as of an instant, into a file.",
    "replay": "Replay history as if live, on a replay clock.",
    "simulate": "Compare policies in a closed loop with the sample world.",
    "test": "Run the unit tests of a playbook.",
    "publish": "Move new events to the archive and decisions to MLflow.",
    "report": "What campaigns did, and why people did not hear.",
    "events": "Look at the newest events and dead letters.",
    "doctor": "Find what is wrong with this installation.",
    "ui": "Open the MLflow and Feast user interfaces.",
}
EPILOG = "Start with:  opportune demo     Settings are environment variables OPPORTUNE_*; see docs/operations.md."


class _Late(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"opportune.cli.{COMMANDS[cmd_name]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUMMARIES[name]) for name in COMMANDS])


@click.group(cls=_Late, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="opportune")
def cli() -> None:
    """Opportune: behaviour in; ranked, capped, explained message decisions out."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. Exit code 0 only on success; what went wrong is one line that says what to do."""
    from opportune.ports import Unavailable

    try:
        code = cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except click.exceptions.Abort:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except click.ClickException as problem:
        problem.show()
        sys.exit(problem.exit_code)
    except (Unavailable, LookupError, ValueError, OSError) as problem:
        print(f"error: {' '.join(str(problem).split()) or type(problem).__name__}", file=sys.stderr)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
