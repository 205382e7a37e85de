"""Messages leave once, for whoever they belong to at that moment, and what is reported late is known late."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tests.desks import playbook_of

from opportune.domain.messages import Send, SendState
from opportune.features.state import finalise, pack, rebuild, unpack
from opportune.flows.deliver import deliver, report_status
from opportune.ports import OutboxItem

from .ingesting import Shop, at, event, identify, send

PLAYBOOK = """
topics: {carts: {}}
consent: {default: {"*": in}}
triggers: {asked: {kind: request}}
campaigns:
  cart: {trigger: asked, topic: carts, channels: [inapp], content: {inapp: {body: Hello}}}
"""


class MergingCourier:
    """While it is at work, the customer turns out to be somebody else."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.handed: list[str] = []

    def deliver(self, sends: Sequence[Send], now: datetime) -> None:
        self.handed += [s.message_id for s in sends]
        self._shop.take(identify(4, "c1", "a1"))


def test_a_merge_while_the_courier_is_at_work_leaves_nothing_behind(tmp_path: Path) -> None:
    """The sent event and the feature state go to the customer the anonymous one was merged into."""
    shop = Shop(now_hours=3)
    shop.take(event("Seen", 1, None, "a1", mid="seen"), identify(0.5, "c1"))
    with shop.ledger.begin(["anon:a1"]) as uow:
        uow.sends.reserve([replace(send("anon:a1"), channel="inapp")])
        uow.outbox.put([OutboxItem(topic="deliver", key="s1", available_at=at(3))])
    courier = MergingCourier(shop)
    report = deliver(shop.ledger, playbook_of(tmp_path, PLAYBOOK), courier, shop)
    assert (courier.handed, report.n_sent) == (["s1"], 1)
    with shop.ledger.read() as uow:
        sent = uow.sends.get(["s1"])["s1"]
        events = uow.events.of(["c1", "anon:a1"])
        states = uow.states.get(["c1", "anon:a1"])
        assert uow.outbox.depth("deliver") == 0
    assert (sent.customer_id, sent.state) == ("c1", SendState.SENT)
    assert set(events) == set(states) == {"c1"}
    assert "sent:s1" in {e.message_id for e in events["c1"]}
    assert states["c1"].state == pack(rebuild(events["c1"]))


def test_a_late_report_changes_nothing_as_of_the_instants_before_it() -> None:
    """`sent` reported at 9 as of 4: as of 5 nobody knew, so the event is known from 9 on."""
    shop = Shop(now_hours=9)
    shop.take(event("Seen", 1, mid="seen"))
    with shop.ledger.begin(["c1"]) as uow:
        uow.sends.reserve([send("c1")])
    report_status("s1", "sent", at(4), None, shop.ledger, shop)
    with shop.ledger.read() as uow:
        told = next(e for e in uow.events.of(["c1"])["c1"] if e.message_id == "sent:s1")
        state = unpack(uow.states.get(["c1"])["c1"].state)
        assert uow.sends.get(["s1"])["s1"].send_at == at(4)
    assert (told.event_at, told.known_at) == (at(4), at(9))
    assert finalise(state, at(9))["sends_n_1d"] == 1


def test_a_wrong_clock_cannot_move_a_send_out_of_the_windows_of_its_caps() -> None:
    """`sent` as of 1970 counts from when the message was reserved."""
    shop = Shop(now_hours=9)
    with shop.ledger.begin(["c1"]) as uow:
        uow.sends.reserve([send("c1")])
    report_status("s1", "sent", datetime(1970, 1, 1, tzinfo=UTC), None, shop.ledger, shop)
    with shop.ledger.read() as uow:
        found = uow.sends.get(["s1"])["s1"]
    assert (found.send_at, found.handed_off_at) == (at(2), at(2))
