"""Quiet hours: exact in every zone, through every clock change, and strict where the zone is unknown."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.decision.quiet import compile_quiet
from opportune.decision.zones import ASSUMED, calendar_zone, zone_of, zones_of
from opportune.domain.customers import Customer
from opportune.domain.instants import from_us, to_us
from opportune.playbook.reach import QuietHours

CHANGES = {
    "Europe/London": (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "America/Havana": (datetime(2026, 3, 8, 5, tzinfo=UTC), datetime(2026, 11, 1, 5, tzinfo=UTC)),
    "Australia/Lord_Howe": (datetime(2026, 4, 4, 15, tzinfo=UTC), datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    "Pacific/Apia": (datetime(2011, 12, 30, 10, tzinfo=UTC), datetime(2011, 12, 30, 10, tzinfo=UTC)),
    "Asia/Kathmandu": (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)),
}
MINUTE_US = 60_000_000


def naive_quiet(us: int, start: time, end: time, zone) -> bool:
    clock = from_us(us).astimezone(zone).time()
    return start <= clock < end if start < end else clock >= start or clock < end


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([(name, at) for name, changes in CHANGES.items() for at in changes]),
    st.integers(-36 * 60, 12 * 60),
    st.integers(0, 95),
    st.integers(1, 95),
)
def test_quiet_hours_end_at_the_first_minute_whose_wall_clock_is_open(place, minutes, start_quarter, length):
    """Stepping minute by minute over a clock change finds the same opening, in a skipped or doubled hour too."""
    name, change = place
    zone = ZoneInfo(name)
    start_m, end_m = start_quarter * 15, (start_quarter + length) % 96 * 15
    start, end = time(start_m // 60, start_m % 60), time(end_m // 60, end_m % 60)
    at = to_us(change) + minutes * MINUTE_US
    expected = at
    while naive_quiet(expected, start, end, zone):
        expected += MINUTE_US
    assert compile_quiet(QuietHours(start=start, end=end)).opens_at(at, (zone,)) == expected


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1439), st.integers(0, 95), st.integers(1, 95))
def test_without_a_zone_no_place_is_woken(minute, start_quarter, length):
    """The opening is the first minute that is quiet nowhere between UTC-8 and UTC+3, or there is none at all."""
    start_m, end_m = start_quarter * 15, (start_quarter + length) % 96 * 15
    start, end = time(start_m // 60, start_m % 60), time(end_m // 60, end_m % 60)
    at = to_us(datetime(2026, 3, 4, tzinfo=UTC)) + minute * MINUTE_US
    opens = compile_quiet(QuietHours(start=start, end=end)).opens_at(at, ASSUMED)
    tried = range(at, at + 1441 * MINUTE_US, 15 * MINUTE_US)
    if opens is None:
        assert all(any(naive_quiet(us, start, end, zone) for zone in ASSUMED) for us in tried)
    else:
        assert not any(naive_quiet(opens, start, end, zone) for zone in ASSUMED)
        assert all(any(naive_quiet(us, start, end, zone) for zone in ASSUMED) for us in tried if us < opens)


def test_an_end_inside_a_skipped_hour_is_the_clock_change_itself():
    """Quiet until 01:30 where 01:00 to 02:00 does not exist: it opens at the change."""
    change = datetime(2026, 3, 29, 1, tzinfo=UTC)
    rule = compile_quiet(QuietHours(start=time(22), end=time(1, 30)))
    assert rule.opens_at(to_us(change) - MINUTE_US, (ZoneInfo("Europe/London"),)) == to_us(change)


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", "America", "", None, "x" * 500])
def test_a_name_that_is_no_zone_is_an_unknown_zone(name):
    """A wrong zone never fails a decision: the strictest reading applies."""
    assert zone_of(name) is None
    assert zones_of(Customer(customer_id="c", traits={"timezone": name})) == ASSUMED


@pytest.mark.parametrize(
    ("country", "zone"), [("GB", "Europe/London"), ("united kingdom", "Europe/London"), ("de", "Europe/Berlin")]
)
def test_a_country_narrows_the_places(country, zone):
    """A country by code or name gives all its zones; the calendar stays UTC."""
    someone = Customer(customer_id="c", traits={"country": country})
    assert ZoneInfo(zone) in zones_of(someone)
    assert len(zones_of(someone)) <= 2
    assert calendar_zone(someone) is UTC


@pytest.mark.parametrize(("trait", "part"), [("region", "Asia"), ("continent", "asia "), ("region", "Australia")])
def test_a_part_of_the_world_narrows_the_places(trait, part):
    """Its zones and no others; under the default hours Asia keeps an opening, and wakes nobody there."""
    someone = Customer(customer_id="c", traits={trait: part, "country": "Atlantis"})
    names = {str(zone) for zone in zones_of(someone)}
    assert ("Asia/Tokyo" if "sia" in part else "Australia/Adelaide") in names
    assert {name.partition("/")[0] for name in names} == {part.strip().capitalize()}
    rule = compile_quiet(QuietHours(start=time(21), end=time(8)))
    opening = rule.opens_at(to_us(datetime(2026, 3, 4, 12, tzinfo=UTC)), zones_of(someone))
    assert opening is not None
    assert not any(naive_quiet(opening, time(21), time(8), zone) for zone in zones_of(someone))


def test_a_region_that_is_no_part_of_the_world_says_nothing():
    """Many call a state or a county their region."""
    assert zones_of(Customer(customer_id="c", traits={"region": "Bavaria"})) == ASSUMED


def test_an_unknown_country_says_nothing():
    """A name that is no country is as good as none."""
    assert zones_of(Customer(customer_id="c", traits={"country": "Atlantis"})) == ASSUMED
    assert zones_of(Customer(customer_id="c", traits={"country": 7})) == ASSUMED


def test_quiet_hours_bind_the_channels_they_name():
    """No channels named: all, marketing alone. Start equal to end: never quiet."""
    assert compile_quiet(QuietHours(start=time(0), end=time(1))).binds("email")
    assert not compile_quiet(QuietHours(start=time(0), end=time(1))).binds("email", "transactional")
    assert not compile_quiet(QuietHours(start=time(0), end=time(1), channels=("push",))).binds("email")
    assert compile_quiet(QuietHours(start=time(1), end=time(1))).opens_at(0, ASSUMED) == 0


def test_the_default_hours_leave_two_hours_to_unknown_zones():
    """21:00 to 08:00 over UTC-8 to UTC+3 is open from 16:00 to 18:00 UTC."""
    rule = compile_quiet(QuietHours(start=time(21), end=time(8)))
    noon = to_us(datetime(2026, 3, 4, 12, tzinfo=UTC))
    assert rule.opens_at(noon, ASSUMED) == noon + 4 * 60 * MINUTE_US
    assert rule.opens_at(noon + 6 * 60 * MINUTE_US, ASSUMED) == noon + timedelta(hours=28) // timedelta(microseconds=1)
