"""`check` finds caps that contradict each other and campaigns that nobody can receive, with file, line and advice."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.caps_by_hand import has_room

from opportune.playbook.cap_references import doubts_about_caps
from opportune.playbook.check import check
from opportune.playbook.load import PlaybookInvalid, load_files
from opportune.playbook.schema import Cap, PlaybookSpec
from opportune.playbook.unheard import contradiction

HEAD = """\
consent: {default: {"*": in}}
goals: {order: {event: Order Completed, value_minor: 100}}
topics: {news: {}}
triggers:
  ask: {kind: request}
campaigns:
  hello: {trigger: ask, topic: news, channels: [inapp], tags: [a], content: {inapp: {body: Hello}}}
"""
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def warned(extra: str, head: str = HEAD) -> list[str]:
    """The warnings of the small playbook with more YAML."""
    return [str(w) for w in load_files({"a.yaml": head.encode(), "caps.yaml": extra.encode()}).warnings]


def of_caps(*caps: str) -> list[str]:
    """The warnings when these caps are declared, named one, two, ..."""
    names = ("one", "two", "three")
    return warned("caps:\n" + "\n".join(f"  {n}: {{{c}}}" for n, c in zip(names, caps, strict=False)))


@pytest.mark.parametrize(
    ("caps", "where", "says"),
    [
        (("at_most: 0, in: 7d",), "caps.yaml:2: caps.one.at_most", "`hello` can never be sent; raise `at_most`"),
        (("at_most: 5, in: 7d, at_least_apart: 3d",), "caps.yaml:2: caps.one.at_most", "lets at most 3 into 7d"),
        (("at_most: 1, in: 7d, at_least_apart: 2d",), "caps.yaml:2: caps.one.at_least_apart", "never needed"),
        (("at_most: 2, in: 7d", "at_most: 3, in: 3d"), "caps.yaml:3: caps.two.at_most", "cap `one` lets at most 2"),
        (("at_most: 2, in: 7d", "at_most: 2, in: 7d"), "caps.yaml:3: caps.two.at_most", "cap `one`"),
        (
            ("at_most: 1, in: calendar day", "at_most: 8, in: calendar week"),
            "caps.yaml:3: caps.two.at_most",
            "at most 7 into calendar week",
        ),
        (("at_least_apart: 2d", "at_most: 1, in: calendar day"), "caps.yaml:3: caps.two.at_most", "at most 1"),
        (("counts: {channel: email}, at_most: 1, in: 7d",), "caps.yaml:2: caps.one.counts", "no campaign is counted"),
        (
            ("at_most: 2, in: 7d, adapt: {by: scores.churn, from: 1, to: 4}",),
            "caps.yaml:2: caps.one.adapt",
            "reaches 4, and `at_most` is 2",
        ),
        (("at_most: 2, in: 7d, adapt: {by: scores.churn, from: 1, to: 1}",), "caps.one.adapt", "nothing moves"),
    ],
)
def test_a_cap_that_another_makes_pointless_or_impossible_is_told(caps: tuple[str, ...], where: str, says: str) -> None:
    """File, line, which key, why, and what to do; one finding each."""
    (found,) = of_caps(*caps)
    assert where in found
    assert says in found


@pytest.mark.parametrize(
    "caps",
    [
        ("at_most: 3, in: 7d, at_least_apart: 20h", "at_most: 1, in: calendar day"),
        ("at_most: 2, in: 7d", "at_most: 3, in: calendar week"),
        ("at_most: 2, in: 7d", "counts: {tag: a}, at_most: 1, in: 7d"),
        ("counts: {tag: a}, at_most: 1, in: 7d", "at_most: 2, in: 7d"),
        ("at_most: 2, in: 7d", "at_most: 3, in: 7d, per: account"),
        ("at_most: 2, in: 1d", "at_most: 13, in: 7d"),
        ("at_most: 2, in: 7d", "at_most: 3, in: 3d, adapt: {by: scores.churn, from: 1, to: 3}"),
    ],
)
def test_caps_that_each_do_something_are_left_in_peace(caps: tuple[str, ...]) -> None:
    """Side by side, narrower, per account, or adapting below the other."""
    assert of_caps(*caps) == []


def test_what_bypasses_caps_keeps_them_from_being_pointless() -> None:
    """A campaign that counts without obeying fills what the other cap would have kept free."""
    free = "  free: {trigger: ask, topic: news, channels: [inapp], obeys_caps: false, content: {inapp: {body: Hi}}}\n"
    caps = "caps:\n  one: {at_most: 2, in: 7d}\n  two: {at_most: 3, in: 3d}\n"
    assert len(warned(caps)) == 1
    assert warned(caps, HEAD + free) == []


lengths = st.sampled_from(["5h", "20h", "1d", "2d", "7d"])
limits = st.fixed_dictionaries(
    {"at_most": st.integers(1, 6), "in": lengths | st.sampled_from(["calendar day", "calendar week"])}
)
caps = limits | lengths.map(lambda s: {"at_least_apart": s})


@settings(max_examples=150, deadline=None)
@given(caps, caps, st.lists(st.integers(0, 24 * 20), min_size=5, max_size=60))
def test_a_limit_said_to_be_never_reached_is_never_reached(first: object, second: object, hours: list[int]) -> None:
    """Whatever is sent as the one cap allows, the other one always has room."""
    spec = PlaybookSpec.model_validate(
        {
            "topics": {"t": {}},
            "triggers": {"ask": {"kind": "request"}},
            "campaigns": {
                "c": {"trigger": "ask", "topic": "t", "channels": ["inapp"], "content": {"inapp": {"body": "x"}}}
            },
            "caps": {"first": first, "second": second},
        }
    )
    for (_, name, _), _ in doubts_about_caps(spec):
        pointless: Cap = spec.caps[str(name)]
        other = spec.caps["second" if name == "first" else "first"]
        sent: list[datetime] = []
        for hour in sorted(hours):
            at = NOW + timedelta(hours=hour)
            if has_room(at, other, other.at_most, sent, UTC):
                assert has_room(at, pointless, pointless.at_most, sent, UTC)
                sent.append(at)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("false", "always false"),
        ("1 > 2", "always false"),
        ("features.orders_n_30d > 5 and features.orders_n_30d < 3", "no `features.orders_n_30d`"),
        ("features.orders_n_30d > 3 and 3 >= features.orders_n_30d", "no `features.orders_n_30d`"),
        ("features.orders_n_30d == 1 and features.orders_n_30d == 2", "no `features.orders_n_30d`"),
        ("scores.purchase > 1.2", "scores lie between 0 and 1"),
        ("traits.vip and (scores.purchase > 2 or scores.purchase < 0)", "no `scores.purchase`"),
        ("traits.vip and false", "`false`"),
    ],
)
def test_a_condition_that_can_never_hold_is_found(text: str, says: str) -> None:
    """Constants, ranges that leave nothing, scores outside 0 to 1."""
    assert says in (contradiction(text) or "")


@pytest.mark.parametrize(
    "text",
    [
        "true", "scores.purchase >= 1", "features.orders_n_30d > 3 and features.orders_n_30d < 5",
        "features.orders_n_30d > 5 or features.orders_n_30d < 3",
        "features.orders_n_30d >= 3 and features.orders_n_30d <= 3",
        "not (scores.purchase > 2)", "traits.vip and (scores.purchase > 2 or scores.churn > 0.5)", "x >",
    ],
)  # fmt: skip
def test_a_condition_that_may_hold_is_left_in_peace(text: str) -> None:
    """What cannot be ruled out is not."""
    assert contradiction(text) is None


@pytest.mark.parametrize(
    ("campaign", "where", "says"),
    [
        ("when: 1 > 2", "a.yaml:8: campaigns.x.when", "nobody receives it"),
        ("goal: order, lift: 0.1, cost_minor: 10", "a.yaml:8: campaigns.x", "never better than sending nothing"),
        ("starts_at: 2027-01-01", "a.yaml:9: campaigns.x.starts_at", "has ended by then"),
        ("ends_at: 2025-12-01", "a.yaml:9: campaigns.x.ends_at", "before trigger `summer` starts"),
    ],
)
def test_a_campaign_nobody_can_receive_is_told(campaign: str, where: str, says: str) -> None:
    """A condition that never holds, a value below its cost, dates that never meet its trigger's."""
    ask, summer = "  ask: {kind: request}\n", "  summer: {kind: request, starts_at: 2026-01-01, ends_at: 2026-09-01}\n"
    trigger = "summer" if "_at" in campaign else "ask"
    line = f"  x: {{trigger: {trigger}, topic: news, channels: [inapp], {campaign}, content: {{inapp: {{body: X}}}}}}\n"
    head = HEAD.replace(ask, ask + (summer if trigger == "summer" else ""))
    found = [w for w in warned("", head + line) if "campaigns.x" in w]
    assert len(found) == 1
    assert says in found[0]
    assert where in found[0]


