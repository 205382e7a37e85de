"""The machine: from where a customer stands, as far as the journey goes now. Pure; every step taken is a fact.

Given the same instance and the same sight it takes the same steps, so that doing it again after a crash, under the
customer's lock, changes nothing. It stops where time has to pass, where something has to be said (the caller decides
the message and says by `said` what came of it), and at the end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from opportune.domain.journeys import Ending, Instance, Result, StepTaken
from opportune.domain.messages import SendState
from opportune.journeys.definition import Definition
from opportune.journeys.ending import ending_of, too_long_at
from opportune.journeys.sight import Sight, Spoken
from opportune.journeys.waiting import wait_end
from opportune.playbook.journeys import END, Awaited, Escalation, Said, Step


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of something to say. `message_id` null: nothing, and `detail` tells why. `is_virtual`: withheld."""

    message_id: str | None
    send_at: datetime | None
    is_virtual: bool
    detail: Mapping[str, Any]


@dataclass(slots=True)
class Walk:
    """How far one came. `say`: what has to be said before it goes on. `ways`: (step, way taken) of each split.
    `n_said`: messages booked or withheld on the way."""

    instance: Instance
    definition: Definition
    sight: Sight
    taken: list[StepTaken] = field(default_factory=list)
    ways: list[tuple[str, str]] = field(default_factory=list)
    say: Said | None = None
    n_said: int = 0

    @property
    def due_at(self) -> datetime | None:
        """When to look again if nothing happens before; null: it is over."""
        it = self.instance
        if it.ending is not None:
            return None
        if it.begun_at is None:
            return self.sight.now
        limit = too_long_at(it, self.definition)
        return limit if it.until_at is None else min(limit, it.until_at)

    def note(self, result: Result, **detail: Any) -> None:
        """One step was taken."""
        it = self.instance
        n = it.n_taken + 1
        told = {name: value for name, value in detail.items() if value is not None}
        line = StepTaken(
            instance_id=it.instance_id, n=n, step=it.step, result=result, at=self.sight.now, detail=told
        )  # fmt: skip
        self.taken.append(line)
        self.instance = replace(it, n_taken=n)

    def go(self, target: str, result: Result, **detail: Any) -> None:
        """The step is done; on to another, or to the end."""
        self.note(result, go=target, **detail)
        self.move(target)

    def move(self, target: str) -> None:
        """On without a line."""
        if target == END:
            self.end(Ending.COMPLETED)
            return
        self.instance = replace(
            self.instance, step=target, begun_at=None, until_at=None, round=0,
            n_said_before=len(self.instance.message_ids),
        )  # fmt: skip

    def stand(self, until_at: datetime | None) -> None:
        """It stays at its step, until then at the latest."""
        self.instance = replace(
            self.instance, begun_at=self.instance.begun_at or self.sight.now, until_at=until_at
        )  # fmt: skip

    def end(self, how: Ending, detail: Mapping[str, Any] | None = None) -> None:
        """It is over."""
        self.instance, line = leave(self.instance, how, self.sight.now, detail)
        self.taken.append(line)


def leave(
    instance: Instance, how: Ending, now: datetime, detail: Mapping[str, Any] | None = None
) -> tuple[Instance, StepTaken]:
    """The instance after its journey is over, and the line that says so."""
    n = instance.n_taken + 1
    told = {"ending": how.value, **(detail or {})}
    over = replace(instance, n_taken=n, ended_at=now, ending=how, begun_at=None, until_at=None, listens=())
    line = StepTaken(
        instance_id=instance.instance_id, n=n, step=instance.step, result=Result.ENDED, at=now, detail=told
    )  # fmt: skip
    return over, line


def walk(instance: Instance, definition: Definition, sight: Sight) -> Walk:
    """As far as it goes now."""
    way = Walk(instance, definition, sight)
    if instance.ending is None:
        over = ending_of(instance, definition, sight, facts_of(instance, sight))
        if over is not None:
            way.end(*over)
    _on(way)
    return way


def said(way: Walk, reply: Reply) -> None:
    """What came of `way.say`; then as far as it goes, to the next thing to say at most."""
    it, step, now = way.instance, way.definition.step(way.instance.step), way.sight.now
    way.say = None
    if reply.message_id is None:
        if step.escalate is None:
            way.go(way.definition.otherwise(it.step), Result.REFUSED, **reply.detail)
        else:
            way.note(Result.REFUSED, **reply.detail)
            way.instance = replace(way.instance, round=it.round + 1)
    else:
        send_at = reply.send_at or now
        way.note(Result.WITHHELD if reply.is_virtual else Result.BOOKED, message_id=reply.message_id, **reply.detail)
        spoken = {**way.sight.spoken, reply.message_id: Spoken(SendState.RESERVED, send_at)}
        way.sight = replace(way.sight, spoken=spoken)
        way.instance = replace(way.instance, message_ids=(*it.message_ids, reply.message_id), begun_at=now)
        way.n_said += 1
    _on(way)


def _on(way: Walk) -> None:
    """Step by step, until time has to pass or something has to be said."""
    goes_on = True
    while goes_on and way.instance.ending is None and way.say is None:
        name = way.instance.step
        take = _begin if way.instance.begun_at is None else _look
        goes_on = take(way, name, way.definition.step(name))
    if way.instance.ending is None:
        way.instance = replace(way.instance, listens=_listens(way))


