"""Sequences and thresholds: counted per key in order, and never twice for what has fired."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.flows.ingesting import Shop, event, identify

from opportune.domain.events import Event, Origin
from opportune.domain.timers import TimerFate
from opportune.playbook.load import load_files
from opportune.playbook.triggers import Trigger
from opportune.triggers.heard import completed, place_of

THREE = Trigger.model_validate({"on": {"event": "A"}, "at_least": 3, "in": "24h"})
A_THEN_B = Trigger.model_validate({"steps": [{"event": "A"}, {"event": "B"}], "in": "2d"})
PLAYBOOK = load_files(
    {
        "p.yaml": b"""
topics: {t: {}}
triggers:
  three: {on: {event: A, key: properties.k}, at_least: 3, in: 3h, expires_after: 30d}
  pair: {steps: [{event: A}, {event: B}], in: 2h, expires_after: 30d}
campaigns:
  c1: {trigger: three, topic: t, channels: [inapp], content: {inapp: {body: x}}}
  c2: {trigger: pair, topic: t, channels: [inapp], content: {inapp: {body: x}}}
"""
    }
)


def an(name: str, hour: float, mid: str | None = None, origin: Origin = Origin.LIVE) -> Event:
    return event(name, hour, mid=mid or f"{name}{hour}", origin=origin)


def ends(trigger: Trigger, events: list[Event], fresh: list[Event], spent: Event | None = None) -> str | None:
    steps = {"A": [0], "B": [1]} if trigger.kind == "sequence" else {"A": [0]}
    marked = [(e, "", steps[e.name]) for e in sorted(events, key=place_of) if e.name in steps]
    found = completed(trigger, marked, {e.message_id for e in fresh}, {"": place_of(spent)} if spent else {})
    return found[""].message_id if found else None


def test_the_third_within_the_window_completes_and_the_edge_counts() -> None:
    """Exactly `in` apart still is within; a second more is not."""
    a, b, c = an("A", 0), an("A", 10), an("A", 24)
    assert ends(THREE, [a, b, c], [c]) == c.message_id
    late = an("A", 24.01)
    assert ends(THREE, [a, b, late], [late]) is None


def test_what_was_counted_is_spent() -> None:
    """The next firing needs as many new events."""
    events = [an("A", h) for h in range(5)]
    assert ends(THREE, events, [events[4]], spent=events[2]) is None
    more = [*events, an("A", 5)]
    assert ends(THREE, more, [more[-1]], spent=events[2]) == more[-1].message_id


def test_while_it_waits_the_newest_completing_event_counts_whatever_the_order() -> None:
    """Four where three are needed: the fourth sets it, also when it came before the first."""
    a, b, c, d = (an("A", h) for h in range(4))
    assert ends(THREE, [a, b, c, d], [d]) == d.message_id
    assert ends(THREE, [a, b, c, d], [a]) == d.message_id


def test_two_histories_that_turn_out_to_be_one_complete_together() -> None:
    """Seen on the web by nobody known, bought in the store by somebody: it fires when they prove to be one."""
    shop = Shop(now_hours=3, playbook=PLAYBOOK)
    shop.take(event("A", 1, user=None, anonymous="web"), event("B", 2))
    assert shop.timers() == {}
    shop.take(identify(2.5, "c1", "web"))
    assert set(shop.timers()) == {("pair", "")}


def test_what_was_completed_by_somebody_elses_event_is_taken_back() -> None:
    """A late envelope shows that the browser was another customer's first: its event does not count any more."""
    shop = Shop(now_hours=3, playbook=PLAYBOOK)
    shop.take(event("A", 1, user=None, anonymous="web"), event("B", 2), identify(2.5, "c1", "web"))
    assert set(shop.timers()) == {("pair", "")}
    shop.take(identify(0.5, "c2", "web"))
    assert shop.timers() == {}


def test_a_late_event_can_complete_what_newer_ones_could_not() -> None:
    """The completing event is the newest of them, whichever arrived last."""
    a, b, c = an("A", 1), an("A", 2), an("A", 3)
    assert ends(THREE, [a, b, c], [a]) == c.message_id


def test_imports_count_but_complete_nothing() -> None:
    """Two imported and one live one fire; three imported ones do not."""
    old = [an("A", h, origin=Origin.IMPORT) for h in (1, 2, 4)]
    live = an("A", 3)
    assert ends(THREE, [*old[:2], live], [live]) == live.message_id
    assert ends(THREE, old, old) is None


