"""opportune replay."""

import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opportune.cli.printing import json_option, result, say, span

if TYPE_CHECKING:
    from opportune.domain.events import Event
    from opportune.flows.replay import Replayed
    from opportune.wiring import Installation


@click.command(
    "replay",
    epilog="Example:  OPPORTUNE_HOME=trial OPPORTUNE_CLOCK=replay opportune replay events.jsonl --format segment "
    "--from 2026-02-01 --to 2026-03-01",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--format", "form", type=click.Choice(["segment", "retail"]), required=True, help="As for ingest.")
@click.option("--from", "from_text", default=None, help="Earlier events are imported as history. Default: the first.")
@click.option("--to", "to_text", default=None, help="Where replay ends; later events are left out. Default: the last.")
@click.option(
    "--speed", type=click.FloatRange(min=0.001), default=None, help="Seconds replayed in one. Default: no wait."
)
@click.option("--every", default="0s", show_default=True, help="Let events come in together every so often (faster).")
@json_option
def command(
    file: Path, form: str, from_text: str | None, to_text: str | None, speed: float | None, every: str, as_json: bool
) -> None:
    """Replay history as if it were live, onto a home whose clock is in replay mode.

    Each event comes in at its own instant; timers fire and messages leave (to the home's courier) as time passes them.
    The clock moves forward only: replay onto a fresh home, or go on where the last replay ended.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from opportune.cli.work import project_all
    from opportune.domain.instants import parse_instant
    from opportune.flows.replay import replay, turn
    from opportune.wiring import Installation

    i = on_replay_clock(Installation())
    first = parse_instant(from_text) if from_text else None
    last = parse_instant(to_text) if to_text else None
    events, n_refused = read(file, form)
    if not events:
        raise click.UsageError(f"{file}: no event could be read ({n_refused:,} lines refused)")
    first = first or events[0].event_at
    last = last or events[-1].event_at
    if last < first:
        raise click.UsageError(f"--to {last.isoformat()} is before --from {first.isoformat()}")
    live = [e for e in events if first <= e.event_at <= last]
    begin(i, first, [e for e in events if e.event_at < first])
    say(f"replaying {len(live):,} events from {first.isoformat()} to {last.isoformat()}")
    started, shown = time.monotonic(), 0.0
    decided_before = cursor_of(i)

    def tell(at: datetime, done: "Replayed") -> None:
        nonlocal shown
        wait(speed, at - first, started)
        if time.monotonic() - shown >= 1:
            shown = time.monotonic()
            p = done.passage
            say(f"  {at:%Y-%m-%d %H:%M}  {done.n_events:,} events, {p.n_timers:,} timers, {p.n_sent:,} messages sent")

    with turn(i.ledger, i.owner, i.wall) as renew:
        done = replay(
            live, last, i.desk, i.courier, i.replay_clock, i.owner,
            every=span(every, "--every"), report=tell, meanwhile=renew,
        )  # fmt: skip
    project_all(i)
    summary = summarise(i, done, decided_before, n_refused)
    result(summary, in_words(summary), as_json)
    i.close()


def on_replay_clock(i: "Installation") -> "Installation":
    """The installation on a replay clock: a home that is new, or was replayed onto before, needs no setting for it.

    Raises UsageError for one that has lived by the wall's clock: replay would speak to its real customers.
    """
    from opportune.adapters.system_clock import REPLAY_CURSOR
    from opportune.wiring import Installation

    if i.settings.clock == "replay":
        return i
    with i.ledger.read() as uow:
        is_fresh = uow.cursors.get(REPLAY_CURSOR) is not None or not uow.customers.all_ids("", 1)
    if not is_fresh:
        raise click.UsageError(
            f"{i.home} lives by the wall's clock: set OPPORTUNE_HOME to a folder of its own for replay"
        )
    i.close()
    return Installation(i.settings.model_copy(update={"clock": "replay"}))


def read(file: Path, form: str) -> tuple[list["Event"], int]:
    """All events of a file in time order (they are held in memory, some 2 KB each), and how many lines were refused."""
    from opportune.adapters import retail_files, segment_files
    from opportune.adapters.system_clock import WallClock

    reader = retail_files.read_retail if form == "retail" else segment_files.read_segment
    events: list[Event] = []
    n_refused = 0
    for batch, letters in reader(file, WallClock().now()):
        events += batch
        n_refused += len(letters)
    return sorted(events, key=lambda e: (e.event_at, e.message_id)), n_refused


def begin(i: "Installation", first: datetime, history: list["Event"]) -> None:
    """Set the clock to where replay begins and import what happened before. Raises ValueError when it is past that."""
    from opportune.cli.ingest import ingest_batches
    from opportune.cli.printing import counter

    if not i.replay_clock.start(first) and i.clock.now() > first:
        raise ValueError(
            f"the replay clock of {i.home} stands at {i.clock.now().isoformat()} already: "
            "use a fresh OPPORTUNE_HOME, or --from that instant"
        )
    if history:
        say(f"importing {len(history):,} earlier events as history")
        ingest_batches(i, ((history[n : n + 2000], []) for n in range(0, len(history), 2000)), counter("events"))


def wait(speed: float | None, replayed: timedelta, started: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Sleep until real time has caught up with replayed time at this speed."""
    if speed is not None:
        ahead = replayed.total_seconds() / speed - (time.monotonic() - started)
        if ahead > 0:
            sleep(ahead)


def cursor_of(i: "Installation") -> str:
    """Where the decision log ends now."""
    cursor = ""
    while True:
        with i.ledger.read() as uow:
            page, after = uow.decisions.after(cursor, 5000)
        if not page:
            return cursor
        cursor = after


def summarise(i: "Installation", done: "Replayed", cursor: str, n_refused: int) -> dict[str, Any]:
    """What was decided and said since `cursor`, by campaign: messages decided; and timers, sends, releases in all."""
    import orjson

    n_decisions, campaigns = 0, dict[str, int]()
    while True:
        with i.ledger.read() as uow:
            page, cursor = uow.decisions.after(cursor, 2000)
        if not page:
            break
        n_decisions += len(page)
        for row in page:
            for message in orjson.loads(row.decision)["messages"] if row.n_messages else ():
                campaigns[message["campaign"]] = campaigns.get(message["campaign"], 0) + 1
    p = done.passage
    return {
        "n_events": done.n_events, "n_known_already": done.n_known, "n_refused": n_refused, "n_timers": p.n_timers,
        "n_decisions": n_decisions, "n_messages": sum(campaigns.values()), "n_sent": p.n_sent,
        "n_released": p.n_released, "now": i.clock.now(), "campaigns": dict(sorted(campaigns.items())),
    }  # fmt: skip


def in_words(s: dict[str, Any]) -> str:
    """The summary as lines."""
    lines = [
        f"{s['n_events']:,} events replayed ({s['n_known_already']:,} known already, {s['n_refused']:,} lines refused)",
        f"{s['n_timers']:,} timers fired, {s['n_decisions']:,} decisions, {s['n_messages']:,} messages decided, "
        f"{s['n_sent']:,} sent, {s['n_released']:,} released",
        f"the clock stands at {s['now'].isoformat()}",
    ]
    width = max((len(c) for c in s["campaigns"]), default=0)
    return "\n".join([*lines, *(f"  {c:<{width}}  {n:>8,}" for c, n in s["campaigns"].items())])
