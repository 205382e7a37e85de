"""opportune decide."""

from pathlib import Path

import click

from opportune.cli.printing import counter, instant, json_option, result, say


@click.command("decide", epilog="Example:  opportune decide --at 2026-10-31 --out decisions.parquet")
@click.option("--at", "at_text", default=None, help="The instant to decide at, from what was known then. Default: now.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Parquet file to write.")
@click.option("--channel", "channels", multiple=True, help="Only these channels; may be repeated.")
@click.option("--commit", is_flag=True, help="Reserve, log and deliver (only without --at). Default: a dry run.")
@json_option
def command(at_text: str | None, out: Path, channels: tuple[str, ...], commit: bool, as_json: bool) -> None:
    """Decide for every customer as of an instant, by offline features, the same vector builder and pipeline."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from opportune.flows.decide_all import decide_all, decide_now
    from opportune.flows.publish import archive_events
    from opportune.wiring import Installation

    if commit and at_text:
        raise click.UsageError("--commit decides for now: leave out --at")
    i = Installation()
    now = i.clock.now()
    at = instant(at_text, "--at", now) or now
    if not out.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {out.absolute().parent}: make it first", param_hint="--out")
    if not commit:
        say("archiving new events")
        archive_events(i.ledger, i.archive, i.clock, i.owner)
    pages = decide_now(i.desk, channels or None) if commit else decide_all(at, i.desk, i.offline, channels or None)
    schema = pa.schema(
        [
            ("customer_id", pa.string()),
            ("decided_at", pa.timestamp("us", "UTC")),
            ("mode", pa.string()),
            ("summary", pa.string()),
            *[(f"p_{name}", pa.float64()) for name in i.scorer.models],
            ("models", pa.string()),
            ("model_as_of", pa.string()),
            ("in_sample", pa.bool_()),
            ("n_messages", pa.int32()),
            ("campaign", pa.string()),
            ("channel", pa.string()),
            ("variant", pa.string()),
            ("send_at", pa.timestamp("us", "UTC")),
            ("value_minor", pa.int64()),
            ("messages", pa.string()),
            ("removed", pa.string()),
        ]
    )
    n = n_messages = 0
    campaigns: dict[str, int] = {}
    count = counter("customers decided")
    part = out.with_name(out.name + ".part")
    try:
        with pq.ParquetWriter(part, schema) as writer:
            for rows in pages:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                n += len(rows)
                n_messages += sum(r["n_messages"] for r in rows)
                for row in rows:
                    if row["campaign"]:
                        campaigns[row["campaign"]] = campaigns.get(row["campaign"], 0) + 1
                count(n)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    summary = {
        "out": str(out),
        "at": at,
        "n_customers": n,
        "n_messages": n_messages,
        "campaigns": campaigns,
        "committed": commit,
    }
    told = ", ".join(f"{k} {v:,}" for k, v in sorted(campaigns.items())) or "none"
    words = f"{n:,} customers decided as of {at:%Y-%m-%d %H:%M} UTC, {n_messages:,} messages ({told}) -> {out}"
    result(summary, words + ("" if commit else "  (dry run: nothing reserved)"), as_json)
