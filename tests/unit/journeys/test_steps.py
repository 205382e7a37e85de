"""Every kind of step, on a clock that only the test moves. It begins on Monday 5 January 2026, noon UTC."""

from datetime import UTC, datetime

import pytest
from tests.unit.journeys.on_the_way import details, heard, on_the_way, playbook, taken

import opportune
from opportune.playbook.load import PlaybookInvalid, load_files

QUIET = 'quiet_hours: {start: "21:00", end: "08:00"}\n'


def test_a_message_goes_and_the_journey_goes_on() -> None:
    """Decided by the ordinary pipeline: decision and message name the journey and its step."""
    with on_the_way("- {name: first, message: hello}\n- wait: 2d\n- message: nudge") as o:
        o.track("ada", "Signed Up", plan="gold")
        o.advance("3d")
        assert heard(o) == [("hello", "email", "01-05 12:00"), ("nudge", "email", "01-07 12:00")]
        assert [name for name, _ in taken(o)] == ["first", "wait_2", "message_3", "message_3"]
        assert taken(o)[-1] == ("message_3", "completed")
        told = o.explain(o.messages[0].decision_id)["messages"][0]
        assert (told["trigger"], told["step"]) == ("journey:j", "first")
        assert o.messages[1].content["body"] == "gold"  # what set her on the way is known at every step


def test_a_wait_counts_from_the_hour_the_message_really_goes() -> None:
    """Quiet hours put the message off; the two days begin when it has gone, not when it was decided."""
    with on_the_way("- message: hello\n- wait: 2d\n- message: nudge", more=QUIET, at="2026-01-05T23:00:00Z") as o:
        o.track("ada", "Signed Up")
        o.advance("4d")
        assert [when for _, _, when in heard(o)] == ["01-06 08:00", "01-08 08:00"]


def test_a_refused_step_is_recorded_and_the_journey_goes_on() -> None:
    """A cap of one message: the second is refused with cap and decision in the history, `else` says where to."""
    steps = "- message: hello\n- message: nudge\n  else: late\n- message: hello\n  go: end\n- {name: late, wait: 1d}"
    cap = "caps: {one: {at_most: 1, in: 30d}}\n"
    with on_the_way(steps, more=cap) as o:
        o.track("ada", "Signed Up")
        o.advance("2d")
        assert taken(o) == [
            ("message_1", "booked"), ("message_2", "refused"), ("late", "waited"), ("late", "completed"),
        ]  # fmt: skip
        refused = details(o)[1]
        assert (refused["reason"], refused["rule"], refused["go"]) == ("frequency_cap", "one", "late")
        assert o.explain(refused["decision_id"])["removed"][0]["reason"] == "frequency_cap"


def test_waiting_until_an_event_ends_with_the_event() -> None:
    """At once, not at the timeout; only an event that fits the condition counts."""
    steps = "- wait_until: {event: Product Viewed, when: event.price > 5, for: 3d}\n  else: end\n- message: hello"
    with on_the_way(steps) as o:
        o.track("ada", "Signed Up")
        o.advance("1h")
        o.track("ada", "Product Viewed", price=1)
        assert heard(o) == []
        o.track("ada", "Product Viewed", price=9)
        assert heard(o) == [("hello", "email", "01-05 13:00")]


def test_waiting_until_an_event_ends_at_its_timeout() -> None:
    """`else` says where to; the event afterwards changes nothing."""
    steps = "- wait_until: {event: Product Viewed, for: 3d}\n  else: late\n- message: hello\n  go: end\n"
    with on_the_way(steps + "- {name: late, message: nudge}") as o:
        o.track("ada", "Signed Up")
        o.advance("72h")
        o.track("ada", "Product Viewed")
        o.advance("9d")
        assert heard(o) == [("nudge", "email", "01-08 12:00")]


def test_an_event_that_comes_late_but_happened_in_time_counts_until_the_step_is_taken() -> None:
    """Late before the timeout is taken: it happened. Late after: the step taken is a fact."""
    steps = "- wait_until: {event: Product Viewed, for: 3d}\n  else: late\n- message: hello\n  go: end\n"
    with on_the_way(steps + "- {name: late, message: nudge}") as o:
        o.track("ada", "Signed Up")
        o.advance("2d")
        o.track("ada", "Product Viewed", at="2026-01-05T13:00:00Z")
        assert heard(o) == [("hello", "email", "01-07 12:00")]
    with on_the_way(steps + "- {name: late, message: nudge}") as o:
        o.track("ada", "Signed Up")
        o.advance("4d")
        o.track("ada", "Product Viewed", at="2026-01-05T13:00:00Z")
        o.advance("9d")
        assert heard(o) == [("nudge", "email", "01-08 12:00")]


def test_waiting_until_a_condition_holds_asks_again_whenever_something_happens() -> None:
    """Three views, counted by the feature, whatever else she does between."""
    with on_the_way("- wait_until: {when: features.views_n_1d >= 3, for: 2d}\n  else: end\n- message: hello") as o:
        o.track("ada", "Signed Up")
        for _ in range(2):
            o.advance("10m")
            o.track("ada", "Product Viewed")
        assert heard(o) == []
        o.advance("10m")
        o.track("ada", "Product Viewed")
        assert heard(o) == [("hello", "email", "01-05 12:30")]


