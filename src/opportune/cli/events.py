"""opportune events."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from opportune.cli.printing import json_option, result

if TYPE_CHECKING:
    from opportune.domain.events import Event
    from opportune.ports import UnitOfWork

#: One look reads at most this many of the newest events.
_MOST = 20_000


@click.group("events", epilog="Example:  opportune events tail --last 20")
def command() -> None:
    """Look at what came in, what was refused, and what was decided."""


@command.command("tail", epilog="Example:  opportune events tail --last 20 --follow")
@click.option("--last", default=20, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--follow", is_flag=True, help="Go on printing what comes in, until Ctrl-C. With --json: one line each.")
@click.option(
    "--every", default=1.0, show_default=True, type=click.FloatRange(0.05, 3600), help="Seconds between looks."
)
@json_option
def tail(last: int, follow: bool, every: float, as_json: bool) -> None:
    """The newest events by arrival."""
    from opportune.wiring import Installation

    ledger = Installation().ledger
    with ledger.read() as uow:
        events = uow.events.tail(None, last)
    if not follow:
        rows = [_row(e) for e in events]
        result(rows, "\n".join(map(_line, rows)) or "no events yet", as_json)
        return
    seen: set[str] = set()
    while True:
        _print(reversed(events), as_json)
        seen = {e.message_id for e in events} | (seen if len(seen) < _MOST else set())
        time.sleep(every)
        with ledger.read() as uow:
            events = unseen(uow, seen)


@command.command("dead-letters", epilog="Example:  opportune events dead-letters")
@click.option("--last", default=20, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def dead_letters(last: int, as_json: bool) -> None:
    """What was refused, why, and how to mend it."""
    from opportune.wiring import Installation

    with Installation().ledger.read() as uow:
        letters = uow.dead_letters.newest(last)
    rows = [
        {
            "received_at": d.received_at,
            "source": d.source,
            "index": d.index,
            "message_id": d.message_id,
            "code": d.code,
            "message": d.message,
        }
        for d in letters
    ]
    words = "\n".join(
        f"{r['received_at']:%Y-%m-%d %H:%M:%S}  {r['source']}#{r['index']}  {r['code']}: {r['message']}" for r in rows
    )
    result(rows, words or "nothing was refused", as_json)


@command.command("decisions", epilog="Example:  opportune events decisions --customer c42")
@click.option("--customer", default=None, help="Only this customer's.")
@click.option("--last", default=20, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def decisions(customer: str | None, last: int, as_json: bool) -> None:
    """The newest decisions, one line each."""
    import orjson

    from opportune.wiring import Installation

    with Installation().ledger.read() as uow:
        found = uow.decisions.newest(customer, last)
    rows = [
        {
            "decided_at": d.decided_at,
            "decision_id": d.decision_id,
            "customer_id": d.customer_id,
            "trigger": d.trigger,
            "summary": orjson.loads(d.decision)["summary"],
        }
        for d in found
    ]
    words = "\n".join(
        f"{r['decided_at']:%Y-%m-%d %H:%M:%S}  {r['decision_id']}  {r['customer_id']}: {r['summary']}" for r in rows
    )
    result(rows, words or "no decisions yet", as_json)


def _row(e: "Event") -> dict[str, Any]:
    return {
        "ingested_at": e.ingested_at,
        "event_at": e.event_at,
        "who": e.id_key,
        "name": e.name,
        "origin": e.origin,
        "message_id": e.message_id,
    }


def _line(r: dict[str, Any]) -> str:
    return f"{r['ingested_at']:%Y-%m-%d %H:%M:%S}  {r['name']:<24} {r['who']:<28} {r['message_id']}"


def unseen(uow: "UnitOfWork", seen: set[str]) -> list["Event"]:
    """The newest events not in `seen`, newest first: as far back as one that was, at most `_MOST`."""
    limit = 200
    while True:
        events = uow.events.tail(None, limit)
        if len(events) < limit or limit >= _MOST or any(e.message_id in seen for e in events):
            return [e for e in events if e.message_id not in seen]
        limit *= 4


def _print(events: Iterable["Event"], as_json: bool) -> None:
    import orjson

    for row in map(_row, events):
        click.echo(orjson.dumps(row, default=str).decode() if as_json else _line(row))
