"""Ledger contract: timers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tests.contract.ledger_samples import a_timer, at

from opportune.domain.timers import TimerFate
from opportune.ports import Ledger


def test_a_timer_comes_back_as_it_was_armed(ledger: Ledger) -> None:
    """Expiry and payload included; ordered by due_at."""
    late, soon = replace(a_timer("k1", minutes=9), expires_at=at(60)), a_timer("k2", minutes=1)
    with ledger.begin() as work:
        work.timers.arm([late, soon, a_timer(customer_id="c2")])
        assert work.timers.of(["c1"]) == {"c1": [soon, late]}
        assert work.timers.pending() == 3


def test_arming_again_restarts_with_the_next_version(ledger: Ledger) -> None:
    """Also twice within one batch: the last counts."""
    with ledger.begin() as work:
        work.timers.arm([a_timer(by="m1"), a_timer(minutes=5, by="m2")])
        work.timers.arm([a_timer(minutes=10, by="m3")])
        assert work.timers.of(["c1"])["c1"] == [replace(a_timer(minutes=10, by="m3"), version=3)]


def test_claim_takes_due_timers_oldest_first_and_leases_them(ledger: Ledger) -> None:
    """A leased timer is claimed again only when the lease has run out."""
    with ledger.begin() as work:
        work.timers.arm([a_timer("late", minutes=3), a_timer("soon", minutes=1), a_timer("future", minutes=99)])
        assert [it.key for it in work.timers.claim(at(5), 1, at(10), "w1")] == ["soon"]
        assert [it.key for it in work.timers.claim(at(5), 9, at(10), "w2")] == ["late"]
        assert work.timers.claim(at(9), 9, at(20), "w1") == []
        assert [it.key for it in work.timers.claim(at(10), 9, at(20), "w1")] == ["soon", "late"]


def test_arming_again_clears_the_lease_and_outdates_the_claim(ledger: Ledger) -> None:
    """What was claimed before the restart is no longer `still` there, and finishing it touches nothing."""
    with ledger.begin() as work:
        work.timers.arm([a_timer()])
        claimed = work.timers.claim(at(1), 9, at(10), "w1")
        assert work.timers.still(claimed) == {("cart", "c1", "k")}
        work.timers.arm([a_timer(by="m2")])
        assert work.timers.still(claimed) == set()
        work.timers.finish(claimed, TimerFate.FIRED, at(1))
        assert work.timers.pending() == 1
        assert len(work.timers.claim(at(1), 9, at(10), "w2")) == 1


def test_a_timer_cancelled_and_armed_anew_is_not_the_claimed_one(ledger: Ledger) -> None:
    """Its version starts over; a stale claim still does not match."""
    with ledger.begin() as work:
        work.timers.arm([a_timer(by="m1")])
        claimed = work.timers.claim(at(1), 9, at(10), "w1")
        work.timers.cancel([("cart", "c1", "k")], TimerFate.CANCELLED, at(1))
        work.timers.arm([a_timer(by="m2")])
        assert work.timers.still(claimed) == set()


def test_cancel_counts_what_was_there(ledger: Ledger) -> None:
    """Unknown places cancel nothing; other keys stay."""
    with ledger.begin() as work:
        work.timers.arm([a_timer("k1"), a_timer("k2")])
        assert work.timers.cancel([("cart", "c1", "k1"), ("cart", "c9", "k1")], TimerFate.CANCELLED, at(1)) == 1
        assert work.timers.cancel([("cart", "c1", "k1")], TimerFate.CANCELLED, at(1)) == 0
        assert [it.key for it in work.timers.of(["c1"])["c1"]] == ["k2"]
        assert work.timers.fired(["c1"], at(-99)) == {}


def test_fired_remembers_what_fired_since(ledger: Ledger) -> None:
    """Only fate FIRED, only from `since` on, oldest first."""
    with ledger.begin() as work:
        for minute, key, fate in ((1, "a", TimerFate.FIRED), (5, "b", TimerFate.FIRED), (6, "c", TimerFate.EXPIRED)):
            work.timers.arm([a_timer(key)])
            work.timers.finish(work.timers.of(["c1"])["c1"], fate, at(minute))
        assert work.timers.pending() == 0
        assert work.timers.fired(["c1"], at(1)) == {"c1": [("cart", "a", at(1)), ("cart", "b", at(5))]}
        assert work.timers.fired(["c1"], at(2)) == {"c1": [("cart", "b", at(5))]}


def test_a_merge_keeps_the_later_of_two_equal_timers_and_moves_the_rest(ledger: Ledger) -> None:
    """Pending timers and cool-downs of both people hold for the one they became."""
    with ledger.begin() as work:
        work.timers.arm([a_timer("done", "old")])
        work.timers.finish(work.timers.of(["old"])["old"], TimerFate.FIRED, at(0))
        work.timers.arm([a_timer("both1", "old", 9), a_timer("both2", "old", 1), a_timer("only", "old", 3)])
        work.timers.arm([a_timer("both1", "new", 2), a_timer("both2", "new", 5)])
        claimed = work.timers.claim(at(3), 1, at(9), "w")
        work.timers.reassign("old", "new")
        found = work.timers.of(["old", "new"])
        assert {it.key: it.due_at for it in found["new"]} == {"both1": at(9), "both2": at(5), "only": at(3)}
        assert "old" not in found
        assert work.timers.still(claimed) == set()
        assert work.timers.fired(["new", "old"], at(-9)) == {"new": [("cart", "done", at(0))]}


def test_concurrent_claims_share_the_timers_out(open_ledger: Callable[[], Ledger]) -> None:
    """Every due timer goes to exactly one of four workers."""
    with open_ledger().begin() as work:
        work.timers.arm([a_timer(f"k{n}", f"c{n}", -n) for n in range(200)])

    def worker(n: int) -> list[str]:
        mine, taken = open_ledger(), []
        while True:
            with mine.begin() as work:
                page = work.timers.claim(at(1), 10, at(60), f"w{n}")
            if not page:
                return taken
            taken += [it.key for it in page]

    with ThreadPoolExecutor(4) as pool:
        taken = [key for share in pool.map(worker, range(4)) for key in share]
    assert sorted(taken) == sorted(f"k{n}" for n in range(200))


def test_next_due_is_the_earliest_pending_timer(ledger: Ledger) -> None:
    """Leased ones count; null when nothing is waiting."""
    with ledger.begin() as work:
        assert work.timers.next_due() is None
        work.timers.arm([a_timer("k1", minutes=9), a_timer("k2", minutes=2)])
        work.timers.claim(at(5), 9, at(10), "w1")
        assert work.timers.next_due() == at(2)


def test_next_at_says_when_a_claim_will_find_something(ledger: Ledger) -> None:
    """Now when something is due, the end of its lease while it is leased, else the next one; null when empty."""
    with ledger.begin() as work:
        assert work.timers.next_at(at(0)) is None
        work.timers.arm([a_timer("soon", minutes=3), a_timer("late", minutes=9)])
        assert work.timers.next_at(at(0)) == at(3)
        assert work.timers.next_at(at(4)) == at(4)
        claimed = work.timers.claim(at(4), 9, at(7), "w1")
        assert work.timers.next_at(at(4)) == at(7)
        assert work.timers.next_at(at(8)) == at(8)
        work.timers.finish(claimed, TimerFate.FIRED, at(4))
        assert work.timers.next_at(at(4)) == at(9)


def test_what_is_put_off_is_not_claimed_before_and_nothing_else_about_it_changes(ledger: Ledger) -> None:
    """Also while its claim would have run out; arming it again ends the putting off; a stale claim puts off nothing."""
    with ledger.begin() as work:
        work.timers.arm([a_timer("k1"), a_timer("k2")])
        claimed = work.timers.claim(at(1), 9, at(2), "w1")
        work.timers.put_off(claimed, at(30))
        work.timers.put_off([], at(30))
        assert work.timers.claim(at(29), 9, at(40), "w2") == []
        assert work.timers.next_at(at(5)) == at(30)
        work.timers.arm([a_timer("k1", minutes=3, by="m2")])
        work.timers.put_off(claimed, at(60))
        assert [(it.key, it.version) for it in work.timers.claim(at(5), 9, at(9), "w2")] == [("k1", 2)]
        assert work.timers.of(["c1"])["c1"][0] == a_timer("k2")
        assert [it.key for it in work.timers.claim(at(60), 9, at(99), "w2")] == ["k2", "k1"]
