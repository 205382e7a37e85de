"""Budgets follow the messages: taken with the reservation, given back with the release, moved with the slot.

What a message uses stands in its payload, so that it is given back to the letter when the playbook has changed since.
It belongs to the period of the send's slot; a hand-off some minutes late, over midnight, leaves it there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from opportune.decision.caps import period
from opportune.decision.rules import rules_of
from opportune.domain.budgets import BudgetUse
from opportune.domain.instants import from_us, to_us
from opportune.domain.messages import Send
from opportune.playbook.load import Playbook
from opportune.playbook.vary import overridden
from opportune.ports import UnitOfWork

_TRIES = 5


def with_uses(send: Send, playbook: Playbook, assignments: Mapping[str, str]) -> Send:
    """The send with what it uses of which budget in its payload. Withheld messages use nothing."""
    if send.is_virtual:
        return send
    options = rules_of(overridden(playbook, assignments)).in_steps.get(send.campaign, ())
    option = next((o for o in options if o.channel == send.channel), None)
    if option is None or not option.uses:
        return send
    uses = [{"budget": rule.name, "per": rule.spec.per, "zone": rule.spec.zone, "amount": n} for rule, n in option.uses]
    return replace(send, payload={**send.payload, "budgets": uses})


def uses_of(send: Send, at: datetime | None = None, sign: int = 1) -> list[BudgetUse]:
    """What a send uses in the periods of its slot, or of `at`; `sign` -1: to give back."""
    us = to_us(at or send.send_at)
    return [
        BudgetUse(it["budget"], from_us(period(us, it["per"], ZoneInfo(it["zone"]))[0]), sign * it["amount"])
        for it in send.payload.get("budgets", ())
    ]


def give_back(sends: Sequence[Send], uow: UnitOfWork) -> None:
    """What these released sends used can be spent again. Once per transaction: so spenders never wait in a circle."""
    if uses := [use for send in sends for use in uses_of(send, sign=-1)]:
        uow.budgets.add(uses)


def take_late(sends: Sequence[Send], at: datetime | None, uow: UnitOfWork) -> None:
    """Released sends turn out to have gone at `at` (null: in their slots): that is spent, whatever the limit."""
    if uses := [use for send in sends for use in uses_of(send, at)]:
        uow.budgets.add(uses)


def rebook(
    released: Sequence[Send], moved: Sequence[tuple[Send, datetime]], playbook: Playbook, uow: UnitOfWork
) -> set[str]:
    """Give back what the released used, and move what the moved use to the period of their new slot. The message ids
    of those for which there is no room there: they give back what they had and are to be released."""
    gone = [use for send in released for use in uses_of(send, sign=-1)]
    crossing = [
        (send, [*uses_of(send, sign=-1), *uses_of(send, at)])
        for send, at in moved
        if uses_of(send) != uses_of(send, at)
    ]
    if not gone and not crossing:
        return set()
    limits = {rule.name: rule.limit for rule in rules_of(playbook).budgets}
    for n_try in range(_TRIES):
        fits, refused = ([], crossing) if n_try == _TRIES - 1 else _that_fit(crossing, limits, uow)
        taken = [use for _, uses in fits for use in uses] + [u for _, uses in refused for u in uses if u.amount < 0]
        if uow.budgets.take([*gone, *taken], limits):
            return {send.message_id for send, _ in refused}
    raise AssertionError("giving back always fits")


_Crossing = list[tuple[Send, list[BudgetUse]]]


def _that_fit(crossing: _Crossing, limits: Mapping[str, int], uow: UnitOfWork) -> tuple[_Crossing, _Crossing]:
    """In order, those whose new period has room by what is spent now, and the others."""
    if not crossing:
        return [], []
    since = min(use.starts_at for _, uses in crossing for use in uses)
    spent = uow.budgets.spent({use.budget for _, uses in crossing for use in uses}, since)
    fits: _Crossing = []
    refused: _Crossing = []
    for send, uses in crossing:
        new = [use for use in uses if use.amount > 0]
        # a budget that has left the playbook holds nothing back
        if all(spent.get((u.budget, u.starts_at), 0) + u.amount <= limits.get(u.budget, 1 << 62) for u in new):
            fits.append((send, [use for use in uses if use.budget in limits]))
            for use in new:
                spent[use.budget, use.starts_at] = spent.get((use.budget, use.starts_at), 0) + use.amount
        else:
            refused.append((send, uses))
    return fits, refused
