"""Where a customer may be.

With no zone known an instant counts as quiet when it is quiet in ANY place the customer may be: the zones of the
country, if the traits name one, those of the part of the world, if `region` or `continent` does, else every whole-hour
offset from UTC-8 to UTC+3 (decision record 0003).
"""

from datetime import UTC, timedelta, timezone, tzinfo
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from opportune.domain.customers import Customer
from opportune.playbook.countries import country_of

#: Places a customer may be, never empty.
Zones = tuple[tzinfo, ...]

#: From the Pacific coast of America in winter to eastern Europe in summer.
ASSUMED: Zones = tuple(timezone(timedelta(hours=hours)) for hours in range(-8, 4))
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
    country = country_of(customer.traits)
    if country is not None and (found := _country_zones(country)):
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
def _country_zones(wanted: str) -> Zones:
    """All zones of a country by ISO 3166 code; none when it has none."""
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
