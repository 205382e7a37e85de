"""What sets out, what ends a journey in the middle, who may come again, and what an edit does to those on the way."""

import itertools
from datetime import timedelta

import pytest
from tests.desks import NOON, desk_of
from tests.unit.journeys.on_the_way import details, heard, on_the_way, playbook, taken

from opportune.adapters.system_clock import FixedClock
from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.journeys import Ending
from opportune.flows.fire import fire
from opportune.flows.ingest import ingest
from opportune.flows.lookup import replay
from opportune.flows.walk import walk
from opportune.playbook.load import load_files
from opportune.sandboxes import Sandbox

TWO = "- message: hello\n- wait: 2d\n- message: nudge"


def listed(o: Sandbox) -> list[str]:
    return [j["name"] for j in o.customer("ada")["journeys"]]


def test_reaching_the_goal_ends_it_in_mid_wait() -> None:
    """At once, and it is no longer listed."""
    with on_the_way(TWO, "goal: order") as o:
        o.track("ada", "Signed Up")
        o.advance("1d")
        shown = o.customer("ada")["journeys"]
        assert [(j["name"], j["step"], j["due_at"]) for j in shown] == [("j", "wait_2", "2026-01-07T12:00:00+00:00")]
        o.track("ada", "Order Completed", order_id="o1")
        assert listed(o) == []
        o.advance("5d")
        assert taken(o) == [("message_1", "booked"), ("wait_2", "goal")]
        assert len(heard(o)) == 1


def test_reaching_the_goal_takes_back_what_is_booked() -> None:
    """A message waiting for the end of quiet hours does not ask for the order that has come."""
    quiet = 'quiet_hours: {start: "21:00", end: "08:00"}\n'
    with on_the_way(TWO, "goal: order", more=quiet, at="2026-01-05T23:00:00Z") as o:
        o.track("ada", "Signed Up")
        o.track("ada", "Order Completed", order_id="o1")
        o.advance("5d")
        assert heard(o) == []


@pytest.mark.parametrize(
    ("leave", "does", "leaves"),
    [
        ("{event: Account Closed}", ("Account Closed", {}), True),
        ("{event: Account Closed, when: event.really == true}", ("Account Closed", {}), False),
        ("[{event: X}, {when: features.orders_n_30d > 0}]", ("Order Completed", {"order_id": "o"}), True),
        ("{when: journey.age_days > 1}", ("Product Viewed", {}), False),
    ],
)
def test_exits_act_in_mid_wait(leave: str, does: tuple[str, dict[str, object]], leaves: bool) -> None:
    """An event, an event that fits a condition, or a condition that has come true."""
    with on_the_way(TWO, f"exit: {leave}") as o:
        o.track("ada", "Signed Up")
        o.advance("1d")
        o.track("ada", does[0], **does[1])
        assert (listed(o) == []) is leaves


def test_an_instance_hears_only_events_of_its_own_key() -> None:
    """Two baskets are two instances; an order of one ends that one, an order that names none ends both."""
    with on_the_way(TWO, "start: cart\ngoal: order") as o:
        for basket in ("k1", "k2", "k3"):
            o.track("ada", "Product Added", cart_id=basket)
        assert listed(o) == ["j"] * 3
        o.track("ada", "Order Completed", order_id="o1", cart_id="k2")
        assert [j["key"] for j in o.customer("ada")["journeys"]] == ["k1", "k3"]
        o.track("ada", "Order Completed", order_id="o2")
        assert listed(o) == []


def test_nobody_stays_longer_than_the_maximum_length() -> None:
    """Also within a step that has no end of its own."""
    with on_the_way("- message: hello\n- wait_until: {event: X}\n- message: nudge", "max_length: 10d") as o:
        o.track("ada", "Signed Up")
        o.advance("9d")
        assert listed(o) == ["j"]
        o.advance("1d")
        assert taken(o)[-1] == ("wait_until_2", "too_long")


@pytest.mark.parametrize("how", ["event", "api", "status"])
def test_opting_out_ends_it_at_once(how: str) -> None:
    """By the unsubscribe event, through the API, by a complaint. A bounce is nobody's wish."""
    with on_the_way("- message: hello\n- wait: 2d\n- message: {campaign: nudge, channels: [push]}") as o:
        o.track("ada", "Signed Up")
        message = o.messages[0].message_id
        o.advance("1h")
        if how == "event":
            o.track("ada", "Unsubscribed", email_id=message)
        elif how == "api":
            o.consent("ada", "email", "out")
            o.advance("0s")
        else:
            o.status(message, "complained")
        assert taken(o)[-1] == ("wait_2", "opted_out")


def test_a_complaint_about_any_message_ends_it() -> None:
    """Also one that the journey did not say."""
    with on_the_way(TWO) as o:
        o.track("ada", "Signed Up")
        o.track("ada", "Email Marked as Spam", email_id="some other")
        assert taken(o)[-1] == ("wait_2", "opted_out")


