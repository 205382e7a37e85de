"""A customer follows a signed link: what they see of their preferences, and what they change there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from opportune.decision.consent import Standing, refused
from opportune.decision.rules import policy_of
from opportune.domain.customers import ANY, PROFILING, Consent, ConsentState, Customer
from opportune.domain.decisions import Reason
from opportune.domain.instants import format_instant
from opportune.domain.links import Link
from opportune.domain.messages import Outcome, OutcomeKind
from opportune.flows.consent import commit
from opportune.flows.hear import digest
from opportune.flows.people import canonical_ids, holding
from opportune.flows.withdraw import suppressions_of
from opportune.playbook.load import Playbook
from opportune.ports import Clock, Ledger, UnitOfWork

#: Source of an opt-out by a link: the customer's own word, which no stamped copy of preferences undoes.
UNSUBSCRIBED = "unsubscribed"
#: Source of what a customer agrees to on the preference page.
AGREED = "preference_page"

#: `in` and `out`: what holds now. `closed`: suppressed, and no box can change that.
Setting = Literal["in", "out", "closed"]


@dataclass(frozen=True, slots=True)
class Row:
    """One topic of the page: what customers read, and the setting per channel (those its campaigns speak on)."""

    topic: str
    label: str
    settings: Mapping[str, Setting]


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the page shows. `language`: BCP 47 as the traits name it, null when they do not."""

    rows: Sequence[Row]
    is_profiled: bool
    language: str | None

    @property
    def channels(self) -> tuple[str, ...]:
        """Every channel of any row, in the order they first appear."""
        return tuple(dict.fromkeys(channel for row in self.rows for channel in row.settings))


def preferences(link: Link, playbook: Playbook, ledger: Ledger) -> Preferences:
    """What the customer of this link may choose, and what holds now. Reads only."""
    with ledger.read() as uow:
        return _seen(canonical_ids([link.customer_id], uow)[link.customer_id], playbook, uow)


def unsubscribe(link: Link, how: str, playbook: Playbook, ledger: Ledger, clock: Clock) -> bool:
    """End marketing on the link's channel (or, if the playbook says so, its topic there); true when that was news.

    `how`: `one_click` or `page`, for the proof. Doing it twice changes nothing. Raises Unavailable.
    """
    topic = ANY if playbook.spec.consent.unsubscribe == "channel" else link.topic
    now = clock.now()
    with holding(link.customer_id, ledger) as (uow, holder):
        if Standing(uow.consents.of([holder]).get(holder, ())).is_withdrawn(link.channel, topic):
            return False
        commit([_line(holder, link.channel, topic, False, link, how, now)], now, uow)
        _note_outcome(link, holder, now, uow)
    return True


def choose(
    link: Link,
    changes: Mapping[tuple[str, str], bool],
    profiling: bool | None,
    is_all_out: bool,
    playbook: Playbook,
    ledger: Ledger,
    clock: Clock,
) -> Preferences:
    """Save what the customer changed on the page; returns what holds afterwards. Raises Unavailable.

    `changes`: (channel, topic) -> agreed; pairs that the page does not show are left out. `profiling` null: not
    touched. `is_all_out`: unsubscribe from everything, whatever else was ticked.
    """
    now = clock.now()
    with holding(link.customer_id, ledger) as (uow, holder):
        lines: list[Consent] = []
        if is_all_out:
            if not Standing(uow.consents.of([holder]).get(holder, ())).is_withdrawn(ANY, ANY):
                lines.append(_line(holder, ANY, ANY, False, link, "page", now))
                _note_outcome(link, holder, now, uow)
        else:
            seen = _seen(holder, playbook, uow)
            shown = {(channel, row.topic): s for row in seen.rows for channel, s in row.settings.items()}
            lines += [
                _line(holder, channel, topic, is_in, link, "page", now)
                for (channel, topic), is_in in sorted(changes.items())
                if shown.get((channel, topic)) == ("out" if is_in else "in")
            ]
            if profiling is not None and profiling != seen.is_profiled:
                lines.append(_line(holder, PROFILING, ANY, profiling, link, "page", now))
        if lines:
            commit(lines, now, uow)
        return _seen(holder, playbook, uow)


def _seen(holder: str, playbook: Playbook, uow: UnitOfWork) -> Preferences:
    customer = uow.customers.get([holder]).get(holder) or Customer(customer_id=holder)
    standing, policy = Standing(uow.consents.of([holder]).get(holder, ())), policy_of(playbook, customer.traits)
    entries = suppressions_of([customer], uow)[holder]

    def setting(channel: str, topic: str) -> Setting:
        found = refused(channel, topic, False, standing, entries, policy)  # with or without an address: one may come
        if found is None:
            return "in"
        return "closed" if found.reason is Reason.SUPPRESSED else "out"

    rows = []
    for name, topic in playbook.spec.topics.items():
        spoken = [c for c in playbook.spec.campaigns.values() if c.topic == name]
        channels = dict.fromkeys(channel for campaign in spoken for channel in campaign.channels)
        if topic.purpose == "marketing" and channels:
            rows.append(Row(name, topic.description, {channel: setting(channel, name) for channel in channels}))
    return Preferences(rows, standing.may_profile(policy), _language(customer))


def _language(customer: Customer) -> str | None:
    for trait in ("language", "locale"):
        value = customer.traits.get(trait)
        if isinstance(value, str) and value:
            return value
    return None


def _line(holder: str, channel: str, topic: str, is_in: bool, link: Link, how: str, now: datetime) -> Consent:
    proof: dict[str, Any] = {
        "how": how,
        "customer_id": link.customer_id,
        "message_id": link.message_id,
        "link_issued_at": format_instant(link.issued_at),
        "received_at": format_instant(now),
    }
    state = ConsentState.IN if is_in else ConsentState.OUT
    said = (holder, channel, topic, state.value, link.message_id or "", format_instant(now))
    return Consent(
        consent_id="link:" + digest(*said),
        customer_id=holder,
        channel=channel,
        topic=topic,
        state=state,
        at=now,
        source=AGREED if is_in else UNSUBSCRIBED,
        recorded_at=now,
        proof=proof,
    )


def _note_outcome(link: Link, holder: str, now: datetime, uow: UnitOfWork) -> None:
    """What came of the message that carried the link, once."""
    if link.message_id is not None and uow.sends.get([link.message_id]):
        uow.outcomes.add(
            [
                Outcome(
                    outcome_id="link:" + digest(link.message_id),
                    message_id=link.message_id,
                    customer_id=holder,
                    kind=OutcomeKind.UNSUBSCRIBED,
                    at=now,
                    recorded_at=now,
                )
            ]
        )
