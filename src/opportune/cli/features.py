"""opportune features."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opportune.cli.printing import counter, instant, json_option, result, say

if TYPE_CHECKING:
    from opportune.wiring import Installation


@click.group("features", epilog="Example:  opportune features show c42")
def command() -> None:
    """Features as of any instant, the online state built anew, and whether what was served is what is trained on."""


@command.command(
    "build", epilog="Example:  opportune features build --as-of 2026-10-01,2026-11-01 --out features.parquet"
)
@click.option("--as-of", "as_of", required=True, help="One or more instants, separated by commas.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="A Parquet file.")
@click.option(
    "--customers",
    default=None,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A text file of customer ids, one a line. Default: everybody known at the instant.",
)
@json_option
def build(as_of: str, out: Path, customers: Path | None, as_json: bool) -> None:
    """Finished feature values of every customer as of the given instants, from archive and ledger."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from opportune.features.columns import arrow_columns
    from opportune.flows.backfill import backfill
    from opportune.flows.publish import archive_events
    from opportune.wiring import Installation

    i = Installation()
    instants = [
        at for text in as_of.split(",") if text.strip() and (at := instant(text.strip(), "--as-of", i.clock.now()))
    ]
    if not instants:
        raise click.ClickException("--as-of names no instant: give one like 2026-11-01, or several with commas")
    lines = [line.strip() for line in customers.read_text(encoding="utf-8").splitlines()] if customers else None
    ids = list(dict.fromkeys(line for line in lines if line)) if lines is not None else None
    say("archiving new events")
    archive_events(i.ledger, i.archive, i.clock, i.owner)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.draft")
    count, n, writer = counter("rows"), 0, None
    try:
        for frame in backfill(instants, i.ledger, i.offline, ids):
            keys = {
                "customer_id": pa.array(frame["customer_id"], pa.string()),
                "at": pa.array(frame["at"], pa.timestamp("us", tz="UTC")),
            }
            table = pa.table(keys | arrow_columns(frame))
            if writer is None:
                writer = pq.ParquetWriter(draft, table.schema, compression="zstd")
            writer.write_table(table)
            n += len(frame)
            count(n)
        if writer is not None:
            writer.close()
            draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    if writer is None:
        raise click.ClickException("nobody was known at these instants: ingest events, or choose later ones")
    result({"n_rows": n, "out": str(out)}, f"{n:,} rows in {out}", as_json)


@command.command("rebuild", epilog="Example:  opportune features rebuild      (cut off? run it again, it goes on)")
@click.option("--restart", is_flag=True, help="From the first customer, even where an earlier run was cut off.")
@json_option
def rebuild_states(restart: bool, as_json: bool) -> None:
    """Every customer's online state anew from archive and ledger, into ledger and Feast. Decisions go on meanwhile."""
    from opportune.flows.rebuild import rebuild
    from opportune.wiring import Installation

    i = Installation()
    done = rebuild(i.ledger, i.archive, i.clock, restart, report=counter("customers"))
    n_projected, n_waiting = _project_all(i)
    words = (
        f"{done.n_customers:,} customers rebuilt, {done.n_changed:,} came out changed, {n_projected:,} projected"
        + (f" (going on after {done.resumed_after})" if done.resumed_after else "")
        + (f"; {n_waiting:,} wait for the worker" if n_waiting else "")
    )
    data = {
        "n_customers": done.n_customers,
        "n_changed": done.n_changed,
        "n_restored": done.n_restored,
        "n_projected": n_projected,
        "n_waiting": n_waiting,
        "resumed_after": done.resumed_after,
    }
    result(data, words, as_json)
    i.close()