def test_a_bounce_and_an_opt_out_of_something_else_do_not_end_it() -> None:
    """The channel is closed and the journey goes on on the others; `leaves_on_opt_out: false` goes on likewise."""
    steps = "- message: hello\n- wait: 2d\n- message: {campaign: nudge, channels: [push]}"
    with on_the_way(steps) as o:
        o.track("ada", "Signed Up")
        o.status(o.messages[0].message_id, "bounced")
        o.consent("ada", "inapp", "out")
        o.advance("3d")
        assert [c for _, c, _ in heard(o)] == ["email", "push"]
    with on_the_way(steps, "leaves_on_opt_out: false") as o:
        o.track("ada", "Signed Up")
        o.consent("ada", "email", "out")
        o.advance("3d")
        assert [c for _, c, _ in heard(o)] == ["email", "push"]


def test_service_journeys_go_on_after_an_opt_out() -> None:
    """Transactional messages are no marketing."""
    with on_the_way("- message: receipt\n- wait: 1d\n- message: receipt") as o:
        o.track("ada", "Signed Up")
        o.consent("ada", "email", "out")
        o.advance("2d")
        assert len(heard(o)) == 2


@pytest.mark.parametrize(("rule", "n"), [("never", 1), ("after 30d", 2), ("always", 3)])
def test_who_may_come_again(rule: str, n: int) -> None:
    """Sent on the way on day 0, 10 and 40; each time it takes no time."""
    with on_the_way("- message: hello", f"reentry: {rule}") as o:
        for pause in ("0s", "10d", "30d"):
            o.advance(pause)
            o.track("ada", "Signed Up")
        assert len(heard(o)) == n


def test_one_instance_of_a_key_at_a_time() -> None:
    """Firing again while on the way changes nothing, even when coming again is allowed."""
    with on_the_way(TWO, "reentry: always") as o:
        o.track("ada", "Signed Up")
        o.advance("1d")
        o.track("ada", "Signed Up")
        o.advance("5d")
        assert len(heard(o)) == 2


def test_a_condition_of_the_trigger_keeps_out() -> None:
    """The trigger's `when` is asked even where it has no campaign of its own."""
    more = "triggers:\n  big: {on: {event: Basket Weighed}, when: event.kg > 5}\n"
    text = playbook(TWO, "start: big").replace("triggers:\n", more, 1)
    desk = desk_of(load_files({"p": text.encode()}))
    for n, weight in enumerate((1, 9)):
        at = desk.clock.now()
        weighed = Event(
            message_id=f"m{n}", kind=EventKind.TRACK, name="Basket Weighed", user_id=f"c{n}", anonymous_id=None,
            original_at=None, sent_at=None, received_at=at, event_at=at, known_at=at, ingested_at=at,
            origin=Origin.LIVE, properties={"kg": weight},
        )  # fmt: skip
        ingest([weighed], (), desk.ledger, desk.playbook, desk.clock)
    fire(desk, "w")
    with desk.ledger.read() as uow:
        assert set(uow.journeys.running(["c0", "c1"])) == {"c1"}
        assert uow.timers.fired(["c0"], at) == {}  # and starts no cool-down


def test_merging_two_customers_keeps_the_instance_that_came_further() -> None:
    """The other ends as merged; what either said counts; nothing is said twice."""
    with on_the_way(TWO, "start: cart\ngoal: order\nreentry: always") as o:
        for who in ("ada", None):
            envelope = {"type": "track", "event": "Product Added", "properties": {"cart_id": "k1"}}
            o.send(envelope | ({"userId": who} if who else {"anonymousId": "browser"}))
            o.advance("1h")
        o.send({"type": "identify", "userId": "ada", "anonymousId": "browser"})
        assert listed(o) == ["j"]
        o.send({"type": "identify", "userId": "ada", "anonymousId": "browser", "messageId": "again"})
        o.advance("5d")
        assert [c for c, _, _ in heard(o)] == ["hello", "nudge"]
        assert sorted(end for _, end in taken(o) if end in ("merged", "completed")) == ["completed", "merged"]


def test_who_was_on_it_before_under_another_name_does_not_come_again() -> None:
    """Completed as a nameless visitor, and on the way again as Ada: once we know, the second stops."""
    with on_the_way("- message: hello\n- wait: 1d", "start: cart") as o:
        o.send({"type": "track", "event": "Product Added", "anonymousId": "b", "properties": {"cart_id": "k"}})
        o.advance("3d")
        o.track("ada", "Product Added", cart_id="k")
        o.send({"type": "identify", "userId": "ada", "anonymousId": "b"})
        assert listed(o) == []
        assert taken(o)[-1] == ("wait_2", "merged")


