"""Caps of accounts in the flows: everybody of one account counts together, at the decision and at the hand-off."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.desks import desk_of, playbook_of

from opportune.adapters.memory_ledger import MemoryLedger
from opportune.domain.decisions import Ask, Decision, Reason
from opportune.domain.events import EventKind
from opportune.domain.messages import Deliver, Send, SendState
from opportune.flows.decide import decide
from opportune.flows.deliver import deliver
from opportune.flows.desk import Desk
from opportune.ports import UnitOfWork

from .ingesting import Shop, at, event

PLAYBOOK = """
topics: {news: {}}
consent: {default: {"*": in}}
caps:
  company: {per: account, at_most: 1, in: 2d}
  gentle: {at_most: 3, in: 7d, adapt: {by: features.views_n_7d, from: 1, to: 3, between: [0, 2]}}
triggers: {asked: {kind: request}}
campaigns:
  hello: {trigger: asked, topic: news, channels: [inapp], expires_after: 9d, content: {inapp: {body: Hello}}}
"""


@pytest.fixture
def shop() -> Shop:
    """Three customers of one account, one without."""
    shop = Shop()
    for who in ("c1", "c2", "c3"):
        shop.take(joining(who, "acme", 1))
    return shop


@pytest.fixture
def desk(shop: Shop, tmp_path: Path) -> Desk:
    return desk_of(playbook_of(tmp_path, PLAYBOOK), shop.ledger, clock=shop)


def joining(who: str, account: str, hour: float):
    return replace(event(EventKind.GROUP, hour, who, mid=f"{who} joins {account} at {hour}"), group_id=account)


def told(answers: Sequence[object]) -> list[Decision]:
    assert all(isinstance(a, Decision) for a in answers)
    return [a for a in answers if isinstance(a, Decision)]


def test_colleagues_asked_for_at_once_share_the_cap(shop: Shop, desk: Desk) -> None:
    """The second is placed a window later, the third another one; who is in no account goes now."""
    found = told(decide([Ask(customer_id=c) for c in ("c1", "c2", "c3", "c4")], desk))
    assert [d.messages[0].send_at for d in found] == [at(5), at(53), at(101), at(5)]
    with shop.ledger.read() as uow:
        accounts = {
            s.customer_id: s.account_id for s in uow.sends.get([d.messages[0].message_id for d in found]).values()
        }
    assert accounts == {"c1": "acme", "c2": "acme", "c3": "acme", "c4": None}


def test_what_an_account_was_told_stays_with_it(shop: Shop, desk: Desk) -> None:
    """Who leaves for another account leaves the message behind, and meets what the new one was told."""
    told(decide([Ask(customer_id="c1")], desk))
    shop.take(joining("c1", "bolt", 5.5))
    shop.now_hours = 6
    one, two = told(decide([Ask(customer_id="c1", trigger="asked", dry_run=True), Ask(customer_id="c2")], desk))
    assert one.removed == ()  # its own cap alone is left: one of one in seven days
    assert [m.send_at for m in (*one.messages, *two.messages)] == [at(5 + 7 * 24), at(53)]


class MovingLedger(MemoryLedger):
    """Just before the locks are held, the customer turns up in another account."""

    shop: Shop | None = None

    @contextmanager
    def begin(self, customer_ids: Collection[str] = ()) -> Iterator[UnitOfWork]:
        shop, self.shop = self.shop, None
        if shop is not None:
            shop.take(joining("c9", "acme", 4))
        with super().begin(customer_ids) as uow:
            self.held = sorted(customer_ids)
            yield uow


def test_an_account_that_changes_before_the_lock_is_locked_anew(tmp_path: Path) -> None:
    """The decision counts what the account it is in now was told, under that account's lock."""
    ledger = MovingLedger()
    shop = Shop(ledger=ledger)
    shop.take(joining("c1", "acme", 1), joining("c9", "old", 1))
    desk = desk_of(playbook_of(tmp_path, PLAYBOOK), ledger, clock=shop)
    told(decide([Ask(customer_id="c1")], desk))
    ledger.shop = shop
    (found,) = told(decide([Ask(customer_id="c9")], desk))
    assert found.messages[0].send_at == at(53)
    assert ledger.held == ["account:acme", "c9"]


def test_a_decision_about_the_past_counts_what_was_booked_by_then(shop: Shop, desk: Desk) -> None:
    """And nothing the account was told later."""
    told(decide([Ask(customer_id="c1")], desk))
    shop.now_hours = 7
    then, now = (told(decide([Ask(customer_id="c2", at=at(h), dry_run=True)], desk))[0] for h in (4, 6))
    assert [d.messages[0].send_at for d in (then, now)] == [at(4), at(53)]


class Taking:
    """A courier that takes everything."""

    def __init__(self) -> None:
        self.handed: list[str] = []

    def deliver(self, sends: Sequence[Send], now: object) -> None:
        self.handed += [s.customer_id for s in sends]


def test_at_hand_off_the_account_is_asked_again(shop: Shop, desk: Desk) -> None:
    """Two colleagues whose messages are due at once: one goes, the other is placed a window later."""
    told(decide([Ask(customer_id=c, deliver=Deliver.SERVICE) for c in ("c1", "c2")], desk))
    with shop.ledger.begin() as uow:  # as a move between accounts, or another playbook, may leave it
        for send in [s for log in uow.sends.log(["c2"], at(0)).values() for s in log]:
            uow.sends.replace(send.message_id, at(5), at(5))
            uow.outbox.retry(uow.outbox.claim("deliver", at(99), 9, at(5)), at(5))
    courier = Taking()
    report = deliver(shop.ledger, desk.playbook, courier, shop)
    assert (len(courier.handed), report.n_moved) == (1, 1)
    with shop.ledger.read() as uow:
        left = [s for log in uow.sends.log(["c1", "c2"], at(0)).values() for s in log if s.state is SendState.RESERVED]
    assert [s.send_at for s in left] == [at(53)]


def test_the_limit_a_message_was_decided_with_goes_with_it(shop: Shop, desk: Desk) -> None:
    """No views: one in seven days; the removal names the hard cap and what it followed."""
    first, second = told(decide([Ask(customer_id="c4"), Ask(customer_id="c4")], desk))
    with shop.ledger.read() as uow:
        assert uow.sends.get([first.messages[0].message_id]).popitem()[1].payload["limits"] == {"gentle": 1}
    assert second.messages[0].send_at == at(5) + timedelta(days=7)
    third = told(decide([Ask(customer_id="c4")], desk))[0]
    removal = third.removed[0]
    assert (removal.reason, removal.rule, removal.would_pass_at) == (
        Reason.FREQUENCY_CAP, "gentle", at(5) + timedelta(days=14),
    )  # fmt: skip
    assert removal.detail == {
        "limit": 1, "found": 1, "window": "7d", "at_most": 3, "by": "features.views_n_7d",
    }  # fmt: skip