def _begin(way: Walk, name: str, step: Step) -> bool:
    """Come to a step; whether there is more to do at once."""
    if step.message is not None:
        way.say = step.message
    elif step.wait is not None:
        way.stand(wait_end(way.sight.now, step.wait, way.sight.zone))
        return False
    elif step.wait_until is not None:
        way.stand(None if step.wait_until.for_ is None else way.sight.now + step.wait_until.for_)
    elif step.branch is not None:
        facts = facts_of(way.instance, way.sight)
        found = next((w for w in step.branch if way.sight.holds(w.when, facts)), None)
        if found is None:
            way.go(way.definition.otherwise(name), Result.BRANCHED)
        else:
            way.go(found.go, Result.BRANCHED, condition=found.when)
    elif step.split is not None:
        _split(way, name, step.split)
    elif step.escalate is not None:
        if way.instance.round >= len(step.escalate.channels):
            way.go(way.definition.otherwise(name), Result.IGNORED)
        else:
            channel = step.escalate.channels[way.instance.round]
            way.say = Said(campaign=step.escalate.campaign, channels=(channel,))
    else:
        way.end(Ending.COMPLETED)
    return True


def _look(way: Walk, name: str, step: Step) -> bool:
    """Look again at a step begun before; whether it is done with."""
    now, it = way.sight.now, way.instance
    if step.message is not None:
        spoken = way.sight.spoken.get(it.message_ids[-1])
        if spoken is not None and spoken.is_coming(now):
            way.stand(spoken.send_at)
            return False
        way.move(way.definition.after(name))  # its line was taken when it was booked
        return True
    if step.wait is not None:
        if it.until_at is not None and now < it.until_at:
            return False
        way.go(way.definition.after(name), Result.WAITED)
        return True
    if step.wait_until is not None:
        return _await(way, name, step.wait_until)
    return _escalate(way, name, step.escalate) if step.escalate is not None else True


def _split(way: Walk, name: str, ways: Mapping[str, float]) -> None:
    """The customer's own number says which way; those kept out of experiments go the first."""
    number = way.sight.draw(f"{way.definition.name}:{name}") if way.sight.takes_part else 0.0
    target = drawn(ways, number)
    if way.sight.takes_part:
        way.ways.append((name, target))
    way.go(target, Result.SPLIT)


def _await(way: Walk, name: str, wanted: Awaited) -> bool:
    """What it waits for has come, or the time is over; whether either is so."""
    it, sight = way.instance, way.sight
    if wanted.on is not None:
        found = sight.first(wanted.on, it.begun_at or sight.now, it.until_at, it.heard)
        if found is not None:
            way.instance = replace(it, heard=(*it.heard, found[1]))
            way.go(way.definition.after(name), Result.HAPPENED, event=found[1])
            return True
    elif _has_come(way, wanted):
        way.go(way.definition.after(name), Result.HAPPENED)
        return True
    if it.until_at is None or sight.now < it.until_at:
        return False
    way.go(way.definition.otherwise(name), Result.TIMED_OUT)
    return True


def _has_come(way: Walk, wanted: Awaited) -> bool:
    if wanted.when is not None:
        return way.sight.holds(wanted.when, facts_of(way.instance, way.sight))
    spoken = _went(way.instance, way.sight)
    if wanted.of_last is not None:
        spoken = spoken[-wanted.of_last :]
    if wanted.opened is not None:
        return sum(s.is_opened for s in spoken) >= wanted.opened
    return sum(s.is_clicked for s in spoken) >= (wanted.clicked or 0)


def _escalate(way: Walk, name: str, wanted: Escalation) -> bool:
    """Noticed, on whatever channel: on. Else, once the time of this channel is over, or it never went: the next."""
    it = way.instance
    mine = [s for m in it.message_ids[it.n_said_before :] if (s := way.sight.spoken.get(m)) is not None]
    if any(s.is_opened if wanted.until == "opened" else s.is_clicked for s in mine):
        way.go(way.definition.after(name), Result.ENGAGED)
        return True
    last = mine[-1] if mine else None
    if last is not None and last.state is not SendState.RELEASED and way.sight.now < last.send_at + wanted.each:
        way.stand(last.send_at + wanted.each)
        return False
    way.instance = replace(it, begun_at=None, until_at=None, round=it.round + 1)
    return True


def facts_of(instance: Instance, sight: Sight) -> dict[str, Any]:
    """What conditions read below `journey.`: how it went so far."""
    spoken = _went(instance, sight)
    return {
        "age_days": (sight.now - instance.started_at).total_seconds() / 86400,
        "messages_n": len(spoken),
        "opened_n": sum(s.is_opened for s in spoken),
        "clicked_n": sum(s.is_clicked for s in spoken),
    }


def _went(instance: Instance, sight: Sight) -> list[Spoken]:
    """Its messages that went or are going, the oldest first."""
    found = (sight.spoken.get(message_id) for message_id in instance.message_ids)
    return [s for s in found if s is not None and s.state is not SendState.RELEASED]


def drawn(ways: Mapping[str, float], number: float) -> str:
    """The way whose share of the weights, in alphabetical order, holds the number in [0, 1)."""
    total, upto = sum(ways.values()), 0.0
    for target in sorted(ways):
        upto += ways[target] / total
        if number < upto:
            return target
    return max(ways)


def _listens(way: Walk) -> tuple[str, ...]:
    """Names of the events at which it looks again: those that may end it, and what its step waits for; `*`: all."""
    definition, step = way.definition, way.definition.step(way.instance.step)
    names = {definition.goal.event} if definition.goal is not None else set()
    names |= {leave.event or "*" for leave in definition.journey.exit}
    if step.wait_until is not None and (step.wait_until.event or step.wait_until.when):
        names.add(step.wait_until.event or "*")
    return tuple(sorted(names))
