"""The campaign report: walk the decision log of a period, page by page, beside sends, outcomes and goals."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from opportune.decision.record import decision_from_json
from opportune.domain.decisions import Decision, Reason
from opportune.domain.messages import Send, SendState
from opportune.experiments.forecast import WEEKS, Outlook, forecast
from opportune.experiments.report import CampaignTally, Credit, ReachTally, credited, report
from opportune.playbook.load import Playbook
from opportune.ports import Clock, Ledger, UnitOfWork

PAGE = 500


def campaign_report(
    since: datetime, until: datetime, ledger: Ledger, playbook: Playbook, clock: Clock, page: int = PAGE
) -> dict[str, Any]:
    """Campaign report and reach funnel of the decisions in [since, until). Reads only; memory is bounded by `page`.

    Goals, horizons and values are those of the playbook given. Raises ValueError for an empty period.
    """
    if until <= since:
        raise ValueError(f"since {since:%Y-%m-%d %H:%M} is not before until {until:%Y-%m-%d %H:%M}: name a period")
    campaigns, reach = CampaignTally(clock.now(), playbook), ReachTally()
    for uow, decisions in decisions_of(ledger, since, until, page):
        _count(decisions, uow, playbook, campaigns, reach)
    return report(campaigns, reach, since, until, playbook.spec.currency)


def decisions_of(
    ledger: Ledger, since: datetime | None, until: datetime | None, page: int = PAGE
) -> Iterator[tuple[UnitOfWork, list[Decision]]]:
    """Pages of decisions made in [since, until), test customers left out, each with the snapshot it was read in."""
    cursor = ""
    while True:
        with ledger.read() as uow:
            rows, cursor = uow.decisions.after(cursor, page)
            if not rows:
                return
            mine = [
                row
                for row in rows
                if (since is None or row.decided_at >= since) and (until is None or row.decided_at < until)
            ]
            people = uow.customers.get({row.customer_id for row in mine})
            tested = {c for c, who in people.items() if who.is_test}
            found = [decision_from_json(row.decision) for row in mine if row.customer_id not in tested]
            if found:
                yield uow, found


def outlook(ledger: Ledger, clock: Clock, days: int = 7, page: int = PAGE) -> list[Outlook]:
    """Messages of the next `days` days by UTC day and channel, from the sends of the last weeks and those booked."""
    now = clock.now()
    today = now.date()
    sent, booked = Counter[tuple[str, date]](), Counter[tuple[str, date]]()
    first: datetime | None = None
    for uow, decisions in decisions_of(ledger, now - timedelta(days=7 * WEEKS + 1), None, page):
        first = min((d.decided_at for d in decisions), default=now) if first is None else first
        for send in uow.sends.get([m.message_id for d in decisions for m in d.messages]).values():
            if send.is_virtual or send.state is SendState.RELEASED:
                continue
            where = booked if send.send_at > now else sent
            where[send.channel, send.send_at.date()] += 1
    return forecast(sent, booked, (first or now).date() + timedelta(days=1), today, days)


def _count(
    decisions: Sequence[Decision], uow: UnitOfWork, playbook: Playbook, campaigns: CampaignTally, reach: ReachTally
) -> None:
    ids = [m.message_id for d in decisions for m in d.messages]
    sends = uow.sends.get(ids) if ids else {}
    outcomes = uow.outcomes.of(ids) if ids else {}
    credit = _credits(sends, uow, playbook)
    for send in sends.values():
        campaigns.add(send, outcomes.get(send.message_id, ()), credit.get(send.message_id, Credit()))
    released = released_of(sends, uow)
    for decision in decisions:
        reach.add(decision, released)


def _credits(sends: dict[str, Send], uow: UnitOfWork, playbook: Playbook) -> dict[str, Credit]:
    """Goals credited to these messages, with the customers' other messages in view."""
    wanted = {m: s for m, s in sends.items() if s.state is SendState.SENT and s.handed_off_at is not None}
    if not wanted:
        return {}
    customers = {s.customer_id for s in wanted.values()}
    first = min(s.handed_off_at for s in wanted.values() if s.handed_off_at is not None)
    logs, histories = uow.sends.log(customers, first), uow.events.of(customers)
    found: dict[str, Credit] = {}
    for customer_id in customers:
        events = [e for e in histories.get(customer_id, ()) if e.event_at >= first]
        found |= credited(logs.get(customer_id, ()), events, wanted.keys(), playbook)
    return found


def released_of(sends: Mapping[str, Send], uow: UnitOfWork) -> dict[str, Reason | None]:
    """Of these sends by message id those let go after all, and why (null: not told)."""
    return {m: _why(m, uow) for m, s in sends.items() if s.state is SendState.RELEASED}


def _why(message_id: str, uow: UnitOfWork) -> Reason | None:
    """Why a booked message was let go: the reason of the newest line that names one."""
    said = [reason for _, what, reason in uow.sends.history(message_id) if what == "released" and reason]
    return Reason(said[-1]) if said else None