@pytest.mark.parametrize("n_opened", [1, 2])
def test_the_journey_advances_on_an_engagement_threshold(n_opened: int) -> None:
    """Two of the last three messages opened; opens by machines do not count, statuses of the API do."""
    steps = """
- message: hello
- message: hello
- message: hello
- wait_until: {opened: 2, of_last: 3, for: 1d}
  else: end
- message: nudge
"""
    with on_the_way(steps) as o:
        o.track("ada", "Signed Up")
        first, second, third = (m.message_id for m in o.messages)
        o.track("ada", "Email Opened", email_id=first)
        o.track("ada", "Email Opened", email_id=third, is_machine=True)
        if n_opened == 2:
            o.advance("1h")
            o.status(second, "opened")
        o.advance("3d")
        assert [c for c, _, _ in heard(o)][3:] == (["nudge"] if n_opened == 2 else [])


def test_a_branch_takes_the_first_way_whose_condition_holds() -> None:
    """Over features, traits, the starting event and how the journey went so far; else the step below."""
    steps = """
- message: hello
- wait: 1d
- branch:
    - {when: journey.opened_n > 0, go: end}
    - {when: event.plan == "gold", go: gold}
- message: hello
  go: end
- {name: gold, message: nudge}
"""
    for plan, does_open, wanted in (("gold", False, ["nudge"]), ("iron", False, ["hello"]), ("gold", True, [])):
        with on_the_way(steps) as o:
            o.track("ada", "Signed Up", plan=plan)
            if does_open:
                o.track("ada", "Email Opened", email_id=o.messages[0].message_id)
            o.advance("2d")
            assert [c for c, _, _ in heard(o)][1:] == wanted


def test_escalation_goes_from_channel_to_channel_until_she_takes_notice() -> None:
    """Each a day after the one before; a channel without an address is passed over at once."""
    steps = "- escalate: {campaign: nudge, channels: [email, push, sms], each: 1d}\n  else: end\n- message: hello"
    with on_the_way(steps) as o:
        o.track("ada", "Signed Up")
        o.advance("2d")
        assert [c for _, c, _ in heard(o)] == ["email", "push", "sms"]
        o.advance("2d")
        assert taken(o)[-2:] == [("escalate_1", "ignored"), ("escalate_1", "completed")]
    with on_the_way(steps) as o:
        o.identify("ada", push_token=None)
        o.track("ada", "Signed Up")
        o.advance("25h")
        assert [(c, w) for _, c, w in heard(o)] == [("email", "01-05 12:00"), ("sms", "01-06 12:00")]
        assert ("escalate_1", "refused") in taken(o)
        o.track("ada", "Email Opened", email_id=o.messages[0].message_id)  # notice of an earlier one counts
        assert [c for c, _, _ in heard(o)][2:] == ["hello"]


def test_a_split_gives_a_customer_the_same_way_for_ever_and_logs_the_exposure() -> None:
    """Salted by journey and step; about half of many customers each way."""
    steps = "- split: {a: 1, b: 1}\n- {name: a, message: hello, go: end}\n- {name: b, message: nudge}"
    with on_the_way(steps, "reentry: always") as o:
        for n in range(60):
            o.identify(f"c{n}", email=f"c{n}@example.org")
            o.track(f"c{n}", "Signed Up")
        ways = {m.customer_id: m.campaign for m in o.messages}
        assert 15 < sum(way == "hello" for way in ways.values()) < 45
        with o.desk.ledger.read() as uow:
            rows = uow.exposures.of("journey:j:split_1")
        assert {r["customer_id"]: r["variation"] for r in rows} == {
            c: "a" if way == "hello" else "b" for c, way in ways.items()
        }
        o.advance("1d")
        for n in range(60):
            o.track(f"c{n}", "Signed Up")
        assert {m.customer_id: m.campaign for m in o.messages[60:]} == ways


def test_a_test_customer_goes_the_first_way_and_is_no_exposure() -> None:
    """As in experiments."""
    steps = "- split: {a: 1, b: 9}\n- {name: a, message: hello, go: end}\n- {name: b, message: nudge}"
    with on_the_way(steps) as o:
        o.identify("ada", is_test=True)
        o.track("ada", "Signed Up")
        assert [c for c, _, _ in heard(o)] == ["hello"]
        with o.desk.ledger.read() as uow:
            assert uow.exposures.of("journey:j:split_1") == []


