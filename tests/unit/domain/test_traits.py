"""Traits are a fold over envelopes: any order gives the same customer."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from opportune.domain.customers import Customer
from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.traits import fold, join

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NEW = Customer(customer_id="c")


def event(
    hour: int,
    traits: Mapping[str, Any] | None = None,
    zone: object = None,
    kind: EventKind = EventKind.IDENTIFY,
    origin: Origin = Origin.LIVE,
) -> Event:
    when = T0 + timedelta(hours=hour)
    return Event(
        message_id=f"m{hour}",
        kind=kind,
        name="Identified",
        user_id="c",
        anonymous_id=None,
        original_at=when,
        sent_at=None,
        received_at=when,
        event_at=when,
        known_at=when,
        ingested_at=when,
        origin=origin,
        traits=traits or {},
        context={"timezone": zone} if zone is not None else {},
    )


def test_the_newest_envelope_wins_whatever_comes_last() -> None:
    old, new = event(1, {"plan": "free", "city": "Bath"}), event(2, {"plan": "pro"})
    assert fold(NEW, [new, old]) == fold(NEW, [old, new])
    assert fold(NEW, [new, old]).traits == {"plan": "pro", "city": "Bath"}


def test_the_account_is_that_of_the_newest_group_call_or_trait() -> None:
    """Whichever came last by its own time; a trait of null leaves the account; a number names one too."""
    first = replace(event(1, kind=EventKind.GROUP), group_id="acme")
    second = replace(event(2, kind=EventKind.GROUP), group_id="bolt")
    for order in permutations([first, second]):
        assert fold(NEW, order).account_id == "bolt"
    assert fold(NEW, [second, event(3, {"account_id": 42})]).account_id == "42"
    assert fold(NEW, [second, event(3, {"account_id": None})]).account_id is None
    assert fold(NEW, [event(1, {"account_id": True})]).account_id is None
    assert join(fold(NEW, [first]), fold(NEW, [second])).account_id == "bolt"


def test_null_removes_a_trait_for_good_unless_a_newer_envelope_sets_it() -> None:
    assert fold(NEW, [event(2, {"plan": None}), event(1, {"plan": "pro"})]).traits == {}
    assert fold(NEW, [event(2, {"plan": None}), event(3, {"plan": "pro"})]).traits == {"plan": "pro"}


def test_a_zone_from_the_context_serves_only_while_no_trait_gives_one() -> None:
    events = [event(1, {"timezone": "Europe/Paris"}), event(2, zone="Asia/Tokyo", kind=EventKind.TRACK)]
    for order in permutations(events):
        assert fold(NEW, order).zone == "Europe/Paris"
    assert fold(NEW, events[1:]).zone == "Asia/Tokyo"


def test_a_context_zone_that_names_none_is_left_out() -> None:
    for zone in ("Mars/Phobos", 7, "", "../etc/passwd", "x" * 500, "localtime", "posixrules"):
        assert fold(NEW, [event(1, zone=zone)]).zone is None


def test_group_traits_and_our_own_events_leave_no_trace() -> None:
    assert fold(NEW, [event(1, {"plan": "pro"}, kind=EventKind.GROUP)]).traits == {}
    assert fold(NEW, [event(1, origin=Origin.OWN)]).last_seen_at is None


EVENTS = st.lists(
    st.builds(
        event,
        st.integers(0, 8),
        st.dictionaries(st.sampled_from(["a", "timezone"]), st.sampled_from([None, "Europe/Paris", "Asia/Tokyo"])),
        st.sampled_from([None, "Europe/London", "Asia/Tokyo"]),
    ),
    max_size=8,
    unique_by=lambda e: e.message_id,
)


@given(EVENTS, st.randoms(use_true_random=False), st.integers(0, 8))
def test_any_order_and_any_split_into_two_customers_gives_the_same(events: list[Event], rng: Any, cut: int) -> None:
    shuffled = events * 2
    rng.shuffle(shuffled)
    whole = fold(NEW, events)
    assert fold(NEW, shuffled) == whole
    one, two = fold(NEW, events[:cut]), fold(Customer(customer_id="d"), events[cut:])
    assert join(one, two) == whole
