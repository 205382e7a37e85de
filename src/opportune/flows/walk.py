"""Customers on a journey whose next look is due take their steps: step, decision and next timer in one transaction."""

import logging
from collections.abc import Sequence
from datetime import datetime

from opportune.domain.decisions import Ask, Case, Decision, Firing, Reason
from opportune.domain.instants import format_instant
from opportune.domain.journeys import Ending, Instance, StepTaken
from opportune.domain.messages import Deliver, SendState
from opportune.domain.timers import Timer, TimerFate
from opportune.flows.decide import Room
from opportune.flows.desk import Desk
from opportune.flows.look import Outlook
from opportune.flows.readings import read_features
from opportune.flows.set_out import timer_for
from opportune.journeys.ending import CUTTING
from opportune.journeys.machine import Reply, Walk, leave, said
from opportune.journeys.machine import walk as step_on
from opportune.playbook.journeys import Said
from opportune.ports import Unavailable

log = logging.getLogger("opportune.walk")


def walk(timers: Sequence[Timer], desk: Desk) -> list[Walk]:
    """Take the steps that are due; timers gone or restarted meanwhile are left alone.

    All at once; when that fails, one by one, so that a bad case holds back only itself (it is tried again when its
    lease ends). Raises Unavailable: nothing was written then.
    """
    try:
        return _walk(timers, desk) if timers else []
    except Unavailable:
        raise
    except Exception:
        if len(timers) == 1:
            log.exception("%s failed for one customer; it is tried again when its lease ends", timers[0].rule)
            return []
    return [way for timer in timers for way in walk([timer], desk)]


def _walk(timers: Sequence[Timer], desk: Desk) -> list[Walk]:
    ids = sorted({t.customer_id for t in timers})
    now = desk.clock.now()
    readings, degraded = read_features(ids, now, desk, is_whole=True)
    with desk.ledger.begin(ids) as uow:
        still = uow.timers.still(timers)
        live = [t for t in timers if (t.rule, t.customer_id, t.key) in still]
        if not live:
            return []
        asks = [Ask(customer_id=c) for c in sorted({t.customer_id for t in live})]
        path = _Path(Room(desk, uow, now, asks, readings, degraded, is_whole=True), live)
        for timer in live:
            path.take(timer)
        path.write()
    return [way for _, way in path.ways]


class _Path:
    """The instances of some due timers, what they see, and how far each came."""

    def __init__(self, room: Room, timers: Sequence[Timer]) -> None:
        self.room, self.uow, self.desk = room, room.uow, room.desk
        running = self.uow.journeys.running({t.customer_id for t in timers})
        self.at = {(one.rule, one.customer_id, one.key): one for found in running.values() for one in found}
        places = [(t.rule, t.customer_id, t.key) for t in timers]
        self.outlook = Outlook([self.at[p] for p in places if p in self.at], self.desk.playbook, self.uow)
        self.ways: list[tuple[Timer, Walk]] = []
        #: nobody is on the way there any more, or nobody knows how it goes on
        self.idle: list[Timer] = []
        self.lost: list[tuple[Instance, StepTaken]] = []

    def take(self, timer: Timer) -> None:
        """As far as one instance goes now, one message at most."""
        one = self.at.get((timer.rule, timer.customer_id, timer.key))
        if one is None:
            self.idle.append(timer)
            return
        now = self.room.at[one.customer_id]
        definition = self.outlook.definitions.get(one.version)
        if definition is None or one.step not in definition.names:
            self.idle.append(timer)
            self.lost.append(leave(one, Ending.UNREADABLE, now))
            return
        case = self.room.case_of(ask_of(one, now))
        way = step_on(one, definition, self.outlook.sight(one, definition, case))
        if way.say is not None:
            said(way, self._say(way.instance, way.say, case))
        self.ways.append((timer, way))

    def _say(self, one: Instance, wanted: Said, case: Case) -> Reply:
        """The ordinary pipeline on the one campaign of the step, as the playbook has it now."""
        if wanted.campaign not in self.desk.playbook.spec.campaigns:
            return Reply(None, None, False, {"campaign": wanted.campaign, "reason": Reason.ENDED.value})
        return reply_of(self.room.choose(self.room.case_of(ask_of(one, case.now, wanted))), wanted)

    def write(self) -> None:
        """Decisions, instances, their steps and next timers, ways drawn, and what does not go any more."""
        uow, now = self.uow, self.room.now
        self.room.write()
        ways = [way for _, way in self.ways]
        uow.journeys.put([*(way.instance for way in ways), *(one for one, _ in self.lost)])
        uow.journeys.take([*(line for way in ways for line in way.taken), *(line for _, line in self.lost)])
        uow.timers.finish([t for t, way in self.ways if way.due_at is None], TimerFate.FIRED, now)
        uow.timers.finish(self.idle, TimerFate.RULE_GONE, now)
        uow.timers.arm([timer_for(way.instance, at, way.sight.now) for way in ways if (at := way.due_at) is not None])
        exposures = [
            {
                "experiment": f"{way.instance.rule}:{step}",
                "variation": target,
                "unit": self.desk.unit(way.instance.customer_id),
                "customer_id": way.instance.customer_id,
                "decision_id": way.instance.instance_id,
                "at": way.sight.now,
            }
            for way in ways
            for step, target in way.ways
        ]
        if exposures:
            uow.exposures.add(exposures)
        for way in ways:
            if way.instance.ending in CUTTING:
                self._release(way.instance, way.sight.now)

    def _release(self, one: Instance, now: datetime) -> None:
        """What is booked and not handed over does not go any more."""
        for message_id in one.message_ids:
            send = self.outlook.sends.get(message_id)
            if send is not None and send.state is SendState.RESERVED:
                self.uow.sends.move(message_id, SendState.RELEASED, now, Reason.CANCELLED)


def ask_of(one: Instance, now: datetime, wanted: Said | None = None) -> Ask:
    """The ask of one step, at its own instant: a step taken late is not late. One stand makes one decision id."""
    return Ask(
        customer_id=one.customer_id,
        trigger=one.rule,
        channels=wanted.channels if wanted is not None else None,
        max_messages=1,
        deliver=Deliver.SERVICE,
        firing=Firing(
            trigger=one.rule,
            key=one.key,
            due_at=now,
            set_by=f"{one.instance_id}:{one.n_taken}",
            version=1,
            properties=one.properties,
            step=one.step,
            campaign=wanted.campaign if wanted is not None else None,
        ),
    )


def reply_of(decision: Decision, wanted: Said) -> Reply:
    """What came of it, for the machine and its history: the message, or the gate that shut on the one that came
    furthest."""
    detail = {"campaign": wanted.campaign, "decision_id": decision.decision_id}
    if decision.messages:
        message = decision.messages[0]
        told = {"channel": message.channel, "send_at": format_instant(message.send_at)}
        return Reply(message.message_id, message.send_at, message.is_virtual, detail | told)
    shut = next((r for r in reversed(decision.removed) if r.reason is not Reason.CHANNEL_NOT_ASKED), None)
    reason = {"reason": shut.reason.value if shut is not None else Reason.NOT_DRAWN.value}
    rule = {"rule": shut.rule} if shut is not None and shut.rule is not None else {}
    channels = {"channels": list(wanted.channels)} if wanted.channels is not None else {}
    return Reply(None, None, False, detail | reason | rule | channels)
