"""Caps of every kind at once, against counting by hand: selectors, accounts, limits that adapt, bookings ahead."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.caps_by_hand import edges, has_room, is_counted
from tests.unit.decision.making import NOW, send

from opportune.decision.caps import check, compile_cap, limits_of
from opportune.domain.messages import AccountSend, Send, as_account_send
from opportune.playbook.schema import Cap

TICK, MIN = timedelta(microseconds=1), timedelta(minutes=1)
FEATURES = {"low": 0.2, "high": 0.9, "text": "x", "nothing": None}
ZONES = ("UTC", "Europe/London", "America/Havana")
#: Noon, and just before the clocks change in London.
STARTS = (NOW, datetime(2026, 3, 28, 22, 0, tzinfo=UTC))

selectors = st.sampled_from([{}, {}, {"channel": "email"}, {"tag": "a"}, {"topic": "news"}, {"purpose": "marketing"}])
adapts = st.sampled_from([None, None, "features.low", "features.high", "features.nothing", "features.text"])
caps = st.builds(
    lambda counts, per, n, window, apart, by: {
        "counts": counts,
        "per": per,
        **({"at_most": n, "in": window} if window else {"at_least_apart": apart or "3h"}),
        **({"at_least_apart": apart} if apart else {}),
        **({"adapt": {"by": by, "from": 1, "to": 4}} if window and by else {}),
    },
    selectors,
    st.sampled_from(["customer", "customer", "account"]),
    st.integers(1, 3),
    st.sampled_from([None, "2h", "1d", "calendar day", "calendar week"]),
    st.sampled_from([None, "20m", "5h"]),
    adapts,
)


@dataclass(frozen=True)
class Booked:
    """A send made up by hypothesis: minutes from the start, whose, and what."""

    minutes: int
    is_mine: bool
    channel: str
    topic: str
    tags: tuple[str, ...]


booked = st.builds(
    Booked,
    st.integers(-1600, 2000),
    st.booleans(),
    st.sampled_from(["email", "push"]),
    st.sampled_from(["offers", "news"]),
    st.sampled_from([(), ("a",), ("a", "b")]),
)


def by_hand(at: datetime, what: Send, cap: Cap, own: Sequence[Send], account: Sequence[Send], zone: str) -> bool:
    """Whether `what` may go at `at` under this cap, by looking at every window that could hold it."""
    if not is_counted(what, cap) or (cap.per == "account" and what.account_id is None):
        return True
    others = [s.send_at for s in (account if cap.per == "account" else own) if is_counted(s, cap)]
    limit = cap.at_most
    if cap.adapt is not None and limit is not None:
        value = FEATURES.get(cap.adapt.by.removeprefix("features."))
        limit = min(limit, int(1 + 3 * (value if isinstance(value, float) else 0.0)))
    return has_room(at, cap, limit, others, ZoneInfo(zone))


@settings(max_examples=250, deadline=None)
@given(
    st.lists(caps, min_size=1, max_size=4),
    st.lists(booked, max_size=10),
    st.sampled_from([None, "acme"]),
    st.sampled_from(ZONES),
    st.sampled_from(STARTS),
)
def test_the_opening_is_exact_whatever_kinds_of_caps_meet(declared, log, account_id, zone, start):
    """`would_pass_at` is the first instant of all at which counting by hand finds room, to the microsecond."""
    parsed = [Cap.model_validate(c) for c in declared]
    rules = [compile_cap(f"r{n}", c) for n, c in enumerate(parsed)]
    sends = [
        send(start + b.minutes * MIN, n, channel=b.channel, topic=b.topic, tags=b.tags, account_id=account_id or "x")
        for n, b in enumerate(log)
    ]
    own = [s for s, b in zip(sends, log, strict=True) if b.is_mine]
    account: list[AccountSend] = [as_account_send(s) for s in sends] if account_id else []
    what = send(start, 99, tags=("a",), account_id=account_id)
    limits = limits_of(rules, account_id is not None, FEATURES, {})
    broken, passes = check(start, what, own, rules, ZoneInfo(zone), account, limits)

    def may_go(at: datetime) -> bool:
        return all(by_hand(at, what, c, own, sends if account_id else (), zone) for c in parsed)

    openings = edges(start, parsed, [s.send_at for s in sends], ZoneInfo(zone))
    assert (not broken) == may_go(start)
    assert passes == next(at for at in openings if may_go(at))
    if passes > start:
        assert not may_go(passes - TICK)


@pytest.mark.parametrize(
    ("value", "limit"),
    [(0.0, 1), (0.3, 1), (1 / 3, 2), (0.9, 3), (1.0, 4), (7, 4), (-1, 1), (None, 1), ("1", 1), (True, 1), (1e999, 1)],
)
def test_the_limit_runs_with_its_feature(value, limit):
    """From `from` to `to`, rounded down; what is no number counts as unknown, and then the lower holds."""
    cap = Cap.model_validate({"at_most": 9, "in": "7d", "adapt": {"by": "features.x", "from": 1, "to": 4}})
    rule = compile_cap("r", cap)
    assert limits_of([rule], False, {"x": value}, {}) == {rule: limit}


def test_a_limit_that_adapts_never_passes_the_hard_cap():
    """Nor does one that falls: unknown fatigue counts as the worst."""
    falls = {"by": "scores.churn", "from": 4, "to": 0, "between": [0.2, 0.6]}
    rule = compile_cap("r", Cap.model_validate({"at_most": 2, "in": "7d", "adapt": falls}))
    found = [limits_of([rule], False, {}, scores)[rule] for scores in ({"churn": 0.1}, {"churn": 0.4}, {})]
    assert found == [2, 2, 0]
