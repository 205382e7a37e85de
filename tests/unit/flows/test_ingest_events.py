"""An event arrives: stored once, in state and traits at once, the same whatever order it comes in."""

import itertools
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.adapters.memory_ledger import MemoryLedger
from opportune.domain.customers import ConsentState
from opportune.domain.events import DeadLetter, Event, EventKind, Origin
from opportune.domain.messages import OutcomeKind
from opportune.features import state as feature_state
from opportune.flows.ingest import ingest
from opportune.ports import Unavailable, UnitOfWork

from .ingesting import PLAYBOOK, Shop, added, at, event, identify, ordered, send


def test_a_new_event_is_stored_with_its_state_its_traits_and_a_projection() -> None:
    shop = Shop()
    report = shop.take(added(1), identify(2, "c1", plan="pro"))
    assert (report.n_accepted, report.n_duplicate, report.changed) == (2, 0, {"c1"})
    with shop.ledger.read() as uow:
        row = uow.states.get(["c1"])["c1"]
        assert row.version == 1
        assert row.state == feature_state.pack(feature_state.rebuild(uow.events.of(["c1"])["c1"]))
        assert uow.outbox.depth("project") == 1
    found = shop.customer("c1")
    assert found is not None
    assert found.traits == {"plan": "pro"}
    assert (found.first_seen_at, found.last_seen_at) == (at(1), at(2))


def test_a_known_message_id_ends_quietly() -> None:
    shop = Shop()
    shop.take(added(1))
    before = shop.picture(["u:c1"])
    report = shop.take(added(1), added(1))
    assert (report.n_accepted, report.n_duplicate, report.changed) == (0, 2, set())
    assert shop.picture(["u:c1"]) == before


def test_commit_instants_rise_though_the_clock_stands_still() -> None:
    shop = Shop()
    rows = []
    for hour in range(4):
        shop.take(added(hour))
        with shop.ledger.read() as uow:
            rows.append(uow.states.get(["c1"])["c1"])
    assert [r.version for r in rows] == [1, 2, 3, 4]
    assert all(a.committed_at < b.committed_at for a, b in itertools.pairwise(rows))


def test_dead_letters_are_kept_even_when_no_event_is() -> None:
    shop = Shop()
    letter = DeadLetter(
        letter_id="l1", received_at=at(1), source="http", index=0, message_id=None, code="x", message="y", body=b"{}"
    )
    assert ingest([], [letter], shop.ledger, PLAYBOOK, shop).n_rejected == 1
    with shop.ledger.read() as uow:
        assert uow.dead_letters.newest(5) == [letter]


def test_a_large_batch_goes_in_chunks_and_loses_nothing() -> None:
    shop = Shop()
    events = [event("Viewed", i / 1000, f"c{i % 7}", mid=f"m{i}", origin=Origin.IMPORT) for i in range(1203)]
    assert shop.take(*events).n_accepted == 1203
    with shop.ledger.read() as uow:
        assert sum(map(len, uow.events.of([f"c{i}" for i in range(7)]).values())) == 1203


def test_a_state_packed_by_an_older_catalogue_is_rebuilt() -> None:
    shop = Shop()
    shop.take(added(1))
    with shop.ledger.begin(["c1"]) as uow:
        row = uow.states.get(["c1"])["c1"]
        uow.states.put([type(row)(customer_id="c1", version=7, state=b"old", committed_at=row.committed_at)])
    shop.take(added(2))
    with shop.ledger.read() as uow:
        row = uow.states.get(["c1"])["c1"]
        assert row.version == 8
        assert row.state == feature_state.pack(feature_state.rebuild(uow.events.of(["c1"])["c1"]))


def test_email_events_become_outcomes_of_our_messages_only() -> None:
    shop = Shop()
    with shop.ledger.begin(["c1"]) as uow:
        uow.sends.reserve([send("c1")])
    shop.take(
        event("Email Opened", 3, properties={"email_id": "s1", "is_machine": True}),
        event("Email Link Clicked", 4, properties={"message_id": "s1", "link": "x"}),
        event("Email Opened", 3, properties={"email_id": "foreign"}),
    )
    with shop.ledger.read() as uow:
        found = uow.outcomes.of(["s1", "foreign"])
    assert [(o.kind, o.is_machine, o.at) for o in found["s1"]] == [
        (OutcomeKind.OPENED, True, at(3)),
        (OutcomeKind.CLICKED, False, at(4)),
    ]
    assert "foreign" not in found


@pytest.mark.parametrize(
    ("name", "properties", "source"),
    [
        ("Unsubscribed", {}, "unsubscribed"),
        ("Email Marked as Spam", {}, "complaint"),
        ("Email Bounced", {"bounce_type": "hard"}, "hard_bounce"),
        ("Email Bounced", {"bounce_type": "Soft"}, None),
        ("Email Delivered", {}, None),
    ],
)
def test_opt_outs_stated_by_email_events_hold(name: str, properties: dict[str, Any], source: str | None) -> None:
    shop = Shop()
    shop.take(event(name, 3, properties=properties))
    with shop.ledger.read() as uow:
        lines = uow.consents.of(["c1"]).get("c1", [])
    if source is None:
        assert lines == []
    else:
        (line,) = lines
        assert (line.channel, line.topic, line.state, line.at) == ("email", "*", ConsentState.OUT, at(3))
        assert line.source == source


