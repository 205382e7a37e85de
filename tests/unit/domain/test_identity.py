"""Who is who is a pure function of the claims."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opportune.domain.customers import Claim
from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.identity import claims_of, customer_id_of, is_redundant, may_link, resolve, spans

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(hours: float) -> datetime:
    return T0 + timedelta(hours=hours)


def link(anonymous: str, user: str, when: float, known: float | None = None, mid: str = "") -> Claim:
    mid = mid or f"l-{anonymous}-{user}-{when}"
    return Claim(
        message_id=mid,
        from_key=f"a:{anonymous}",
        into_key=f"u:{user}",
        is_alias=False,
        event_at=at(when),
        known_at=at(when if known is None else known),
    )


def alias(previous: str, user: str, when: float, known: float | None = None) -> Claim:
    return Claim(
        message_id=f"s-{previous}-{user}-{when}",
        from_key=f"u:{previous}",
        into_key=f"u:{user}",
        is_alias=True,
        event_at=at(when),
        known_at=at(when if known is None else known),
    )


def event(kind: EventKind, user: str | None, anonymous: str | None = None, previous: str | None = None) -> Event:
    return Event(
        message_id="m1",
        kind=kind,
        name="x",
        user_id=user,
        anonymous_id=anonymous,
        original_at=None,
        sent_at=None,
        received_at=T0,
        event_at=T0,
        known_at=T0,
        ingested_at=T0,
        origin=Origin.LIVE,
        previous_id=previous,
    )


def test_the_first_user_of_an_anonymous_id_keeps_it() -> None:
    found = resolve([link("a", "late", 2), link("a", "first", 1)])
    assert found == {"a:a": "u:first", "u:first": "u:first", "u:late": "u:late"}


def test_two_users_are_never_merged_by_a_shared_device() -> None:
    found = resolve([link("kiosk", f"u{i}", i) for i in range(5)])
    assert {found[f"u:u{i}"] for i in range(5)} == {f"u:u{i}" for i in range(5)}


def test_aliases_chain_and_a_circle_ends_at_the_first_target() -> None:
    assert set(resolve([alias("a", "b", 1), alias("b", "c", 2)]).values()) == {"u:c"}
    assert set(resolve([alias("a", "b", 1), alias("b", "a", 2)]).values()) == {"u:b"}
    assert set(resolve([alias("a", "b", 1), alias("c", "a", 2)]).values()) == {"u:b"}


def test_an_alias_carries_the_linked_anonymous_ids_along() -> None:
    found = resolve([link("x", "old", 1), alias("old", "new", 2)])
    assert found["a:x"] == "u:new"


def test_an_alias_event_stands_for_a_user_and_an_anonymous_id() -> None:
    claims = claims_of(event(EventKind.ALIAS, "new", previous="old"))
    assert {(c.from_key, c.into_key, c.is_alias) for c in claims} == {
        ("u:old", "u:new", True),
        ("a:old", "u:new", False),
    }
    assert set(resolve(claims).values()) == {"u:new"}


def test_only_identify_with_both_ids_links() -> None:
    assert claims_of(event(EventKind.TRACK, "u", "a")) == ()
    assert claims_of(event(EventKind.IDENTIFY, "u")) == ()
    assert len(claims_of(event(EventKind.IDENTIFY, "u", "a"))) == 1


@pytest.mark.parametrize("nobody", ["null", "anonymous", "-1", "0", "", "undefined", " NULL ", "None", None])
def test_ids_that_stand_for_nobody_never_link(nobody: str | None) -> None:
    assert not may_link(nobody)
    assert claims_of(event(EventKind.IDENTIFY, "u", nobody)) == ()
    assert claims_of(event(EventKind.IDENTIFY, nobody, "a")) == ()
    assert claims_of(event(EventKind.ALIAS, "u", previous=nobody)) == ()


def test_customer_ids_say_who_is_anonymous() -> None:
    assert customer_id_of("u:c42") == "c42"
    assert customer_id_of("a:x") == "anon:x"


def test_spans_follow_what_was_known_when() -> None:
    late = link("a", "first", 1, known=10)
    assert [s for s in spans([link("a", "second", 2), late]) if s[0] == "a:a"] == [
        ("a:a", "u:second", at(2), at(10)),
        ("a:a", "u:first", at(10), None),
    ]


IDS = st.sampled_from("abcd")
HOURS = st.integers(0, 6)
CLAIMS = st.lists(
    st.one_of(st.builds(link, IDS, IDS, HOURS, HOURS), st.builds(alias, IDS, IDS, HOURS, HOURS)), max_size=14
)


def oracle(claims: list[Claim]) -> dict[str, str]:
    """Whole people as sets, the slow way."""
    ordered = sorted(claims, key=lambda c: (c.event_at, c.message_id, c.from_key, c.into_key))
    owner: dict[str, str] = {}
    for c in ordered:
        if not c.is_alias and c.from_key not in owner:
            owner[c.from_key] = c.into_key
    people = {k: {k} for c in ordered for k in (c.from_key, c.into_key)}
    root = {k: k for k in people}
    for c in ordered:
        if c.is_alias and root[c.from_key] != root[c.into_key]:
            gone, kept = root[c.from_key], root[c.into_key]
            for member in people.pop(gone):
                root[member] = kept
                people[kept].add(member)
    return {k: root[owner.get(k, k)] for k in root}


@given(CLAIMS, st.integers(0, 1000))
def test_resolve_equals_the_slow_way_in_any_order_and_with_repeats(claims: list[Claim], seed: int) -> None:
    shuffled = claims + claims[: len(claims) // 2]
    Random(seed).shuffle(shuffled)
    assert resolve(shuffled) == resolve(claims) == oracle(claims)


@given(CLAIMS)
def test_spans_say_at_every_instant_what_resolve_says_of_what_was_known(claims: list[Claim]) -> None:
    found = spans(claims)
    for hour in range(8):
        known = resolve(c for c in claims if c.known_at <= at(hour))
        then = {
            key: root for key, root, since, until in found if since <= at(hour) and (until is None or at(hour) < until)
        }
        assert then == known


@given(CLAIMS)
def test_leaving_out_redundant_claims_changes_no_answer(claims: list[Claim]) -> None:
    kept: list[Claim] = []
    for claim in claims:
        if not is_redundant(claim, kept):
            kept.append(claim)
    for hour in range(8):
        full = resolve(c for c in claims if c.known_at <= at(hour))
        assert resolve(c for c in kept if c.known_at <= at(hour)) == full
