"""opportune check."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from opportune.cli.printing import json_option, result


@click.command("check", epilog="Example:  opportune check my-playbook/ --map journeys.mmd")
@click.argument("playbook", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--map",
    "map_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the journeys into this file: Mermaid (.mmd, .md) or Graphviz (.dot).",
)
@json_option
@click.pass_context
def command(ctx: click.Context, playbook: Path | None, map_file: Path | None, as_json: bool) -> None:
    """Check a playbook, a folder or one file (default: the active one): all problems at once, with file and line."""
    from opportune.journeys.draw import draw
    from opportune.playbook.check import check
    from opportune.settings import Settings

    report = check(playbook or Settings().playbook, datetime.now(UTC))
    lines = [str(p) for p in report.problems] + [f"warning: {w}" for w in report.warnings] + [report.summary]
    if map_file is not None and report.playbook is not None:
        try:
            map_file.write_text(draw(report.playbook.spec.journeys, map_file.suffix), encoding="utf-8")
        except (ValueError, OSError) as problem:
            raise click.ClickException(str(problem)) from None
        lines.append(f"journeys drawn: {map_file}")
    data = {
        "valid": report.is_valid,
        "problems": [asdict(p) for p in report.problems],
        "warnings": [asdict(w) for w in report.warnings],
        "counts": report.counts,
        "playbook": report.playbook.hash if report.playbook else None,
    }
    result(data, "\n".join(lines), as_json)
    ctx.exit(0 if report.is_valid else 1)