def test_what_has_ended_is_told_at_that_moment(tmp_path: Path) -> None:
    """`check` knows what time it is; loading does not look at the clock."""
    ended = HEAD.replace("tags: [a]", "ends_at: 2026-02-01")
    (tmp_path / "a.yaml").write_text(ended)
    assert check(tmp_path).warnings == ()
    assert check(tmp_path, datetime(2026, 1, 1, tzinfo=UTC)).warnings == ()
    (found,) = check(tmp_path, NOW).warnings
    assert (found.line, found.where) == (7, "campaigns.hello.ends_at")
    assert "ended on 2026-02-01" in found.message
    (tmp_path / "a.yaml").write_text(HEAD.replace("ask: {kind: request}", "ask: {kind: request, ends_at: 2026-02-01}"))
    (found,) = check(tmp_path, NOW).warnings
    assert found.where == "campaigns.hello.trigger"


def test_a_playbook_that_says_nothing_about_consent_is_told_what_that_means() -> None:
    """Every channel is out by default: right where it is meant, so it wants to be said."""
    (found,) = warned("", HEAD.replace('consent: {default: {"*": in}}\n', ""))
    assert "every channel is out until a customer opts in" in found
    assert warned("", HEAD.replace('{"*": in}', '{"*": out}')) == []


