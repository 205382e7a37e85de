"""Ledger contract: events, dead letters and the cursor."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.contract.ledger_samples import a_letter, an_event, at
from tests.services import admin_connection

from opportune.adapters.sql_ledger import SqlLedger
from opportune.domain.events import EventKind, Origin
from opportune.ports import Ledger


def test_an_event_comes_back_exactly(ledger: Ledger) -> None:
    """Every field of an envelope survives."""
    event = an_event(
        "m1", None, anonymous_id="z", kind=EventKind.ALIAS, origin=Origin.IMPORT, original_at=at(-2), sent_at=at(-1),
        properties={"a": [1, {"b": None}], "text": "\u0000 in JSON, 日本"}, traits={"x": 1e-9},
        context={"ip": "192.0.2.1"}, previous_id="old", group_id="g", flags=("future",),
    )  # fmt: skip
    with ledger.begin() as work:
        assert work.events.append([(event, "anon:z")]) == {"m1"}
    with ledger.read() as work:
        assert work.events.of(["anon:z"]) == {"anon:z": [event]}


def test_known_message_ids_are_ignored_within_and_across_batches(ledger: Ledger) -> None:
    """append returns only what was new; the first of equal ids stays."""
    with ledger.begin() as work:
        assert work.events.append([(an_event("m1"), "c1"), (an_event("m1", minutes=9), "c1")]) == {"m1"}
    with ledger.begin() as work:
        assert work.events.append([(an_event("m1", minutes=5), "c2"), (an_event("m2"), "c1")]) == {"m2"}
        assert work.events.known(["m1", "m2", "m3"]) == {"m1", "m2"}
        assert work.events.of(["c1", "c2"]) == {"c1": [an_event("m1"), an_event("m2")]}


def test_events_are_ordered_by_time_then_message_id(ledger: Ledger) -> None:
    """Whatever the order of arrival; message ids compare by code point."""
    given = [an_event("m2", minutes=1), an_event("b"), an_event("B"), an_event("a", minutes=-5)]
    with ledger.begin() as work:
        work.events.append([(it, "c1") for it in given])
        assert [it.message_id for it in work.events.of(["c1"])["c1"]] == ["a", "B", "b", "m2"]


def test_reassign_moves_the_events_of_the_keys_only(ledger: Ledger) -> None:
    """A merge moves the anonymous history and leaves the rest."""
    with ledger.begin() as work:
        work.events.append([(an_event("m1", None, anonymous_id="1"), "anon:1"), (an_event("m2", "x"), "x")])
        work.events.append([(an_event("m3", None, anonymous_id="2"), "anon:2")])
        work.events.reassign(["a:1"], "x")
        work.events.reassign(["a:1"], "x")
        found = work.events.of(["x", "anon:1", "anon:2"])
        assert {who: [it.message_id for it in mine] for who, mine in found.items()} == {
            "x": ["m1", "m2"], "anon:2": ["m3"],
        }  # fmt: skip


def test_the_cursor_walks_all_events_once(ledger: Ledger) -> None:
    """Pages join to the whole; at the end the cursor stays where it is and goes on with what comes."""
    with ledger.begin() as work:
        work.events.append([(an_event(f"m{n}"), "c1") for n in range(5)])
    seen, cursor = [], ""
    with ledger.read() as work:
        while True:
            page, cursor = work.events.after(cursor, 2)
            if not page:
                break
            seen += [event.message_id for event, _ in page]
        assert work.events.after(cursor, 2) == ([], cursor)
    assert sorted(seen) == [f"m{n}" for n in range(5)]
    with ledger.begin() as work:
        work.events.append([(an_event("late"), "c2")])
    with ledger.read() as work:
        assert [(event.message_id, owner) for event, owner in work.events.after(cursor, 9)[0]] == [("late", "c2")]


def test_events_are_read_by_name_from_an_instant_on(ledger: Ledger) -> None:
    """Only the named ones, only that late, only of those asked about."""
    with ledger.begin() as work:
        events = [an_event(f"m{n}", event_at=at(n)) for n in range(4)]
        work.events.append([(event, "c1") for event in events] + [(an_event("other"), "c2")])
        found = work.events.named(["c1"], [events[0].name], at(2))
        assert {c: [e.message_id for e in mine] for c, mine in found.items()} == {"c1": ["m2", "m3"]}
        assert work.events.named(["c1"], ["Never"], at(0)) == {}


def test_a_broken_cursor_is_a_value_error(ledger: Ledger) -> None:
    """Nobody reads from a made-up place."""
    with ledger.read() as work, pytest.raises(ValueError, match="invalid literal"):
        work.events.after("yesterday", 1)


@pytest.mark.service
def test_a_transaction_in_another_database_holds_no_reader_up(empty_postgres: str) -> None:
    """PostgreSQL: what is committed here is read at once, whatever a neighbour on the same server leaves open."""
    ledger = SqlLedger(empty_postgres, migrate=False)
    with admin_connection() as neighbour, neighbour.transaction():
        neighbour.execute("SELECT pg_current_xact_id()")
        with ledger.begin() as work:
            work.events.append([(an_event("m1"), "c1")])
        with ledger.read() as work:
            assert len(work.events.after("", 10)[0]) == 1
    ledger.close()


@pytest.mark.service
def test_own_uncommitted_events_are_not_read_yet(empty_postgres: str) -> None:
    """PostgreSQL: the cursor never moves past what may still be undone."""
    ledger = SqlLedger(empty_postgres, migrate=False)
    with ledger.begin() as work:
        work.events.append([(an_event("m1"), "c1")])
        assert work.events.after("", 10) == ([], "")
    ledger.close()


@pytest.mark.service
def test_the_cursor_never_skips_a_transaction_that_commits_late(empty_postgres: str) -> None:
    """PostgreSQL: a lower number that commits after a higher one was read is still delivered, once."""
    ledger = SqlLedger(empty_postgres, migrate=False)
    is_written, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        with ledger.begin() as work:
            work.events.append([(an_event("slow"), "c1")])
            is_written.set()
            may_commit.wait(10)

    thread = threading.Thread(target=slow)
    thread.start()
    is_written.wait(10)
    with ledger.begin() as work:
        work.events.append([(an_event("quick"), "c2")])
    with ledger.read() as work:
        first, cursor = work.events.after("", 10)
    may_commit.set()
    thread.join()
    with ledger.read() as work:
        second, _ = work.events.after(cursor, 10)
    ledger.close()
    assert [it.message_id for it, _ in first] == []
    assert [it.message_id for it, _ in second] == ["slow", "quick"]


def test_a_reader_following_many_writers_sees_every_event_once(open_ledger: Callable[[], Ledger]) -> None:
    """While four threads append, a follower misses none and sees none twice."""
    n_writers, n_each = 4, 25
    seen: list[str] = []
    is_over = threading.Event()

    def write(writer: int) -> None:
        mine = open_ledger()
        for n in range(n_each):
            with mine.begin([f"c{writer}"]) as work:
                work.events.append([(an_event(f"{writer}-{n}"), f"c{writer}")])

    def follow() -> None:
        mine, cursor = open_ledger(), ""
        while True:
            was_over = is_over.is_set()
            with mine.read() as work:
                page, cursor = work.events.after(cursor, 7)
            seen.extend(it.message_id for it, _ in page)
            if was_over and not page:
                return

    follower = threading.Thread(target=follow)
    follower.start()
    try:
        with ThreadPoolExecutor(n_writers) as pool:
            list(pool.map(write, range(n_writers)))
    finally:
        is_over.set()
    follower.join(30)
    assert sorted(seen) == sorted(f"{w}-{n}" for w in range(n_writers) for n in range(n_each))


def test_one_message_id_from_many_threads_is_new_once(open_ledger: Callable[[], Ledger]) -> None:
    """Concurrent copies of one batch, in different orders: each event is new for exactly one of them."""
    ids = [f"m{n}" for n in range(20)]

    def append(n: int) -> set[str]:
        order = ids if n % 2 else ids[::-1]
        with open_ledger().begin() as work:
            return work.events.append([(an_event(it), "c1") for it in order])

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(append, range(6)))
    assert sorted(it for fresh in answers for it in fresh) == sorted(ids)


def test_tail_is_the_newest_by_arrival_first(ledger: Ledger) -> None:
    """Late events are newest when they arrive last; a customer filter holds."""
    for n, (name, who) in enumerate([("m1", "c1"), ("m2", "c2"), ("m3", "c1")]):
        with ledger.begin() as work:
            work.events.append([(an_event(name, minutes=-n, ingested_at=at(n)), who)])
    with ledger.read() as work:
        assert [it.message_id for it in work.events.tail(None, 2)] == ["m3", "m2"]
        assert [it.message_id for it in work.events.tail(["c1"], 5)] == ["m3", "m1"]
        assert work.events.tail([], 5) == []


def test_dead_letters_come_newest_first_as_they_were(ledger: Ledger) -> None:
    """Raw bytes are kept; a known letter_id is ignored."""
    with ledger.begin() as work:
        work.dead_letters.add([a_letter("l1"), a_letter("l2", 1), a_letter("l3", 2)])
        work.dead_letters.add([a_letter("l1", 50)])
        assert work.dead_letters.newest(2) == [a_letter("l3", 2), a_letter("l2", 1)]
