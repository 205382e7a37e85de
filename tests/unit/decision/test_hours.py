"""Hours in a decision: local clocks, waiting for the best hour, and chance that is logged."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from tests.unit.decision.making import NOW, case, customer, firing, playbook, score

from opportune.decision import record
from opportune.decision.hours import LocalHours, hour_weights, next_at, preferring
from opportune.decision.pipeline import decide
from opportune.domain.decisions import Ask, Score
from opportune.domain.instants import to_us
from opportune.flows.sent import sent_event

BIG = Ask(customer_id="c1", channels=("email",))


def timed(best: int, weight: float = 2.0) -> Score:
    """A send-time score with one good hour."""
    hours = tuple(weight if hour == best else 0.95 for hour in range(24))
    return replace(score(0.3, "send_time"), hours=hours, best_hour_local=best, best_at=NOW)


def test_weights_follow_the_local_clock_through_a_clock_change() -> None:
    """London: 9:00 is 9 UTC before the change and 8 UTC after it; in India half past counts to the hour it lies in."""
    weights = tuple(float(hour) for hour in range(24))
    london = LocalHours(weights, ZoneInfo("Europe/London"))
    assert london.get(to_us(datetime(2026, 3, 28, 9, tzinfo=UTC)), 1.0) == 9.0
    assert london.get(to_us(datetime(2026, 3, 29, 8, tzinfo=UTC)), 1.0) == 9.0
    assert LocalHours(weights, ZoneInfo("Asia/Kolkata")).get(to_us(datetime(2026, 3, 29, 8, tzinfo=UTC)), 1.0) == 13.0


def test_the_next_instant_of_an_hour_is_never_past_and_skips_what_the_clock_skips() -> None:
    """Now if it is that hour; else its first instant; 1:00 does not exist in London on 29 March 2026."""
    london = ZoneInfo("Europe/London")
    now = datetime(2026, 3, 28, 9, 17, tzinfo=UTC)
    assert next_at(9, now, london) == now
    assert next_at(10, now, london) == datetime(2026, 3, 28, 10, 0, tzinfo=UTC)
    assert next_at(1, datetime(2026, 3, 29, 0, 5, tzinfo=UTC), london) == datetime(2026, 3, 30, 0, 0, tzinfo=UTC)
    assert next_at(14, now, ZoneInfo("Asia/Kolkata")) == now
    assert next_at(15, now, ZoneInfo("Asia/Kolkata")) == datetime(2026, 3, 28, 9, 30, tzinfo=UTC)


def test_a_message_waits_for_its_best_hour_and_the_case_replays() -> None:
    """Best at 18:00 in London: sent then, worth twice as much, and decided the same from the stored case."""
    book = playbook()
    told = case(book, BIG, scores={"purchase": score(0.1), "send_time": timed(18)})
    decision = decide(told, book)
    message = decision.messages[0]
    assert message.send_at == datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
    assert message.value_minor == 1800
    assert message.action_probability == 1.0
    assert "best hour" in message.reasons[2]
    again = record.case_from_json(record.case_to_json(told))
    assert again == told
    assert decide(again, book) == decision
    assert record.decision_from_json(record.decision_to_json(decision)) == decision
    assert record.score_to_dict(told.scores["send_time"])["best_hour_local"] == 18
    assert "best_at" not in record.score_to_dict(told.scores["purchase"])


def test_transactional_messages_never_wait() -> None:
    """However good another hour is."""
    book = playbook()
    decision = decide(case(book, firing("reset"), scores={"send_time": timed(18, 9.0)}), book)
    assert decision.messages[0].send_at == NOW


def test_the_default_hour_breaks_ties_and_changes_no_value() -> None:
    """Without a score the playbook's hour is kept when it can be, at the same value; without either, now."""
    book = playbook("send_time: {default_hour: 10}\n")
    message = decide(case(book, BIG), book).messages[0]
    assert (message.send_at, message.value_minor) == (datetime(2026, 3, 5, 10, 0, tzinfo=UTC), 900)
    near = decide(case(book, BIG, who=customer(timezone="Asia/Tokyo")), book).messages[0]
    assert near.send_at == datetime(2026, 3, 5, 1, 0, tzinfo=UTC)
    assert hour_weights(case(playbook()), playbook()) is None
    assert max(preferring(3)) == preferring(3)[3]


def test_hours_are_drawn_as_often_as_logged() -> None:
    """Over many seeds: with probability 0.5 any of 24 hours, else the best; the slot's share goes with the message."""
    book = playbook("exploration: {hours: 0.5}\n")
    scores = {"purchase": score(0.1), "send_time": timed(18)}
    drawn: Counter[datetime] = Counter()
    for n in range(600):
        decision = decide(case(book, BIG, scores=scores, seed=f"{n:x}"), book)
        message, draw = decision.messages[0], decision.draws[0]
        drawn[message.send_at] += 1
        assert message.campaign == "big"
        assert sum(draw.probabilities.values()) == pytest.approx(1)
        assert message.action_probability == draw.probabilities[draw.chosen]
        assert message.slot_probability == pytest.approx(message.action_probability)
    assert len(draw.probabilities) == len(drawn) == 24
    best = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
    assert draw.probabilities[f"big|email||{best.isoformat()}"] == pytest.approx(0.5 + 0.5 / 24)
    assert drawn[best] / 600 == pytest.approx(0.5 + 0.5 / 24, abs=0.07)
    assert decision.nothing_probability == 0.0


def test_hours_and_actions_explored_together_are_one_draw() -> None:
    """rate x even over all actions and nothing, else the best message's hours; the slot's share is within it."""
    book = playbook("exploration: {rate: 0.3, hours: 0.5}\n")
    seen = 0
    for n in range(200):
        decision = decide(case(book, BIG, scores={"purchase": score(0.1)}, seed=f"{n:x}"), book)
        draw = decision.draws[0]
        assert sum(draw.probabilities.values()) == pytest.approx(1)
        assert len(draw.probabilities) == 2 * 24 + 1
        for message in decision.messages:
            mine = sum(p for key, p in draw.probabilities.items() if key.startswith(f"{message.campaign}|"))
            assert message.slot_probability == pytest.approx(message.action_probability / mine)
            seen += message.campaign == "small"
    assert seen > 0


def test_test_customers_get_no_random_hour() -> None:
    """Nor a slot probability."""
    book = playbook("exploration: {hours: 1.0}\n")
    message = decide(case(book, BIG, who=customer(is_test=True)), book).messages[0]
    assert (message.send_at, message.slot_probability) == (NOW, None)


def test_a_drawn_hour_is_told_with_the_send_unless_it_slipped() -> None:
    """`Message Sent` carries the probability when the message left on time; later it was not the hour drawn."""
    book = playbook("exploration: {hours: 1.0}\n")
    given_case = case(book, BIG)
    decision = decide(given_case, book)
    booked = record.send_of(decision, decision.messages[0], given_case)
    at = booked.send_at + timedelta(minutes=5)
    on_time = sent_event(booked, at, at)
    late = sent_event(booked, at + timedelta(hours=2), at + timedelta(hours=2))
    assert on_time.properties["slot_probability"] == pytest.approx(1 / 24)
    assert "slot_probability" not in late.properties