def test_a_goal_reached_by_the_other_half_ends_it_when_they_are_one() -> None:
    """An order as a nameless visitor counts once we know who it was."""
    with on_the_way(TWO, "goal: order") as o:
        o.track("ada", "Signed Up")
        o.advance("1d")
        order = {"type": "track", "anonymousId": "b", "event": "Order Completed", "properties": {"order_id": "1"}}
        o.send(order)
        assert listed(o) == ["j"]
        o.send({"type": "identify", "userId": "ada", "anonymousId": "b"})
        assert taken(o)[-1] == ("wait_2", "goal")


EDITS = {
    "steps": playbook("- wait: 9d\n- message: hello"),
    "gone": playbook(TWO).split("\njourneys:")[0],
    "closed": playbook(TWO, "state: closed"),
    "stopped": playbook(TWO, "state: stopped"),
    "campaign": playbook("- message: hello").replace("  nudge:\n", "  renamed:\n"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_never_strands_a_customer_on_the_way(edit: str) -> None:
    """They finish what they began; new ones go the new way. A campaign that is gone is passed over; `stopped` ends."""
    with on_the_way(TWO) as o:
        o.track("ada", "Signed Up")
        o.advance("1d")
        _edit(o, EDITS[edit])
        o.identify("bob", email="bob@example.org")
        o.track("bob", "Signed Up")
        o.advance("20d")
        ends = {"steps": "completed", "gone": "completed", "closed": "completed", "campaign": "completed"}
        assert taken(o)[-1][1] == ends.get(edit, "stopped")
        assert [m.campaign for m in o.messages if m.customer_id == "ada"] == (
            ["hello", "nudge"] if edit in ("steps", "gone", "closed") else ["hello"]
        )
        if edit == "campaign":
            assert details(o)[2]["reason"] == "ended"
        assert [m.at - NEW for m in o.messages if m.customer_id == "bob"] == {
            "steps": [timedelta(days=9)], "campaign": [timedelta(0)],
        }.get(edit, [])  # fmt: skip


NEW = NOON.replace(year=2026, month=1, day=6)


def _edit(o: Sandbox, text: str) -> None:
    """The service is started again with another playbook."""
    o.playbook = load_files({"p": text.encode()})
    object.__setattr__(o._desk, "playbook", o.playbook)


def test_a_definition_that_cannot_be_read_ends_it_and_says_so() -> None:
    """Nobody is left on a journey that nobody knows."""
    with on_the_way(TWO) as o:
        o.track("ada", "Signed Up")
        with o._desk.ledger.begin(["ada"]) as uow:
            one = uow.journeys.running(["ada"])["ada"][0]
            uow.journeys.put([type(one)(**{f: getattr(one, f) for f in one.__slots__} | {"version": "sha256:lost"})])
        o.advance("3d")
        assert taken(o)[-1] == ("wait_2", Ending.UNREADABLE.value)


def test_the_decision_of_a_step_is_replayed_the_same() -> None:
    """From its case, although no trigger of the playbook made it."""
    with on_the_way(TWO) as o:
        o.track("ada", "Signed Up")
        again = replay(o.messages[0].decision_id, o._desk.ledger)
        assert again is not None
        assert again.is_same
        assert (o.messages[0].step, again.again.messages[0].step) == ("message_1", "message_1")


def test_a_worker_that_dies_between_transactions_loses_and_doubles_nothing() -> None:
    """Killed after the claim, it leaves a lease that runs out; killed before the commit, nothing; doing a claim twice
    takes a step once."""
    clock = FixedClock(NOON)
    desk = desk_of(load_files({"p": playbook(TWO).encode()}), clock=clock)
    numbers = itertools.count()

    def track(name: str) -> None:
        at = clock.now()
        event = Event(
            message_id=f"m{next(numbers)}", kind=EventKind.TRACK, name=name, user_id="ada", anonymous_id=None,
            original_at=None, sent_at=None, received_at=at, event_at=at, known_at=at, ingested_at=at,
            origin=Origin.LIVE, traits={},
        )  # fmt: skip
        ingest([event], (), desk.ledger, desk.playbook, clock)

    track("Signed Up")
    fire(desk, "w1")
    with desk.ledger.begin() as uow:
        claimed = uow.timers.claim(clock.now(), 9, clock.now() + timedelta(seconds=60), "dies")
    assert [t.rule for t in claimed] == ["journey:j"]
    assert fire(desk, "w2").n_claimed == 0
    clock.advance(clock.now() + timedelta(seconds=60))
    assert fire(desk, "w2").n_fired == 1
    assert walk(claimed, desk) == []  # the dead one's claim is worth nothing any more
    with desk.ledger.read() as uow:
        one = uow.journeys.running(["ada"])["ada"][0]
        assert (one.step, one.n_taken) == ("wait_2", 1)
