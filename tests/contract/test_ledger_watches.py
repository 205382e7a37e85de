"""Ledger contract: watches, past timers, and events since an instant."""

from dataclasses import replace
from datetime import datetime

from tests.contract.ledger_samples import a_timer, an_event, at

from opportune.domain.timers import PastTimer, TimerFate
from opportune.domain.watches import Watch
from opportune.ports import Ledger


def a_watch(rule: str = "vip", customer_id: str = "c1", *, is_armed: bool = True, since: datetime = at(0)) -> Watch:
    return Watch(
        rule=rule, customer_id=customer_id, definition="d1", is_armed=is_armed, since=since, levels=("5", "gold")
    )


def test_a_watch_comes_back_as_it_was_put_and_the_last_one_counts(ledger: Ledger) -> None:
    """By customer, ordered by rule; customers without any are left out."""
    with ledger.begin() as work:
        work.watches.put([a_watch("vip"), a_watch("vip", is_armed=False), a_watch("churn"), a_watch("vip", "c2")])
        work.watches.put([a_watch("churn", since=at(5))])
        found = work.watches.get(["c1", "c9"])
    assert found == {"c1": [a_watch("churn", since=at(5)), a_watch("vip", is_armed=False)]}


def test_removed_watches_are_gone_and_others_stay(ledger: Ledger) -> None:
    """All rows of the customers named, of nobody else."""
    with ledger.begin() as work:
        work.watches.put([a_watch("a"), a_watch("b"), a_watch("a", "c2")])
        work.watches.remove(["c1"])
        assert work.watches.get(["c1", "c2"]) == {"c2": [a_watch("a", "c2")]}


def test_past_timers_say_what_had_set_them_and_why_they_left(ledger: Ledger) -> None:
    """Every fate, from `since` on, oldest first; a merge takes them along."""
    with ledger.begin() as work:
        fates = ((1, "a", TimerFate.FIRED), (5, "b", TimerFate.CANCELLED), (6, "c", TimerFate.EXPIRED))
        for minute, key, fate in fates:
            work.timers.arm([a_timer(key, by=f"m-{key}")])
            work.timers.finish(work.timers.of(["c1"])["c1"], fate, at(minute))
        lines = [
            PastTimer(rule="cart", key=key, set_at=at(0), set_by=f"m-{key}", fate=fate, at=at(minute))
            for minute, key, fate in fates
        ]
        assert work.timers.past(["c1", "c2"], at(1)) == {"c1": lines}
        assert work.timers.past(["c1"], at(2)) == {"c1": lines[1:]}
        work.timers.reassign("c1", "c2")
        assert work.timers.past(["c1", "c2"], at(6)) == {"c2": lines[2:]}
    assert [line.is_done for line in lines] == [True, False, True]


def test_events_of_any_name_since_an_instant(ledger: Ledger) -> None:
    """No names asked for: all; the empty list: none."""
    events = [
        an_event("m1", minutes=1),
        replace(an_event("m2", minutes=2), name="Signed Up"),
        an_event("m3", minutes=3),
    ]
    with ledger.begin() as work:
        work.events.append([(e, "c1") for e in events])
        assert work.events.named(["c1", "c2"], None, at(2)) == {"c1": events[1:]}
        assert work.events.named(["c1"], (), at(0)) == {}