def _project_all(i: "Installation") -> tuple[int, int]:
    """Project until nothing waits; returns (projected here, still waiting). Another projector's turn is waited for."""
    from opportune.flows.project import LEASE, project, release

    n_projected, count, least = 0, counter("projected"), None
    patience_s = LEASE.total_seconds() + 5  # one that was killed holds its turn for as long
    until = time.monotonic() + patience_s
    while True:
        while n := project(i.ledger, i.features, i.clock, i.owner):
            n_projected += n
            count(n_projected)
        with i.ledger.read() as uow:
            n_waiting = uow.outbox.depth("project")
        if least is None or n_waiting < least:
            least, until = n_waiting, time.monotonic() + patience_s
        if not n_waiting or time.monotonic() > until:
            release(i.ledger, i.clock, i.owner)
            return n_projected, n_waiting
        time.sleep(0.5)


@command.command("check", epilog="Example:  opportune features check --sample 1000      Exit: 1 above 0.1 %")
@click.option("--sample", default=1000, show_default=True, type=click.IntRange(1, 1_000_000), help="Decisions at most.")
@click.option("--rate", default=1.0, show_default=True, type=click.FloatRange(0, 1), help="Share drawn by hash.")
@click.option("--since", default=None, help="Only decisions from this instant on.")
@click.option("--mlflow/--no-mlflow", default=True, show_default=True, help="Log to experiment features/consistency.")
@json_option
@click.pass_context
def check_features(
    ctx: click.Context, sample: int, rate: float, since: str | None, mlflow: bool, as_json: bool
) -> None:
    """Compare what decisions were served with the offline values as of the same instants."""
    from opportune.flows.consistency import check, log_report, remember
    from opportune.flows.publish import archive_events
    from opportune.wiring import Installation

    at = instant(since, "--since")
    i = Installation()
    archive_events(i.ledger, i.archive, i.clock, i.owner)
    report = check(i.ledger, i.offline, i.clock, rate, sample, at)
    if report.consistency.n_rows:
        remember(report, i.ledger)
        if mlflow:
            log_report(report, i.runlog, "command")
    result(report.to_dict(), report.to_text(), as_json)
    ctx.exit(1 if report.consistency.is_alarming else 0)


@command.command("show", epilog="Example:  opportune features show c42 --at 2026-11-01T12:00")
@click.argument("customer")
@click.option("--at", default=None, help="An instant. Default: now.")
@click.option("--events", "n_events", default=3, show_default=True, type=click.IntRange(0, 1000), help="Per feature.")
@json_option
def show(customer: str, at: str | None, n_events: int, as_json: bool) -> None:
    """Each feature of a customer at an instant, with the newest of the events it came from."""
    from opportune.flows.trace_features import trace_features
    from opportune.wiring import Installation

    i = Installation()
    traced = trace_features(customer, instant(at, "--at") or i.clock.now(), i.ledger, i.playbook, n_events)
    if not traced["n_events"]:
        say(f"nothing is known of {customer} at {traced['at']}: these are the values of no history")
    result(traced, "\n".join(_lines(traced)), as_json)


@command.command("verify", epilog="Example:  opportune features verify")
def verify() -> None:
    """Hold the direct reader of the online store against Feast's own get_online_features."""
    from opportune.wiring import Installation

    i = Installation()
    with i.ledger.read() as uow:
        ids = uow.customers.all_ids("", 1000)
    try:
        n = i.feast.verify(ids)
    except RuntimeError as problem:
        raise click.ClickException(str(problem)) from problem
    click.echo(f"{n:,} rows read alike on {i.feast.place.online}")
    i.close()


def _lines(traced: dict[str, Any]) -> list[str]:
    lines = [f"{traced['customer_id']} at {traced['at']}, {traced['n_events']} events"]
    for name, feature in traced["features"].items():
        value = feature["value"]
        said = "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        lines.append(f"  {name:<28} {said}    {feature['meaning']}")
        lines += [f"      {e['event_at']}  {e['name']:<22} {e['message_id']}" for e in feature["events"]]
        if (more := feature["n_events"] - len(feature["events"])) > 0:
            lines.append(f"      and {more} more")
    return lines
