"""Two histories become one: traits, features, consent (strictest wins), sends, timers; twice changes nothing."""

from dataclasses import replace
from datetime import datetime
from itertools import permutations

from opportune.domain.customers import Consent, ConsentState
from opportune.domain.events import EventKind
from opportune.domain.messages import SendState
from opportune.flows.agree import strictest
from opportune.ports import UnitOfWork

from .ingesting import Shop, added, at, event, identify, ordered, send

AGREED = {"consent": {"categoryPreferences": {"email": True}}}


def line(
    customer: str, state: str, hour: float, channel: str = "email", topic: str = "*", source: str = "form"
) -> Consent:
    return Consent(
        consent_id=f"{customer}|{channel}|{topic}|{hour}|{state}",
        customer_id=customer,
        channel=channel,
        topic=topic,
        state=ConsentState(state),
        at=at(hour),
        source=source,
        recorded_at=at(hour),
    )


def newest(uow: UnitOfWork, customer: str, channel: str = "email", topic: str = "*") -> Consent:
    found = [c for c in uow.consents.of([customer])[customer] if (c.channel, c.topic) == (channel, topic)]
    return max(found, key=lambda c: (c.at, c.consent_id))


def test_identify_joins_the_anonymous_history_to_the_user() -> None:
    shop = Shop()
    shop.take(added(1, user=None, anonymous="a1"), added(2, "k2"), identify(2.5, "c1", plan="free"))
    report = shop.take(identify(3, "c1", "a1", plan="pro"))
    assert report.merged == {"anon:a1": "c1"}
    picture = shop.picture(["a:a1", "u:c1"])
    assert picture["whose"] == {"a:a1": "c1", "u:c1": "c1"}
    assert len(picture["events"]["c1"]) == 4
    assert shop.customer("anon:a1") is None
    found = shop.customer("c1")
    assert found is not None
    assert (found.traits, found.first_seen_at) == ({"plan": "pro"}, at(1))
    with shop.ledger.read() as uow:
        assert set(uow.states.get(["anon:a1", "c1"])) == {"c1"}
        assert uow.outbox.depth("project") == 2  # the one that went is projected too: away


def test_the_version_after_a_merge_is_above_both_sides() -> None:
    shop = Shop()
    for hour in range(4):
        shop.take(added(hour, user=None, anonymous="a1"))
    shop.take(added(4, user="c1"))
    shop.take(identify(4.5, "c1", "a1"))
    with shop.ledger.read() as uow:
        assert uow.states.get(["c1"])["c1"].version == 5


def test_merging_twice_changes_nothing() -> None:
    shop = Shop()
    shop.take(added(1, user=None, anonymous="a1"), added(2))
    with shop.ledger.begin(["c1", "anon:a1"]) as uow:
        uow.consents.add([line("anon:a1", "out", 1), line("c1", "in", 2)])
    shop.take(identify(3, "c1", "a1"))
    with shop.ledger.read() as uow:
        consents, claims = uow.consents.of(["c1"]), uow.identities.all_claims()
    report = shop.take(identify(4, "c1", "a1"), identify(3, "c1", "a1"))
    assert report.merged == {}
    with shop.ledger.read() as uow:
        assert uow.consents.of(["c1"]) == consents
        assert uow.identities.all_claims() == claims  # the later envelope says nothing new


def test_alias_merges_two_users_whole() -> None:
    shop = Shop()
    shop.take(added(1, user="old"), added(2, user="new"), identify(2.1, "old", "a1"))
    report = shop.take(event(EventKind.ALIAS, 3, "new", previous="old"))
    assert report.merged == {"old": "new"}
    assert shop.picture(["u:old", "u:new", "a:a1", "a:old"])["whose"] == dict.fromkeys(
        ["u:old", "u:new", "a:a1", "a:old"], "new"
    )
    shop.take(added(4, user="old"))
    assert len(shop.picture(["u:new"])["events"]["new"]) == 5


def test_sends_follow_and_go_on_counting() -> None:
    shop = Shop()
    shop.take(added(1, user=None, anonymous="a1"))
    with shop.ledger.begin(["anon:a1"]) as uow:
        uow.sends.reserve([send("anon:a1")])
    shop.take(identify(3, "c1", "a1"))
    with shop.ledger.read() as uow:
        assert [s.customer_id for s in uow.sends.log(["c1"], at(0))["c1"]] == ["c1"]


def test_sends_and_consents_of_somebody_without_events_follow_too() -> None:
    shop = Shop()
    with shop.ledger.begin(["anon:a1"]) as uow:
        uow.sends.reserve([send("anon:a1")])
        uow.consents.add([line("anon:a1", "out", 1)])
    shop.take(identify(3, "c1", "a1"))
    with shop.ledger.read() as uow:
        booked = uow.sends.get(["s1"])["s1"]
        assert (booked.customer_id, booked.state) == ("c1", SendState.RELEASED)  # what one half withdrew holds for both
        assert newest(uow, "c1").state is ConsentState.OUT


