"""opportune publish."""

from typing import TYPE_CHECKING

import click

from opportune.cli.printing import json_option, result

if TYPE_CHECKING:
    from opportune.wiring import Installation


@click.command("publish", epilog="Example:  opportune publish      (the worker does it by itself every half minute)")
@click.option("--compact", is_flag=True, help="Then merge the archive's small files; readers notice nothing.")
@json_option
def command(compact: bool, as_json: bool) -> None:
    """New events to the Parquet archive, decisions and experiments to MLflow. Publishing twice changes nothing."""
    from opportune.flows.publish import archive_events, compact_archive
    from opportune.wiring import Installation

    i = Installation()
    n_events = archive_events(i.ledger, i.archive, i.clock, i.owner)
    n_decisions, n_points = publish_all(i, is_forced=True)
    words = (
        f"{n_events:,} events archived; {n_decisions:,} decisions and {n_points:,} experiment metrics logged to MLflow"
    )
    if compact:
        merged = compact_archive(i.ledger, i.archive, i.clock, i.owner)
        words += f"; archive of {merged['n_before']:,} files is {merged['n_after']:,} files now"
    result({"n_events": n_events, "n_decisions": n_decisions, "n_points": n_points}, words, as_json)


def publish_all(installation: "Installation", is_forced: bool = False) -> tuple[int, int]:
    """Decisions, traces and experiments to MLflow: how many decisions, how many metric points. Raises Unavailable."""
    from opportune.flows.publish import publish_decisions
    from opportune.flows.publish_experiments import publish_experiments

    i = installation
    share = i.settings.trace_share
    unit, log = i.desk.unit, i.experiment_log
    # first the runs themselves, with their dates and notes; then what goes into them
    n_points = publish_experiments(i.ledger, i.playbook, log, i.clock, i.owner, unit, is_forced=is_forced)
    n_decisions = publish_decisions(i.ledger, i.runlog, i.clock, i.owner, unit, experiments=log, trace_share=share)
    return n_decisions, n_points
