"""The next days' messages: the past weekdays' mean, an honest interval, and never less than what is booked."""

from datetime import date, timedelta

import numpy as np
import pytest

from opportune.experiments.forecast import forecast

TODAY = date(2026, 3, 1)  # a Sunday
FIRST = TODAY - timedelta(days=56)


def test_each_day_is_told_from_its_own_weekdays_and_booked_messages_are_a_floor() -> None:
    """Ten on Mondays and none else; three booked for Tuesday raise it to three."""
    sent = {
        ("email", TODAY - timedelta(days=n)): 10 for n in range(1, 57) if (TODAY - timedelta(days=n)).weekday() == 0
    }
    tuesday = TODAY + timedelta(days=2)
    found = {(o.channel, o.on): o for o in forecast(sent, {("email", tuesday): 3}, FIRST, TODAY)}
    monday = found["email", TODAY + timedelta(days=1)]
    assert monday.expected == 10
    assert monday.low is not None
    assert monday.high is not None
    assert monday.low < 10 < monday.high
    assert (found["email", tuesday].expected, found["email", tuesday].low, found["email", tuesday].booked) == (3, 3, 3)
    assert found["email", TODAY + timedelta(days=3)].expected == 0
    assert len(found) == 7


def test_without_a_week_of_history_nothing_is_claimed() -> None:
    """Only the weekdays that were seen have an expectation."""
    sent = {("push", TODAY - timedelta(days=1)): 4}
    found = forecast(sent, {}, TODAY - timedelta(days=2), TODAY)
    assert [o.expected is None for o in found] == [True, True, True, True, False, False, True]
    assert forecast({}, {}, TODAY, TODAY) == []


@pytest.mark.parametrize("spread", [0.0, 0.15])
def test_the_interval_covers_what_comes_as_often_as_it_says(spread: float) -> None:
    """Poisson days, and days that vary more: 95 % within a few points over 300 futures."""
    draw = np.random.default_rng(5)
    inside = n = 0
    for _ in range(300):
        rates = draw.uniform(5, 60, 7)

        def day(on: date, rates: np.ndarray = rates) -> int:  # type: ignore[type-arg]
            rate = rates[on.weekday()] * (draw.gamma(1 / spread, spread) if spread else 1.0)
            return int(draw.poisson(rate))

        sent = {("email", TODAY - timedelta(days=k)): day(TODAY - timedelta(days=k)) for k in range(1, 57)}
        for told in forecast(sent, {}, FIRST, TODAY):
            assert told.low is not None
            assert told.high is not None
            inside += told.low <= day(told.on) <= told.high
            n += 1
    assert 0.92 <= inside / n <= 0.99