def test_out_on_either_side_stays_out_until_the_customer_says_in_again() -> None:
    for out_first in (True, False):
        shop = Shop()
        shop.take(added(1, user=None, anonymous="a1"), added(1, user="c1"))
        anonymous, user = ("out", "in") if out_first else ("in", "out")
        with shop.ledger.begin(["c1", "anon:a1"]) as uow:
            uow.consents.add([line("anon:a1", anonymous, 1), line("c1", user, 2)])
        shop.take(identify(3, "c1", "a1"))
        with shop.ledger.begin(["c1"]) as uow:
            assert newest(uow, "c1").state is ConsentState.OUT
            uow.consents.add([line("c1", "in", 4)])
            assert newest(uow, "c1").state is ConsentState.IN


def test_strictest_wins_whatever_comes_first() -> None:
    """Out as nobody, in as oneself, then known to be one: out, in each of the 24 orders; a later in opens again."""
    events = [
        event("Unsubscribed", 1, None, "a1"),
        replace(event("Segment Consent Preference Updated", 2), context=AGREED),
        identify(3, "c1", "a1"),
        identify(3.5, "c1", "a1"),
    ]
    found = set()
    for order in permutations(events):
        shop = Shop()
        for it in order:
            shop.take(it)
        with shop.ledger.read() as uow:
            lines = uow.consents.of(["c1"])["c1"]
        found.add(tuple((c.consent_id, c.state, c.at) for c in lines))
        assert [c.at for c in lines if c.consent_id.startswith("strict:")] == [at(3)]
        shop.take(replace(event("Segment Consent Preference Updated", 4), context=AGREED))
        with shop.ledger.read() as uow:
            assert newest(uow, "c1").state is ConsentState.IN
    assert len(found) == 1


def test_a_browser_that_was_somebody_elses_takes_its_timers_and_opt_outs_along() -> None:
    """Started and said on the browser of a first owner who is known late: theirs, and the second has neither."""
    shop = Shop(now_hours=4)
    shop.take(
        added(2, user=None, anonymous="a1"), event("Unsubscribed", 2, None, "a1"), identify(3, "second", "a1"),
        added(3.5, "k2", user="second"),
    )  # fmt: skip
    assert set(shop.carts("second")) == {"k1", "k2"}
    shop.take(identify(2.5, "first", "a1"))
    assert (set(shop.carts("first")), set(shop.carts("second"))) == ({"k1"}, {"k2"})
    with shop.ledger.read() as uow:
        assert uow.consents.of(["second"]) == {}
        assert newest(uow, "first").state is ConsentState.OUT


def test_a_narrower_opt_in_of_the_other_side_does_not_lift_an_opt_out() -> None:
    again = strictest([line("a", "out", 1)], [line("b", "in", 2, topic="news")], "b", at(5), at(6))
    assert [(c.channel, c.topic, c.state) for c in again] == [("email", "*", ConsentState.OUT)]
    assert again[0].at > at(2)
    assert strictest([line("a", "out", 2)], [line("b", "in", 1)], "b", at(5), at(6)) == []
    assert strictest([line("a", "out", 1), line("a", "in", 2)], [line("b", "in", 3)], "b", at(5), at(6)) == []


def test_a_suppression_stays_a_suppression() -> None:
    (again,) = strictest([line("a", "out", 1, source="complaint")], [line("b", "in", 2)], "b", at(5), at(6))
    assert again.source == "complaint"


def test_a_late_first_claim_moves_the_anonymous_events_and_leaves_the_rest() -> None:
    shop = Shop()
    shop.take(added(1, user=None, anonymous="a1"), identify(3, "second", "a1", plan="pro"), added(4, user="second"))
    late = identify(2, "first", "a1", city="Bath")
    shop.take(late)
    picture = shop.picture(["a:a1", "u:first", "u:second"])
    assert picture["whose"] == {"a:a1": "first", "u:first": "first", "u:second": "second"}
    assert len(picture["events"]["first"]) == 2
    assert len(picture["events"]["second"]) == 2
    whole = Shop()
    whole.take(
        late, added(1, user=None, anonymous="a1"), identify(3, "second", "a1", plan="pro"), added(4, user="second")
    )
    assert picture == whole.picture(["a:a1", "u:first", "u:second"])


def test_an_unsubscribe_said_anonymously_holds_for_the_user() -> None:
    shop = Shop()
    shop.take(event("Unsubscribed", 1, None, "a1"))
    shop.take(identify(2, "c1", "a1"), ordered(3))
    with shop.ledger.read() as uow:
        assert newest(uow, "c1").state is ConsentState.OUT
        assert newest(uow, "c1").at == at(1)


def test_claims_keep_when_they_became_known() -> None:
    shop = Shop()
    shop.take(event(EventKind.IDENTIFY, 1, "c1", "a1", received=4))
    with shop.ledger.read() as uow:
        (claim,) = uow.identities.all_claims()
    known: tuple[datetime, datetime] = (claim.event_at, claim.known_at)
    assert known == (at(1), at(4))
