"""opportune events."""

import click

from opportune.cli.printing import json_option, result


@click.group("events", epilog="Example:  opportune events tail --last 20")
def command() -> None:
    """Look at what came in, what was refused, and what was decided."""


@command.command("tail", epilog="Example:  opportune events tail --last 20")
@click.option("--last", default=20, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def tail(last: int, as_json: bool) -> None:
    """The newest events by arrival."""
    from opportune.wiring import Installation

    with Installation().ledger.read() as uow:
        events = uow.events.tail(None, last)
    rows = [
        {
            "ingested_at": e.ingested_at,
            "event_at": e.event_at,
            "who": e.id_key,
            "name": e.name,
            "origin": e.origin,
            "message_id": e.message_id,
        }
        for e in events
    ]
    words = "\n".join(
        f"{r['ingested_at']:%Y-%m-%d %H:%M:%S}  {r['name']:<24} {r['who']:<28} {r['message_id']}" for r in rows
    )
    result(rows, words or "no events yet", as_json)


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
