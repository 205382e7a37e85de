"""Are the sources well? From signs of life counted by the minute. What absence triggers ask before they conclude that
nothing happened. Pure but for the reading of counts.

A source was well at an instant when its signs reached us just before it. An outage is not over when signs come again:
clients then send what they kept, so for `grace` nothing is concluded either. Quiet is not sick: our own ingestion gives
its sign every minute whether or not anybody shops.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from opportune.domain.events import Event, Origin
from opportune.domain.instants import from_us, to_us
from opportune.flows.note import PAGE, read_on
from opportune.playbook.load import Playbook
from opportune.playbook.sources import INGESTION, Source
from opportune.ports import Clock, Ledger, UnitOfWork

MINUTE = timedelta(minutes=1)
#: A sick source is looked at again after this; what waits for it is put off so long.
AGAIN = timedelta(seconds=30)
#: Counts older than this matter to nobody.
KEPT = timedelta(days=4)


@dataclass(frozen=True, slots=True)
class Sign:
    """What must be seen: at least `n` in every `span`. `name`: of its counts. `is_optional`: never seen is well."""

    name: str
    n: int
    span: timedelta
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """`is_well` now. `settled_at`: from when on absence may be concluded again, after its last fault; null while it is
    not well, and when it was well all the time."""

    source: str
    is_well: bool
    settled_at: datetime | None = None


def minute_of(at: datetime) -> datetime:
    """The first instant of its minute."""
    return from_us(to_us(at) // 60_000_000 * 60_000_000)


def sources_of(playbook: Playbook) -> dict[str, Source]:
    """The declared sources, our own ingestion always among them."""
    return {INGESTION: Source(), **playbook.spec.sources}


def signs_of(name: str, source: Source) -> list[Sign]:
    """The signs of one source; none: nothing tells, it counts as well. Of ours, one in
    three minutes: it gives four a minute, so a restart is no outage, and two silent minutes in a row are one."""
    found = [Sign(INGESTION, 1, 3 * MINUTE, is_optional=True)] if name == INGESTION else []
    if source.heartbeat is not None:
        said = _digest(name, source.heartbeat.model_dump_json())
        found.append(Sign(f"{name}:heartbeat:{said}", 1, source.heartbeat.every + MINUTE))
    if source.min_rate is not None:
        said = _digest(name, source.min_rate.model_dump_json(), *source.events)
        found.append(Sign(f"{name}:rate:{said}", source.min_rate.at_least, source.min_rate.in_ + MINUTE))
    return found


def _digest(*said: str) -> str:
    return hashlib.sha256("\x00".join(said).encode()).hexdigest()[:12]


def health(
    playbook: Playbook, now: datetime, uow: UnitOfWork, names: Collection[str] | None = None
) -> dict[str, Health]:
    """How these sources (null: all) are at `now`."""
    return {
        name: _worst(name, [_seen(sign, source.grace, now, uow) for sign in signs_of(name, source)])
        for name, source in sources_of(playbook).items()
        if names is None or name in names
    }


def _worst(name: str, found: Sequence[tuple[bool, datetime | None]]) -> Health:
    if not all(is_well for is_well, _ in found):
        return Health(name, False)
    return Health(name, True, max((at for _, at in found if at is not None), default=None))


def _seen(sign: Sign, grace: timedelta, now: datetime, uow: UnitOfWork) -> tuple[bool, datetime | None]:
    start = minute_of(now - grace)
    counts = dict(uow.sources.minutes(sign.name, start - sign.span))
    first = start
    if sign.is_optional and uow.sources.newest(sign.name, start) is None:
        first = min(counts, default=now + MINUTE)  # before its first sign there was nothing to be sick
    return judge(counts, sign, first, grace, now)


def judge(
    counts: Mapping[datetime, int], sign: Sign, first: datetime, grace: timedelta, now: datetime
) -> tuple[bool, datetime | None]:
    """(well now, when its last fault since `first` is settled or null). `counts` reach back to `first` - `span`."""
    minutes = sorted(counts)
    sums = [0, *accumulate(counts[minute] for minute in minutes)]

    def is_met(at: datetime) -> bool:
        return sums[bisect_right(minutes, at)] - sums[bisect_right(minutes, at - sign.span)] >= sign.n

    if now >= first and not is_met(now):
        return False, None
    at = minute_of(now)
    while at >= first:
        if not is_met(at):
            settled_at = at + MINUTE + grace
            return True, settled_at if settled_at > now else None
        at -= MINUTE
    return True, None


def may_conclude_at(
    due_at: datetime,
    wait: timedelta,
    unless: Collection[str],
    playbook: Playbook,
    found: Mapping[str, Health],
    now: datetime,
) -> datetime:
    """From when on an absence due at `due_at` may be concluded; `now` or earlier: at once.

    The allowed lateness is never longer than the wait itself."""
    at = due_at
    for name, source in sources_of(playbook).items():
        if name != INGESTION and not source.sends(unless):
            continue
        at = max(at, due_at + min(source.lateness, wait))
        state = found[name]
        if not state.is_well:
            at = max(at, now + AGAIN)
        elif state.settled_at is not None:
            at = max(at, state.settled_at)
    return at


def beat_ingestion(ledger: Ledger, clock: Clock) -> None:
    """A sign of life of our own ingestion: it is up, and it can write. Raises Unavailable when it cannot."""
    with ledger.begin() as uow:
        uow.sources.count(INGESTION, [(minute_of(clock.now()), 1)])


def note_signs(ledger: Ledger, playbook: Playbook, limit: int = PAGE) -> int:
    """Count one page of live events for the declared sources; returns how many were read. 0: all are counted."""
    wanted = {n: s for n, s in playbook.spec.sources.items() if s.heartbeat is not None or s.min_rate is not None}
    if not wanted:
        return 0

    def write(events: Sequence[Event], uow: UnitOfWork) -> None:
        for name, counts in sorted(counted(events, wanted).items()):
            uow.sources.count(name, sorted(counts.items()))

    said = _digest(*(f"{name}{source.model_dump_json()}" for name, source in sorted(wanted.items())))
    return read_on(f"signs:{said}", write, ledger, limit)


def counted(events: Sequence[Event], sources: Mapping[str, Source]) -> dict[str, dict[datetime, int]]:
    """Name of the sign -> minute of arrival -> events."""
    found: dict[str, dict[datetime, int]] = {}
    for event in events:
        if event.origin is not Origin.LIVE:
            continue
        for name, source in sources.items():
            for sign in signs_of(name, source):
                is_beat = sign.name.startswith(f"{name}:heartbeat:")
                if source.heartbeat is not None and is_beat and event.name != source.heartbeat.event:
                    continue
                if is_beat or source.sends([event.name]):
                    minutes = found.setdefault(sign.name, {})
                    minute = minute_of(event.received_at)
                    minutes[minute] = minutes.get(minute, 0) + 1
    return found


def forget_signs(ledger: Ledger, clock: Clock) -> None:
    """Drop counts that matter to nobody any more."""
    with ledger.begin() as uow:
        uow.sources.forget_before(clock.now() - KEPT)
