"""opportune test."""

from pathlib import Path

import click

from opportune.cli.printing import json_option, result


@click.command("test", epilog="Example:  opportune test my-playbook/      (tests are in my-playbook/tests/*.yaml)")
@click.argument("playbook", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Tests to run instead of those beside the playbook; may be given several times.",
)
@click.option("--only", default="", help="Run the tests whose name holds this text.")
@json_option
@click.pass_context
def command(ctx: click.Context, playbook: Path | None, files: tuple[Path, ...], only: str, as_json: bool) -> None:
    """Unit tests of a playbook: events, customers and scores in; the messages and reasons that must follow.

    Runs in memory on a clock of its own; nothing of the installation is read or touched. Exit code 1: a test failed.
    """
    from opportune.playbook.problems import PlaybookInvalid
    from opportune.rehearsal import cases_of, rehearse
    from opportune.settings import Settings

    chosen = playbook or Settings().playbook
    try:
        tests = [test for test in cases_of(chosen, files) if only in test.name]
        if not tests:
            raise click.ClickException(f"no test has '{only}' in its name")
        outcomes = rehearse(tests, chosen)
    except PlaybookInvalid as invalid:  # one line each, unlike other errors
        raise click.ClickException("\n".join(map(str, invalid.problems))) from None
    failed = [o for o in outcomes if not o.has_passed]
    lines = []
    for o in outcomes:
        lines.append(f"{'ok    ' if o.has_passed else 'FAILED'} {o.test.name}")
        if not o.has_passed:
            lines.append(f"       {o.test.file}:{o.test.line}")
            lines += [f"       - {fault}" for fault in o.faults]
            lines += [f"         {told}" for told in o.story] or ["         nothing was decided"]
    lines.append(f"{len(outcomes) - len(failed)} passed" + (f", {len(failed)} failed" if failed else ""))
    data = {
        "passed": len(outcomes) - len(failed),
        "failed": len(failed),
        "tests": [
            {"name": o.test.name, "file": o.test.file, "line": o.test.line, "passed": o.has_passed, "faults": o.faults}
            for o in outcomes
        ],
    }
    result(data, "\n".join(lines), as_json)
    ctx.exit(1 if failed else 0)
