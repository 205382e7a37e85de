"""Where a customer may be, and quiet hours there: exact through every clock change.

Quiet is a property of the wall clock: an instant is quiet when the local time of day lies in [start, end). Clock
changes need no rule of their own: an hour that comes twice is judged twice, a skipped one is never reached. With no
zone known an instant counts as quiet when it is quiet in ANY place the customer may be: the zones of the country, if
the trait `country` names one, those of the part of the world, if `region` or `continent` does, else every whole-hour
offset from UTC-8 to UTC+3 (decision record 0003).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from opportune.domain.customers import Customer
from opportune.domain.instants import DAY_US, from_us, to_us
from opportune.playbook.schema import QuietHours

#: Places a customer may be, never empty.
Zones = tuple[tzinfo, ...]

#: From the Pacific coast of America in winter to eastern Europe in summer.
ASSUMED: Zones = tuple(timezone(timedelta(hours=hours)) for hours in range(-8, 4))
#: Beyond this there is no opening: the places together are quiet around the clock.
_GIVE_UP_US = 3 * DAY_US
_ALSO_CALLED = {
    "united kingdom": "GB", "great britain": "GB", "uk": "GB", "usa": "US", "united states of america": "US",
    "eire": "IE", "republic of ireland": "IE", "the netherlands": "NL", "korea": "KR", "czechia": "CZ",
}  # fmt: skip
#: Parts of the world -> areas of the tz database, lower case.
_AREAS = {
    **{area: (area,) for area in ("africa", "america", "asia", "atlantic", "australia", "europe", "indian", "pacific")},
    "americas": ("america",), "north america": ("america",), "south america": ("america",),
    "latin america": ("america",), "oceania": ("australia", "pacific"),
}  # fmt: skip


@lru_cache(maxsize=1024)
def zone_of(name: str | None) -> ZoneInfo | None:
    """The zone of this IANA name; null when there is no name or no such zone."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def zones_of(customer: Customer) -> Zones:
    """The one zone of the customer, or all the places the customer may be."""
    zone = zone_of(customer.zone)
    if zone is not None:
        return (zone,)
    country = customer.traits.get("country")
    if isinstance(country, str) and (found := _country_zones(country.strip().casefold())):
        return found
    for trait in ("continent", "region"):
        part = customer.traits.get(trait)
        if isinstance(part, str) and (found := _area_zones(part.strip().casefold())):
            return found
    return ASSUMED


def calendar_zone(customer: Customer) -> tzinfo:
    """The zone that cuts calendar windows and tells local time: the customer's, UTC when unknown."""
    return zone_of(customer.zone) or UTC


def local_zone(customer: Customer) -> tzinfo:
    """The zone whose clocks tell a customer's days: their own, else the only one of their country, else UTC."""
    places = zones_of(customer)
    return places[0] if len(places) == 1 else UTC


@lru_cache(maxsize=512)
def _country_zones(country: str) -> Zones:
    """All zones of a country by ISO 3166 code or English name; none when it is not known."""
    places = resources.files("tzdata.zoneinfo")
    codes = dict(_ALSO_CALLED)
    for line in (places / "iso3166.tab").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            code, name = line.split("\t")[:2]
            codes[code.casefold()] = codes[name.casefold()] = code
    wanted = codes.get(country)
    return tuple(zone for code, name in _zone_table() if code == wanted and (zone := zone_of(name)) is not None)


@lru_cache(maxsize=64)
def _area_zones(part: str) -> Zones:
    """All zones of a part of the world; none when it is not known."""
    areas = _AREAS.get(part, ())
    names = [name for _, name in _zone_table() if name.partition("/")[0].casefold() in areas]
    return tuple(zone for name in names if (zone := zone_of(name)) is not None)


@lru_cache(maxsize=1)
def _zone_table() -> tuple[tuple[str, str], ...]:
    """(country code, zone name) of the tz database."""
    lines = (resources.files("tzdata.zoneinfo") / "zone.tab").read_text("utf-8").splitlines()
    return tuple((row[0], row[2]) for line in lines if line[:1] != "#" for row in [line.split("\t")])


@dataclass(frozen=True, slots=True)
class QuietRule:
    """Quiet hours, compiled: local seconds of the day, `start_s` quiet, `end_s` not; may cross midnight."""

    start_s: int
    end_s: int
    channels: tuple[str, ...] | None

    def binds(self, channel: str) -> bool:
        """True when the channel keeps these hours."""
        return self.start_s != self.end_s and (self.channels is None or channel in self.channels)

    def opens_at(self, at: int, zones: Zones) -> int | None:
        """The earliest instant >= `at` (us) that is quiet in none of these zones; null when none is near."""
        return _opens_everywhere(at, self.start_s, self.end_s, zones)


def compile_quiet(hours: QuietHours) -> QuietRule:
    """The rule of the declared quiet hours."""
    return QuietRule(_second_of(hours.start), _second_of(hours.end), hours.channels)


def _second_of(at: time) -> int:
    return at.hour * 3600 + at.minute * 60 + at.second


@lru_cache(maxsize=8192)  # all candidates of a decision, and all customers of a batch in one zone, ask the same
def _opens_everywhere(at: int, start_s: int, end_s: int, zones: Zones) -> int | None:
    opening, settled = at, False
    while not settled:
        settled = True
        for zone in zones:
            opens = _opens_at(opening, start_s, end_s, zone)
            if opens != opening:
                opening, settled = opens, False
        if opening - at > _GIVE_UP_US:
            return None
    return opening


def _is_quiet(second: int, start_s: int, end_s: int) -> bool:
    return start_s <= second < end_s if start_s < end_s else second >= start_s or second < end_s


def _opens_at(at: int, start_s: int, end_s: int, zone: tzinfo) -> int:
    if isinstance(zone, timezone):  # a fixed offset: plain arithmetic
        offset_us = zone.utcoffset(None) // timedelta(microseconds=1)
        local = (at + offset_us) % DAY_US
        if not _is_quiet(local // 1_000_000, start_s, end_s):
            return at
        return at + (end_s * 1_000_000 - local) % DAY_US
    local_at = from_us(at).astimezone(zone)
    if not is_quiet_at(local_at, start_s, end_s):
        return at
    return _next_end(at, local_at, start_s, end_s, zone)


def is_quiet_at(local_at: datetime, start_s: int, end_s: int) -> bool:
    """Whether a local wall-clock time lies in the quiet hours."""
    return _is_quiet(local_at.hour * 3600 + local_at.minute * 60 + local_at.second, start_s, end_s)


def _next_end(at: int, local_at: datetime, start_s: int, end_s: int, zone: tzinfo) -> int:
    """The first instant after a quiet `at` that is not quiet: an end of quiet hours, or a clock change out of them."""
    end = time(end_s // 3600, end_s % 3600 // 60, end_s % 60)
    walls = [datetime.combine(local_at.date() + timedelta(days=days), end, tzinfo=zone) for days in (0, 1, 2)]
    ends = sorted(to_us(wall.replace(fold=fold).astimezone(UTC)) for wall in walls for fold in (0, 1))
    opens = next(us for us in ends if us > at and not is_quiet_at(from_us(us).astimezone(zone), start_s, end_s))
    if from_us(opens).astimezone(zone).utcoffset() != local_at.utcoffset():
        change = _change_between(at, opens, zone)
        if not is_quiet_at(from_us(change).astimezone(zone), start_s, end_s):
            return change
    return opens


def _change_between(low: int, high: int, zone: tzinfo) -> int:
    """The instant of the clock change in (low, high], found by halving."""
    before = from_us(low).astimezone(zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if from_us(middle).astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high
