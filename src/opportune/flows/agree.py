"""What customers agree to, once it is known who they are: lines from events, and the strictest of two that became one.

A line that an event states belongs to whoever owns the event. Where two identities become one, an opt-out in force on
one side is said again at the instant of the envelope that joined them, when an opt-in of the other side would have
lifted it: only an opt-in given after that lifts it. So eligibility is a function of the envelopes, and of what was said
through the API; the order in which they arrive changes nothing. Lines derived from events are withdrawn when they turn
out otherwise (a late envelope shows that a browser was somebody else's): their proof, the event, moves to its owner.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from opportune.decision.consent import without_echoes
from opportune.domain import identity
from opportune.domain.customers import Consent, ConsentState
from opportune.domain.envelopes import ANONYMOUS_PREFIX
from opportune.domain.events import Event
from opportune.domain.identity import Join
from opportune.flows.hear import consents_of, digest, is_heard
from opportune.flows.people import keys_for
from opportune.ports import UnitOfWork

#: Lines made from events have ids that begin so; those that repeat another begin with STRICT.
STATED = ("event:", "said:")
STRICT = "strict:"


def agree(
    new: Mapping[str, Sequence[Event]],
    joined: Mapping[str, Sequence[Event]],
    claimed: Collection[str],
    now: datetime,
    uow: UnitOfWork,
) -> set[str]:
    """Write the lines that new events state, and anew those of customers who are not whom they were. Returns who has
    withdrawn something by it.

    `new`, `joined`: customer id -> events; of `joined` the whole history. `claimed`: customers of whom an envelope said
    something new, perhaps only that two identities were one earlier than was known.
    """
    heard = {c: [(e, c) for e in events if is_heard(e)] for c, events in new.items()}
    heard = {c: pairs for c, pairs in heard.items() if pairs}
    heard |= {c: [(e, c) for e in events if is_heard(e)] for c, events in joined.items()}
    heard |= {c: [] for c in claimed if c not in heard}
    if not heard:
        return set()
    stated = {c: {line.consent_id: line for line in consents_of(pairs, now)} for c, pairs in heard.items()}
    keys = uow.identities.keys_of(heard)
    several = {c for c in heard if c in joined or len(keys.get(c, ())) > 1}
    add = [line for c, lines in stated.items() if c not in several for line in lines.values()]
    kept = uow.consents.of(several) if several else {}
    several = {c for c in several if kept.get(c) or stated[c]}
    if several:
        claims = uow.identities.claims_touching({key for c in several for key in keys.get(c, ())})
        home = {key: c for c in several for key in keys.get(c, ())}
        joins: dict[str | None, list[Join]] = {}
        for join in identity.joins(claims):
            joins.setdefault(home.get(join.into_key), []).append(join)
        withdrawn: list[str] = []
        for customer_id in sorted(several):
            there = {line.consent_id: line for line in kept.get(customer_id, ())}
            wanted = _wanted(
                customer_id, there, stated[customer_id], keys.get(customer_id, ()), joins.get(customer_id, ()), now
            )
            add += [line for line in wanted.values() if line.consent_id not in there]
            withdrawn += [consent_id for consent_id in there if consent_id not in wanted]
        if withdrawn:
            uow.consents.withdraw(withdrawn)
    if add:
        uow.consents.add(add)
    return {line.customer_id for line in add if line.state is ConsentState.OUT}


def _wanted(
    customer_id: str,
    there: Mapping[str, Consent],
    stated: Mapping[str, Consent],
    keys: Collection[str],
    joins: Sequence[Join],
    now: datetime,
) -> dict[str, Consent]:
    """Every line this customer should have: what is there but for what others said, what is stated, what is strict."""
    own = next((key for key in keys_for(customer_id) if key in keys), keys_for(customer_id)[0])
    lines = {i: line for i, line in there.items() if not i.startswith(STRICT) and _is_theirs(line, keys)}
    lines |= {i: line for i, line in stated.items() if i not in lines}
    said = [(str(line.proof.get("said_by", own)), line) for line in lines.values()]
    if len({line.state for line in lines.values()}) < 2:
        return lines  # nothing to lift, or nothing that lifts
    return lines | {line.consent_id: line for line in strict_lines(said, joins, customer_id, now)}


def _is_theirs(line: Consent, keys: Collection[str]) -> bool:
    return not line.consent_id.startswith(STATED) or line.proof.get("said_by") in (None, *keys)


def carried_over(lines: Sequence[Consent], old: str, new: str) -> list[Consent]:
    """The lines given through the API by a customer who turns out to be another, as that one's.

    What events state is left out: it follows its events.
    """
    own = keys_for(old)[1 if old.startswith(ANONYMOUS_PREFIX) else 0]
    return [
        replace(
            line,
            consent_id="merge:" + digest(line.consent_id, new),
            customer_id=new,
            proof={"said_by": own, **line.proof},
        )
        for line in lines
        if not line.consent_id.startswith((*STATED, STRICT))
    ]


def strict_lines(
    said: Sequence[tuple[str, Consent]], joins: Sequence[Join], customer_id: str, now: datetime
) -> list[Consent]:
    """What is said again at each join, in order. `said`: (identity key under which it was said, line). Pure."""
    side_of: dict[str, int] = {}
    sides: list[list[Consent]] = []

    def side(key: str) -> int:
        if key not in side_of:
            side_of[key] = len(sides)
            sides.append([])
        return side_of[key]

    waiting = sorted(said, key=lambda pair: (pair[1].at, pair[1].consent_id))
    found: list[Consent] = []
    at = 0
    for join in joins:
        while at < len(waiting) and waiting[at][1].at <= join.at:
            sides[side(waiting[at][0])].append(waiting[at][1])
            at += 1
        one, other = side(join.from_key), side(join.into_key)
        again = strictest(sides[one], sides[other], customer_id, join.at, now)
        found += again
        sides[other] = [*sides[other], *sides[one], *again]
        side_of = {key: other if number == one else number for key, number in side_of.items()}
    return found


def strictest(
    one: Sequence[Consent], other: Sequence[Consent], customer_id: str, at: datetime, now: datetime
) -> list[Consent]:
    """Opt-outs to say again at `at`, so that no opt-in of the other side undoes them when two customers become one.

    An opt-out in force on its own side is said again when an opt-in of the other side, inside its scope, would lift it.
    """
    again: list[Consent] = []
    for mine, theirs in ((one, other), (other, one)):
        in_force: dict[tuple[str, str], Consent] = {}
        for line in without_echoes(sorted(mine, key=lambda c: (c.at, c.consent_id))):
            in_force[line.channel, line.topic] = line
        for line in in_force.values():
            if line.state is ConsentState.OUT and any(_lifts(yes, line) for yes in theirs):
                again.append(
                    replace(
                        line,
                        consent_id=STRICT + digest(line.consent_id, customer_id, at.isoformat()),
                        customer_id=customer_id,
                        at=at,
                        recorded_at=now,
                        proof={**line.proof, "how": "merge", "consent_id": line.consent_id},
                    )
                )
    return again


def _lifts(agreed: Consent, opt_out: Consent) -> bool:
    inside = opt_out.channel in (agreed.channel, "*") and opt_out.topic in (agreed.topic, "*")
    return agreed.state is ConsentState.IN and inside and agreed.at > opt_out.at
