"""A timer is due: claim, and decide; the timer leaves the hot table in the transaction of its decision."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from opportune.domain.decisions import Ask, Decision, Firing
from opportune.domain.journeys import PREFIX
from opportune.domain.messages import Deliver
from opportune.domain.timers import Timer, TimerFate
from opportune.flows.decide import Answer, decide
from opportune.flows.desk import Desk
from opportune.flows.hold import hold
from opportune.flows.plan_ahead import plan_ahead, rules_following
from opportune.flows.recheck_news import still_news
from opportune.flows.walk import walk
from opportune.ports import Unavailable, UnitOfWork

log = logging.getLogger("opportune.fire")

LEASE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class FireReport:
    """What one round did, in timers."""

    n_claimed: int
    n_fired: int
    n_messages: int
    n_dropped: int


def fire(desk: Desk, owner: str, limit: int = 200, lease: timedelta = LEASE) -> FireReport:
    """Take up to `limit` due timers off the queue: drop those too late or without a rule, decide the rest; those of
    journeys take their steps."""
    now = desk.clock.now()
    with desk.ledger.begin() as uow:
        claimed = uow.timers.claim(now, limit, now + lease, owner)
        walking = [t for t in claimed if t.rule.startswith(PREFIX)]
        due = [t for t in claimed if not t.rule.startswith(PREFIX)]
        fresh, untrue = still_news(due, desk.playbook, uow)
        gone = [(t, fate) for t in fresh if (fate := fate_now(t, desk, now)) is not TimerFate.FIRED]
        gone += [(t, TimerFate.CONDITION_FALSE) for t in untrue]
        followed = rules_following((t for t, _ in gone), desk.playbook)
        _drop([(t, fate) for t, fate in gone if t.customer_id not in followed], uow, now)
        live = [t for t in fresh if fate_now(t, desk, now) is TimerFate.FIRED]
        if desk.is_watching:
            live = hold(live, desk.playbook, now, uow)
    if followed:  # the next of their days is planned as they are dropped
        with desk.ledger.begin(sorted(followed)) as uow:
            _drop([(t, fate) for t, fate in gone if t.customer_id in followed], uow, now)
            plan_ahead(followed, uow.customers.get(followed), uow, desk.playbook, now)
    n_dropped = len(gone)
    early = before_starts(walking, live, desk)
    ways = walk(early, desk)
    decisions = [a for a in decide_each([ask_of(t) for t in live], desk) if isinstance(a, Decision)]
    done = {(t.rule, t.customer_id, t.key) for t in early}
    ways += walk([t for t in walking if (t.rule, t.customer_id, t.key) not in done], desk)
    n_messages = sum(len(d.messages) for d in decisions) + sum(way.n_said for way in ways)
    return FireReport(len(claimed), len(decisions) + len(ways), n_messages, n_dropped)


def before_starts(walking: Sequence[Timer], firing: Sequence[Timer], desk: Desk) -> list[Timer]:
    """Those on a journey who look before a firing would send the same key on it: perhaps they have just left it."""
    starts = {
        (PREFIX + journey, t.customer_id, t.key): t.due_at
        for t in firing
        for journey in desk.playbook.journeys_of(t.rule)
    }
    never = datetime.min.replace(tzinfo=UTC)
    return [t for t in walking if t.due_at < starts.get((t.rule, t.customer_id, t.key), never)]


def _drop(gone: Sequence[tuple[Timer, TimerFate]], uow: UnitOfWork, now: datetime) -> None:
    for fate in (TimerFate.RULE_GONE, TimerFate.EXPIRED, TimerFate.CONDITION_FALSE):
        timers = [t for t, its in gone if its is fate]
        if timers:
            uow.timers.finish(timers, fate, now)


def decide_each(asks: Sequence[Ask], desk: Desk) -> list[Answer]:
    """All at once; when that fails, one by one, so that a bad case holds back only its own timer."""
    try:
        return decide(asks, desk) if asks else []
    except Unavailable:
        raise
    except Exception:
        if len(asks) == 1:
            log.exception("firing %s for one customer failed; it is tried again when its lease ends", asks[0].trigger)
            return []
    return [answer for ask in asks for answer in decide_each([ask], desk)]


def fate_now(timer: Timer, desk: Desk, now: datetime) -> TimerFate:
    """FIRED when it should be decided, else why it is dropped."""
    trigger = desk.playbook.spec.triggers.get(timer.rule)
    if trigger is None or (trigger.ends_at is not None and trigger.ends_at <= now):
        return TimerFate.RULE_GONE
    late = timer.expires_at if timer.expires_at is not None else timer.due_at + trigger.expires_after
    return TimerFate.EXPIRED if late < now else TimerFate.FIRED


def ask_of(timer: Timer) -> Ask:
    """The ask of one firing: the service delivers what triggers decide."""
    return Ask(
        customer_id=timer.customer_id,
        trigger=timer.rule,
        deliver=Deliver.SERVICE,
        firing=Firing(
            trigger=timer.rule,
            key=timer.key,
            due_at=timer.due_at,
            set_by=timer.set_by,
            version=timer.version,
            properties=timer.payload,
        ),
    )


def fire_all(desk: Desk, owner: str, limit: int = 200) -> Sequence[FireReport]:
    """Rounds until nothing is due."""
    rounds = []
    while (report := fire(desk, owner, limit)).n_claimed:
        rounds.append(report)
    return rounds
