"""opportune ingest."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opportune.cli.printing import counter, json_option, result

if TYPE_CHECKING:
    from opportune.domain.events import DeadLetter, Event
    from opportune.wiring import Installation


@click.command("ingest", epilog="Example:  opportune ingest orders.parquet --format retail")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["segment", "retail"]),
    required=True,
    help="segment: JSON lines in the shape of batch items; retail: Parquet or CSV of invoice lines.",
)
@json_option
def command(files: tuple[Path, ...], form: str, as_json: bool) -> None:
    """Import events. Importing the same file again stores nothing twice; imports never fire triggers."""
    from opportune.wiring import Installation

    report = ingest_files(Installation(), files, form)
    words = (
        f"{report['n_read']:,} events read: {report['n_accepted']:,} stored, {report['n_duplicate']:,} known already, "
        f"{report['n_refused']:,} refused" + (" (see: opportune events dead-letters)" if report["n_refused"] else "")
    )
    result(report, words, as_json)
    if report["n_refused"] and report["n_refused"] == report["n_read"]:
        raise click.ClickException(f"nothing in there could be read as {form}: see opportune events dead-letters")


def ingest_files(installation: "Installation", files: tuple[Path, ...], form: str) -> dict[str, int]:
    """Import files into an installation, with progress; returns counts of events."""
    from opportune.adapters import retail_files, segment_files

    read = retail_files.read_retail if form == "retail" else segment_files.read_segment
    batches = (batch for file in files for batch in read(file, installation.clock.now()))
    return ingest_batches(installation, batches, counter("events"))


def ingest_batches(
    installation: "Installation",
    batches: "Iterable[tuple[list[Event], list[DeadLetter]]]",
    count: Callable[[int], None],
) -> dict[str, int]:
    """Import batches of events and dead letters; returns counts of events."""
    from opportune.flows.ingest import ingest

    i = installation
    report = {"n_read": 0, "n_accepted": 0, "n_duplicate": 0, "n_refused": 0}
    for events, letters in batches:
        done = ingest(events, letters, i.ledger, i.playbook, i.clock)
        report["n_read"] += len(events) + len(letters)
        report["n_accepted"] += done.n_accepted
        report["n_duplicate"] += done.n_duplicate
        report["n_refused"] += len(letters)
        count(report["n_read"])
    return report