@pytest.mark.parametrize(
    ("zone", "start", "wanted"),
    [
        # the night of 29 March 2026: 01:30 does not come in London; it comes an hour later
        ("Europe/London", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00+00:00"),
        # the night of 25 October 2026: 01:30 comes twice; the first counts
        ("Europe/London", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00+00:00"),
        # New York, 8 March and 1 November 2026
        ("America/New_York", "2026-03-08T00:00:00Z", "2026-03-08T06:30:00+00:00"),
        ("America/New_York", "2026-10-31T12:00:00Z", "2026-11-01T05:30:00+00:00"),
        ("", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00+00:00"),
    ],
)
def test_waiting_until_a_local_hour_is_defined_through_clock_changes(zone: str, start: str, wanted: str) -> None:
    """In two zones, both ways; without a zone the hour is UTC's."""
    with on_the_way("- wait: {until: 01:30}\n- message: receipt", zone=zone, at=start) as o:
        o.track("ada", "Signed Up")
        o.advance("3d")
        assert [m.at for m in o.messages] == [datetime.fromisoformat(wanted)]


def test_a_wait_and_then_an_hour() -> None:
    """Two days, then the next nine o'clock where she lives; exactly nine is nine."""
    with on_the_way("- wait: {for: 2d, until: 09:00}\n- message: hello", zone="America/New_York") as o:
        o.track("ada", "Signed Up")
        o.advance("4d")
        assert [m.at for m in o.messages] == [datetime(2026, 1, 7, 14, tzinfo=UTC)]
    with on_the_way("- wait: {for: 2d, until: 12:00}\n- message: hello") as o:
        o.track("ada", "Signed Up")
        o.advance("4d")
        assert [m.at for m in o.messages] == [datetime(2026, 1, 7, 12, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("- message: helo", "unknown campaign `helo`; did you mean `hello`?"),
        ("- message: {campaign: hello, channels: [sms]}", "does not speak on sms: nobody can receive it there"),
        ("- message: hello\n  go: later", "unknown step `later`"),
        ("- {name: a, message: hello, go: a}", "a -> a goes round without a wait"),
        ("- message: hello\n  go: end\n- message: nudge", "no way leads to step `message_2`"),
        ("- {wait: 1d, message: hello}", "this one has `message` and `wait`"),
        ("- {wait_until: {event: X}, else: end}\n- message: hello", "add `for` to `wait_until`"),
        ("- branch: [{when: journey.opend_n > 1, go: end}]\n- message: hello", "did you mean `opened_n`?"),
        ("- branch: [{when: features.orders_n_31d > 1, go: end}]", "unknown feature `orders_n_31d`"),
        ("- wait: 3", "3 has no unit"),
        ("- sleep: 3d\n- message: hello", "unknown key `sleep`"),
        ("- {name: end, message: hello}", "`end` is where a journey ends"),
        ("- {name: a, message: hello}\n- {name: a, message: nudge}", "two steps are called `a`"),
        ("- split: {a: 1, b: 0}\n- {name: a, wait: 1d}\n- {name: b, wait: 1d}", "numbers over 0"),
    ],
)
def test_what_cannot_work_is_said_with_its_line(steps: str, said: str) -> None:
    """At load, with the place in the file."""
    with pytest.raises(PlaybookInvalid) as caught:
        load_files({"p.yaml": playbook(steps).encode()})
    assert any(said in str(p) and str(p).startswith("p.yaml:") for p in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("- message: hello\n- wait_until: {event: X}", "a dead end for all to whom it never happens"),
        ("- {name: a, message: hello}\n- {wait: 1d, go: a}", "no way leads from step `a` to the end"),
        ("- wait: 1d", "this journey never says anything"),
        ("- wait: 50d\n- message: hello\n- wait: 40d\n- message: hello", "the waits before it take 90d"),
    ],
)
def test_what_works_but_is_hardly_meant_is_a_warning(steps: str, said: str) -> None:
    """Dead ends, journeys that say nothing, steps that nobody has the time to come to."""
    found = load_files({"p.yaml": playbook(steps).encode()}).warnings
    assert any(said in str(p) for p in found), found


def test_one_fault_in_a_step_is_one_line_and_the_shortest_way_counts() -> None:
    """Not another line that the steps are missing; a step that one way reaches in time is no dead letter."""
    with pytest.raises(PlaybookInvalid) as caught:
        load_files({"p.yaml": playbook("- message: hello\n- sleep: 3d").encode()})
    assert len(caught.value.problems) == 1
    short = "- split: {a: 1, b: 1}\n- {name: a, wait: 100d}\n- {name: b, message: hello}"
    found = load_files({"p.yaml": playbook(short).encode()}).warnings
    assert not any("nobody comes here" in str(w) for w in found)


def test_a_decision_that_only_begins_a_journey_says_so() -> None:
    """And one whose trigger's own condition does not hold says that."""
    text = playbook("- message: hello", "start: keen").replace(
        "triggers:\n", "triggers:\n  keen: {on: {event: Seen}, when: traits.is_keen == true}\n"
    )
    with opportune.sandbox(playbook=text) as o:
        o.identify("ada", email="ada@example.org")
        o.track("ada", "Seen")
        o.identify("ada", is_keen=True)
        o.track("ada", "Seen")
        told = [d["summary"] for d in o.log()]
        assert o.journeys("ada") == [{"name": "j", "key": "", "step": "message_1", "ending": "completed"}]
    assert told[0] == "Send nothing: the condition of this trigger does not hold."
    assert told[1] == "Send nothing here: journey j begins with this trigger, and decides step by step."