class Meddling:
    """A ledger on which somebody else commits between our reading and our locking, `times` times."""

    def __init__(self, shop: Shop, others: list[Event]) -> None:
        self.shop, self.others = shop, others

    @contextmanager
    def begin(self, customer_ids: Collection[str] = ()) -> Iterator[UnitOfWork]:
        if self.others:
            self.shop.take(self.others.pop(0))
        with self.shop.ledger.begin(customer_ids) as uow:
            yield uow

    def read(self) -> Any:
        return self.shop.ledger.read()

    def close(self) -> None:
        return None


def test_identities_that_change_before_the_lock_are_read_again() -> None:
    shop = Shop()
    meddling = Meddling(shop, [identify(2, "c9", "a1")])
    report = ingest([event("Viewed", 3, None, "a1")], [], meddling, PLAYBOOK, shop)
    assert report.changed == {"c9"}
    assert shop.picture(["a:a1"])["whose"] == {"a:a1": "c9"}


def test_identities_that_never_hold_still_are_unavailable() -> None:
    shop = Shop()
    chain = [event(EventKind.ALIAS, 2, f"u{i + 1}", previous=f"u{i}") for i in range(9)]
    with pytest.raises(Unavailable):
        ingest([event("Viewed", 3, "u0")], [], Meddling(shop, chain), PLAYBOOK, shop)


def test_a_failure_in_mid_write_leaves_nothing() -> None:
    shop = Shop()

    class Broken(MemoryLedger):
        @contextmanager
        def begin(self, customer_ids: Collection[str] = ()) -> Iterator[UnitOfWork]:
            with shop.ledger.begin(customer_ids) as uow:
                yield uow
                raise Unavailable("the disk is full")

        def read(self) -> Any:
            return shop.ledger.read()

    with pytest.raises(Unavailable):
        ingest([added(1)], [], Broken(), PLAYBOOK, shop)
    assert shop.picture(["u:c1"])["events"] == {}
    assert shop.take(added(1)).n_accepted == 1


NAMES = st.sampled_from(["Product Added", "Order Completed", "Viewed", "Unsubscribed"])
PEOPLE = st.sampled_from([("u1", None), ("u2", None), ("u3", None), (None, "a1"), (None, "a2"), ("u1", "a1")])
WORLD = st.lists(
    st.one_of(
        st.builds(
            lambda n, h, p: event(n, h, *p, properties={"price": 9, "value": h}), NAMES, st.integers(0, 9), PEOPLE
        ),
        st.builds(
            lambda h, u, a, plan: identify(h, u, a, plan=plan),
            st.integers(0, 9),
            st.sampled_from(["u1", "u2"]),
            st.sampled_from([None, "a1", "a2"]),
            st.sampled_from(["free", "pro", None]),
        ),
        st.builds(
            lambda h, u, p: event(EventKind.ALIAS, h, u, previous=p),
            st.integers(0, 9),
            st.sampled_from(["u1", "u2", "u3"]),
            st.sampled_from(["u1", "u2", "a1"]),
        ),
    ),
    max_size=9,
    unique_by=lambda e: e.message_id,
)


@settings(max_examples=60, deadline=None)
@given(WORLD, st.randoms(use_true_random=False), st.integers(1, 4))
def test_any_order_batching_and_duplication_of_envelopes_gives_the_same_bytes(
    events: list[Event], rng: Any, size: int
) -> None:
    keys = [f"{space}:{name}" for space in "ua" for name in ("u1", "u2", "u3", "a1", "a2")]
    whole = Shop()
    whole.take(*sorted(events, key=lambda e: (e.event_at, e.message_id)))
    shuffled = [*events, *events[: len(events) // 2]]
    rng.shuffle(shuffled)
    pieces = Shop()
    for i in range(0, len(shuffled), size):
        pieces.take(*shuffled[i : i + size])
    seen, expected = pieces.picture(keys), whole.picture(keys)
    assert seen == expected
    with pieces.ledger.read() as uow:
        for customer_id, packed in seen["states"].items():
            assert packed == feature_state.pack(feature_state.rebuild(uow.events.of([customer_id])[customer_id]))
        gone = set(uow.customers.all_ids("", 100)) - set(seen["whose"].values())
        assert gone == set()


def test_orders_are_counted_once_though_they_come_twice_under_two_identities() -> None:
    shop = Shop()
    order = ordered(1, user=None, anonymous="a1")
    shop.take(order, identify(2, "c1", "a1"), order)
    with shop.ledger.read() as uow:
        values = feature_state.finalise(feature_state.unpack(uow.states.get(["c1"])["c1"].state), at(5))
    assert 1 in [v for name, v in values.items() if name.startswith("orders_n")]
