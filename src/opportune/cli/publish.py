"""opportune publish."""

import click

from opportune.cli.printing import json_option, result


@click.command("publish", epilog="Example:  opportune publish      (the worker does it by itself every half minute)")
@click.option("--compact", is_flag=True, help="Then merge the archive's small files; readers notice nothing.")
@json_option
def command(compact: bool, as_json: bool) -> None:
    """Move new events to the Parquet archive and new decisions to MLflow. Publishing twice changes nothing."""
    from opportune.flows.publish import archive_events, compact_archive, publish_decisions
    from opportune.wiring import Installation

    i = Installation()
    n_events = archive_events(i.ledger, i.archive, i.clock, i.owner)
    n_decisions = publish_decisions(i.ledger, i.runlog, i.clock, i.owner, i.desk.unit)
    words = f"{n_events:,} events archived, {n_decisions:,} decisions logged to MLflow"
    if compact:
        merged = compact_archive(i.ledger, i.archive, i.clock, i.owner)
        words += f"; archive of {merged['n_before']:,} files is {merged['n_after']:,} files now"
    result({"n_events": n_events, "n_decisions": n_decisions}, words, as_json)
