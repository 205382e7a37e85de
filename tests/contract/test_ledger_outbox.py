"""Ledger contract: outbox, idempotency keys, cursors, leases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.contract.ledger_samples import T0, an_item, at

from opportune.ports import IdempotentAnswer, Ledger


def test_work_is_kept_once_by_topic_and_key(ledger: Ledger) -> None:
    """Putting it again before it is done keeps one."""
    with ledger.begin() as work:
        work.outbox.put([an_item("c1"), an_item("c1"), an_item("c1", "deliver")])
        work.outbox.put([an_item("c1")])
        assert (work.outbox.depth("project"), work.outbox.depth("deliver"), work.outbox.depth("x")) == (1, 1, 0)


def test_the_oldest_waiting_item_of_a_topic_is_told(ledger: Ledger) -> None:
    """Claimed ones count as waiting; a topic without items has none."""
    with ledger.begin() as work:
        work.outbox.put([an_item("b", minutes=3), an_item("a", minutes=1), an_item("x", "deliver")])
        work.outbox.claim("project", at(2), 1, at(5))
        assert work.outbox.oldest("project") == at(1)
        assert work.outbox.oldest("nothing") is None


def test_claim_leases_what_is_available_oldest_first(ledger: Ledger) -> None:
    """A lease that has run out is claimed again."""
    with ledger.begin() as work:
        work.outbox.put([an_item("b", minutes=1), an_item("a"), an_item("later", minutes=9), an_item("x", "deliver")])
        assert [it.key for it in work.outbox.claim("project", at(2), 1, at(5))] == ["a"]
        assert [it.key for it in work.outbox.claim("project", at(2), 9, at(5))] == ["b"]
        assert work.outbox.claim("project", at(4), 9, at(9)) == []
        assert [it.key for it in work.outbox.claim("project", at(5), 9, at(9))] == ["a", "b"]


def test_done_deletes_only_what_the_claim_still_holds(ledger: Ledger) -> None:
    """Newer work under the same key survives the older claim's done."""
    with ledger.begin() as work:
        work.outbox.put([an_item("c1"), an_item("c2")])
        claimed = work.outbox.claim("project", T0, 9, at(5))
        work.outbox.put([an_item("c1")])
        work.outbox.done(claimed)
        assert [it.key for it in work.outbox.claim("project", T0, 9, at(5))] == ["c1"]


def test_a_put_makes_leased_work_available_at_once(ledger: Ledger) -> None:
    """And the attempts start over: it is new work."""
    with ledger.begin() as work:
        work.outbox.put([an_item()])
        work.outbox.retry(work.outbox.claim("project", T0, 9, at(5)), at(60))
        work.outbox.put([an_item()])
        assert [it.attempts for it in work.outbox.claim("project", T0, 9, at(5))] == [0]


def test_an_item_that_was_never_claimed_settles_nothing(ledger: Ledger) -> None:
    """done and retry need the token of a claim."""
    with ledger.begin() as work:
        work.outbox.put([an_item()])
        work.outbox.done([an_item()])
        work.outbox.retry([an_item()], at(60))
        assert [it.attempts for it in work.outbox.claim("project", T0, 9, at(5))] == [0]


def test_retry_counts_the_attempt_and_waits(ledger: Ledger) -> None:
    """A claim whose lease was taken over retries nothing."""
    with ledger.begin() as work:
        work.outbox.put([an_item()])
        stale = work.outbox.claim("project", T0, 9, at(1))
        current = work.outbox.claim("project", at(1), 9, at(5))
        work.outbox.retry(stale, at(99))
        work.outbox.retry(current, at(10))
        assert work.outbox.claim("project", at(9), 9, at(20)) == []
        assert [it.attempts for it in work.outbox.claim("project", at(10), 9, at(20))] == [1]


