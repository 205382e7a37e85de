"""opportune ingest."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opportune.cli.printing import counter, json_option, result

if TYPE_CHECKING:
    from opportune.domain.events import DeadLetter, Event
    from opportune.wiring import Installation


@click.command("ingest", epilog="Example:  opportune ingest orders.csv --map orders.yaml")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["segment", "retail", "items", "suppressions"]),
    default=None,
    help="segment: JSON lines in the shape of batch items; retail: Parquet or CSV of invoice lines; "
    "items: JSON lines, CSV or Parquet of the catalogue; "
    "suppressions: CSV of customers, addresses or numbers that get nothing.",
)
@click.option(
    "--map",
    "mapping",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="A YAML file that says which column is what, for any CSV, JSON lines or Parquet (docs/first-hour.md).",
)
@json_option
def command(files: tuple[Path, ...], form: str | None, mapping: Path | None, as_json: bool) -> None:
    """Import events, items, or a suppression list. The same file again stores nothing twice; imports never fire
    triggers."""
    from opportune.wiring import Installation

    if (form is None) == (mapping is None):
        raise click.UsageError(
            "say how to read the files: --format segment, --format retail, --format items, "
            "--format suppressions, or --map MAPPING.yaml (`opportune init --from FILE` proposes one)"
        )
    if form == "suppressions":
        result(*take_lists(Installation(), files), as_json)
        return
    if form == "items":
        report = ingest_items(Installation(), files)
        words = (
            f"{report['n_read']:,} items read: {report['n_accepted']:,} taken in, {report['n_changed']:,} changed, "
            f"{report['n_refused']:,} refused"
        )
    else:
        report = ingest_files(Installation(), files, form or "", mapping)
        words = (
            f"{report['n_read']:,} events read: {report['n_accepted']:,} stored, "
            f"{report['n_duplicate']:,} known already, {report['n_refused']:,} refused"
        )
    if report["n_refused"]:
        words += " (see: opportune events dead-letters)"
    result(report, words, as_json)
    if report["n_refused"] and report["n_refused"] == report["n_read"]:
        raise click.ClickException(f"nothing in there could be read as {form}: see opportune events dead-letters")


def take_lists(installation: "Installation", files: tuple[Path, ...]) -> tuple[dict[str, int], str]:
    """Take suppression lists in, nothing of a file that has a fault; returns counts, and the same in words."""
    from opportune.adapters.suppression_files import read_suppressions
    from opportune.flows.suppress import suppress

    now = installation.clock.now()
    try:
        named = [one for file in files for one in read_suppressions(file, now)]
    except ValueError as problem:
        raise click.ClickException(f"nothing was taken in: {problem}") from None
    report = suppress(named, installation.ledger, installation.clock)
    data = {"n_read": report.n_read, "n_new": report.n_new, "n_released": report.n_released}
    released = f"; {report.n_released:,} booked messages released" if report.n_released else ""
    return data, f"{report.n_read:,} entries read, {report.n_new:,} of them news{released}"


def ingest_files(
    installation: "Installation", files: tuple[Path, ...], form: str, mapping: Path | None = None
) -> dict[str, int]:
    """Import files into an installation, with progress; returns counts of events."""
    batches = (batch for file in files for batch in installation.read_events(file, form, mapping))
    return ingest_batches(installation, batches, counter("events"))


def ingest_items(installation: "Installation", files: tuple[Path, ...]) -> dict[str, int]:
    """Import files of items, with progress; returns counts of items."""
    from opportune.adapters.item_files import read_items
    from opportune.flows.update_items import take_in_items

    i = installation
    batches = (batch for file in files for batch in read_items(file, i.clock.now()))
    return take_in_items(batches, i.ledger, i.clock, counter("items"))


def ingest_batches(
    installation: "Installation",
    batches: "Iterable[tuple[list[Event], list[DeadLetter]]]",
    count: Callable[[int], None],
) -> dict[str, int]:
    """Import batches of events and dead letters; returns counts of events."""
    from opportune.flows.take_in import take_in

    i = installation
    return take_in(batches, i.ledger, i.playbook, i.clock, count)
