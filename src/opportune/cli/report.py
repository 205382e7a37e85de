"""opportune report."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from opportune.cli.printing import instant, json_option, result

if TYPE_CHECKING:
    from opportune.experiments.forecast import Outlook

_COLUMNS = {
    "campaign": "campaign",
    "channel": "channel",
    "sent": "sent",
    "delivered": "delivered",
    "open_rate": "open",
    "click_through": "click-through",
    "conversion": "conversion",
    "revenue_minor": "revenue",
    "unsubscribed": "unsubscribed",
    "withheld": "withheld",
}


@click.command("report", epilog="Example:  opportune report --since 2026-10-01 --until 2026-11-01 --markdown")
@click.option("--since", default=None, help="Decisions from this instant on. Default: 30 days before --until.")
@click.option("--until", default=None, help="Decisions before this instant. Default: now.")
@click.option("--markdown", is_flag=True, help="Tables in Markdown, to paste.")
@click.option("--forecast", "is_forecast", is_flag=True, help="Instead: messages of the next seven days by channel.")
@json_option
def command(since: str | None, until: str | None, markdown: bool, is_forecast: bool, as_json: bool) -> None:
    """What campaigns did, and why people did not hear, with definitions beside the figures."""
    from opportune.flows.report import campaign_report, outlook
    from opportune.wiring import Installation

    i = Installation()
    if is_forecast:
        days = outlook(i.ledger, i.clock)
        result([asdict(day) for day in days], outlook_in_words(days, markdown), as_json)
        return
    end = instant(until, "--until") or i.clock.now()
    start = instant(since, "--since") or end - timedelta(days=30)
    found = campaign_report(start, end, i.ledger, i.playbook, i.clock)
    result(found, as_markdown(found) if markdown else as_text(found), as_json)


def outlook_in_words(days: Sequence["Outlook"], markdown: bool) -> str:
    """The next days as a table."""
    head = ["day (UTC)", "channel", "expected", "95 % interval", "booked"]
    rows = [
        [
            f"{d.on:%a %Y-%m-%d}",
            d.channel,
            "-" if d.expected is None else f"{d.expected:,.1f}",
            "-" if d.low is None else f"{d.low:,} to {d.high:,}",
            f"{d.booked:,}",
        ]
        for d in days
    ]
    if not rows:
        return "No message in the last weeks and none booked: there is nothing to tell the next days from."
    note = (
        "Expected: mean of the same weekdays of the last 8 weeks, at least what is booked; a dash: under a week known."
    )
    if markdown:
        return "\n".join([*_table(head, rows), "", note])
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]
    return "\n".join([*lines, "", note])


def as_text(found: dict[str, Any]) -> str:
    """The report for a terminal."""
    from opportune.experiments.report import in_words

    rows = [list(_COLUMNS.values()), *_cells(found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    table = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    if len(rows) == 1:
        table = ["no message was chosen in this period"]
    lines = [
        f"Campaigns, decisions from {found['since']} to {found['until']}",
        "",
        *table,
        "",
        "Reach: who did not hear, and why (shares of all chances)",
        "",
        *([in_words(row) for row in found["reach"]] or ["nobody was considered in this period"]),
        "",
        "Definitions",
        *(f"  {name}: {text}" for part in found["definitions"].values() for name, text in part.items()),
    ]
    return "\n".join(lines)


def as_markdown(found: dict[str, Any]) -> str:
    """The report as Markdown."""
    reach = []
    for r in found["reach"]:
        why = ", ".join(f"{_share(it['share'])} {it['why']}" for it in r["lost"]) or "-"
        reach.append([r["campaign"], f"{r['chances']:,}", f"{r['heard']:,} ({_share(r['heard_share'])})", why])
    lines = [
        f"# Campaigns, {found['since']} to {found['until']}",
        "",
        *_table(list(_COLUMNS.values()), _cells(found)),
        "",
        "## Reach",
        "",
        *_table(["campaign", "chances", "heard", "not heard, because"], reach),
        "",
        "## Definitions",
        "",
        *(f"- **{name}**: {text}" for part in found["definitions"].values() for name, text in part.items()),
    ]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _cells(found: dict[str, Any]) -> list[list[str]]:
    return [[_cell(name, row[name], found["currency"]) for name in _COLUMNS] for row in found["campaigns"]]


def _cell(name: str, value: Any, currency: str) -> str:
    if value is None:
        return "-"
    if name == "revenue_minor":
        return f"{value / 100:,.2f} {currency}"
    if isinstance(value, float):
        return _share(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