def test_concurrent_claims_never_share_an_item(open_ledger: Callable[[], Ledger]) -> None:
    """Each item goes to one of four workers, who finish while others put."""
    with open_ledger().begin() as work:
        work.outbox.put([an_item(f"k{n}") for n in range(100)])

    def worker(n: int) -> list[str]:
        mine, taken = open_ledger(), []
        while True:
            with mine.begin() as work:
                page = work.outbox.claim("project", T0, 7, at(5))
            with mine.begin() as work:
                work.outbox.put([an_item(f"k{k}", f"other{n}") for k in range(20)])
                work.outbox.done(page)
            if not page:
                return taken
            taken += [it.key for it in page]

    with ThreadPoolExecutor(4) as pool:
        taken = [key for share in pool.map(worker, range(4)) for key in share]
    assert sorted(taken) == sorted(f"k{n}" for n in range(100))
    with open_ledger().read() as work:
        assert work.outbox.depth("project") == 0


def test_an_idempotency_key_opens_once_and_keeps_its_answer(ledger: Ledger) -> None:
    """In flight the body is null; closed it is the answer."""
    with ledger.begin() as work:
        assert work.idempotency.open("k", "h1", T0)
        assert not work.idempotency.open("k", "h2", at(1))
        assert work.idempotency.get("k") == IdempotentAnswer(body_hash="h1", body=None, created_at=T0)
        work.idempotency.close("k", b"\x00answer")
        assert work.idempotency.get("k") == IdempotentAnswer(body_hash="h1", body=b"\x00answer", created_at=T0)
        assert work.idempotency.get("other") is None


def test_a_failed_request_may_be_tried_again(ledger: Ledger) -> None:
    """Closing with null drops the key."""
    with ledger.begin() as work:
        work.idempotency.open("k", "h1", T0)
        work.idempotency.close("k", None)
        assert work.idempotency.open("k", "h1", at(1))


def test_old_keys_are_forgotten(ledger: Ledger) -> None:
    """Those created before the instant, and no other."""
    with ledger.begin() as work:
        work.idempotency.open("old", "h", at(-1))
        work.idempotency.open("new", "h", T0)
        work.idempotency.forget_before(T0)
        assert work.idempotency.get("old") is None
        assert work.idempotency.get("new") is not None


def test_one_of_many_threads_opens_a_key(open_ledger: Callable[[], Ledger]) -> None:
    """Under any concurrency."""

    def try_open(n: int) -> bool:
        with open_ledger().begin() as work:
            return work.idempotency.open("k", f"h{n}", T0)

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(try_open, range(6))) == 1


def test_a_named_fact_is_kept(ledger: Ledger) -> None:
    """The last put counts."""
    with ledger.begin() as work:
        assert work.cursors.get("archive") is None
        work.cursors.put("archive", "0:1")
        work.cursors.put("archive", "0:2")
        assert work.cursors.get("archive") == "0:2"


def test_a_lease_has_one_holder_until_it_runs_out(ledger: Ledger) -> None:
    """The holder renews it; another gets it only afterwards."""
    with ledger.begin() as work:
        assert work.cursors.lease("publish", "a", T0, at(5))
        assert not work.cursors.lease("publish", "b", at(1), at(9))
        assert work.cursors.lease("publish", "a", at(2), at(6))
        assert not work.cursors.lease("publish", "b", at(5), at(9))
        assert work.cursors.lease("publish", "b", at(6), at(9))


def test_one_of_many_threads_gets_the_lease(open_ledger: Callable[[], Ledger]) -> None:
    """Under any concurrency."""

    def try_lease(n: int) -> bool:
        with open_ledger().begin() as work:
            return work.cursors.lease("publish", f"w{n}", T0, at(5))

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(try_lease, range(6))) == 1


def test_next_at_says_when_a_claim_of_the_topic_will_find_something(ledger: Ledger) -> None:
    """Now when something is available, the end of its lease while leased, else the next one; null when empty."""
    with ledger.begin() as work:
        work.outbox.put([an_item("p")])
        assert work.outbox.next_at("deliver", at(0)) is None
        work.outbox.put([an_item("a", "deliver", minutes=3), an_item("b", "deliver", minutes=9)])
        assert work.outbox.next_at("deliver", at(0)) == at(3)
        assert work.outbox.next_at("deliver", at(4)) == at(4)
        claimed = work.outbox.claim("deliver", at(4), 9, at(7))
        assert work.outbox.next_at("deliver", at(4)) == at(7)
        work.outbox.done(claimed)
        assert work.outbox.next_at("deliver", at(4)) == at(9)