@pytest.mark.parametrize(
    ("cap", "says"),
    [
        ("at_most: 3, in: 7d, adapt: {by: features.order_n_30d, from: 1, to: 3}", "did you mean `orders_n_30d`?"),
        ("at_most: 3, in: 7d, adapt: {by: scores.churned, from: 1, to: 3}", "did you mean `churn`?"),
        ("at_most: 3, in: 7d, adapt: {by: features.active_hours, from: 1, to: 3}", "is no number"),
        ("at_most: 3, in: 7d, adapt: {by: traits.age, from: 1, to: 3}", "is not"),
        ("at_least_apart: 1d, adapt: {by: scores.churn, from: 1, to: 3}", "give `at_most` and `in` too"),
        ("at_most: 3, in: 7d, adapt: {by: scores.churn, from: 1, to: 3, between: [1, 1]}", "the smaller first"),
        ("at_least_apart: 0s", "give a time"),
        ("at_most: 1, in: 7d, per: household", "`household` is not one of customer, account"),
    ],
)
def test_a_cap_that_cannot_work_is_an_error_with_its_place(cap: str, says: str) -> None:
    """Unknown names, no numbers, nothing to adapt, no length."""
    with pytest.raises(PlaybookInvalid) as caught:
        warned(f"caps:\n  one: {{{cap}}}")
    (problem,) = caught.value.problems
    assert problem.line == 2
    assert says in problem.message