def test_a_sequence_is_ordered_and_starts_from_its_latest_first_step() -> None:
    """B before A is none; an old A and a new one: the window counts from the new one."""
    assert ends(A_THEN_B, [an("B", 0), an("A", 1)], [an("A", 1)]) is None
    a0, a40, b60 = an("A", 0), an("A", 40), an("B", 60)
    assert ends(A_THEN_B, [a0, b60], [b60]) is None
    assert ends(A_THEN_B, [a0, a40, b60], [b60]) == b60.message_id


def naive_threshold(events: list[Event], n: int, span: timedelta) -> list[Event]:
    """In-order firings by definition: at each event, how many unspent ones lie in the window that ends there?"""
    fired: list[Event] = []
    for end in sorted(events, key=place_of):
        spent = place_of(fired[-1]) if fired else (datetime(1, 1, 1, tzinfo=UTC), "")
        window = [e for e in events if spent < place_of(e) <= place_of(end) and end.event_at - e.event_at <= span]
        if len(window) >= n:
            fired.append(end)
    return fired


def naive_pairs(events: list[Event], span: timedelta) -> list[Event]:
    """In-order firings: a B with an unspent A at most `span` before it."""
    fired: list[Event] = []
    for b in (e for e in sorted(events, key=place_of) if e.name == "B"):
        spent = place_of(fired[-1]) if fired else (datetime(1, 1, 1, tzinfo=UTC), "")
        firsts = [e for e in events if e.name == "A" and spent < place_of(e) < place_of(b)]
        if any(b.event_at - a.event_at <= span for a in firsts):
            fired.append(b)
    return fired


def firings(shop: Shop, rule: str) -> list[str]:
    with shop.ledger.read() as uow:
        past = uow.timers.past(["c1"], datetime(1970, 1, 1, tzinfo=UTC)).get("c1", [])
    return [p.set_by for p in past if p.rule == rule]


def play(batches: list[list[Event]]) -> Shop:
    """Every batch arrives, then what is due fires."""
    shop = Shop(now_hours=110, playbook=PLAYBOOK)
    for batch in batches:
        shop.take(*batch)
        with shop.ledger.begin(["c1", "anon:web"]) as uow:
            due = uow.timers.claim(shop.now(), 99, shop.now(), "w")
            uow.timers.finish(due, TimerFate.FIRED, shop.now())
        shop.now_hours += 0.001
    return shop


HISTORY = st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 24)), min_size=1, max_size=14, unique=True).map(
    lambda pairs: [an(name, hour / 2 + 90, f"{name}{hour:02}") for name, hour in pairs]
)


@given(HISTORY)
@settings(max_examples=60, deadline=None)
def test_in_order_they_fire_exactly_where_the_definition_says(events: list[Event]) -> None:
    """One event at a time, in order: the naive count by definition, for both kinds."""
    shop = play([[e] for e in sorted(events, key=place_of)])
    counted = [e for e in events if e.name == "A"]
    assert firings(shop, "three") == [e.message_id for e in naive_threshold(counted, 3, timedelta(hours=3))]
    assert firings(shop, "pair") == [e.message_id for e in naive_pairs(events, timedelta(hours=2))]


@given(HISTORY, st.randoms(use_true_random=False), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_late_shuffled_and_repeated_envelopes_never_double_a_firing(events: list[Event], random, size) -> None:  # type: ignore[no-untyped-def]
    """In any order and batching, again and again: never more firings than in order, and none twice."""
    shuffled = [*events, *events[:3]]
    random.shuffle(shuffled)
    shop = play([shuffled[i : i + size] for i in range(0, len(shuffled), size)])
    counted = [e for e in events if e.name == "A"]
    for rule, most in (
        ("three", len(naive_threshold(counted, 3, timedelta(hours=3)))),
        ("pair", len(naive_pairs(events, timedelta(hours=2)))),
    ):
        found = firings(shop, rule)
        assert len(found) <= most
        assert len(set(found)) == len(found)


@given(HISTORY, st.sets(st.integers(0, 13)), st.randoms(use_true_random=False), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_histories_that_join_in_the_middle_never_double_a_firing(  # type: ignore[no-untyped-def]
    events: list[Event], unknown: set[int], random, size
) -> None:
    """Some of it by a browser, joined at any moment: no event sets off two firings, and none counts towards two."""
    mixed = [replace(e, user_id=None, anonymous_id="web") if i in unknown else e for i, e in enumerate(events)] + [
        identify(103, "c1", "web")
    ]
    random.shuffle(mixed)
    shop = play([mixed[i : i + size] for i in range(0, len(mixed), size)])
    n_a, n_b = (sum(e.name == name for e in events) for name in "AB")
    three, pair = firings(shop, "three"), firings(shop, "pair")
    assert len(three) <= n_a // 3
    assert len(pair) <= min(n_a, n_b)
    assert len(set(three)) + len(set(pair)) == len(three) + len(pair)
