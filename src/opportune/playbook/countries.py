"""Countries as people write them: ISO 3166 codes and English names, and the groups a playbook may name."""

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

_ALSO_CALLED = {
    "united kingdom": "GB", "great britain": "GB", "uk": "GB", "usa": "US", "united states of america": "US",
    "eire": "IE", "republic of ireland": "IE", "the netherlands": "NL", "korea": "KR", "czechia": "CZ",
}  # fmt: skip
_EU = frozenset(
    {
        "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE",
        "IT", "LV", "LT", "LU", "MT", "NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE",
    }
)  # fmt: skip
#: Names of groups, the smallest first.
GROUPS: Mapping[str, frozenset[str]] = {"EU": _EU, "EEA": _EU | {"IS", "LI", "NO"}}


@lru_cache(maxsize=1)
def _codes() -> dict[str, str]:
    codes = dict(_ALSO_CALLED)
    table = (resources.files("tzdata.zoneinfo") / "iso3166.tab").read_text("utf-8")
    for line in table.splitlines():
        if line and not line.startswith("#"):
            code, name = line.split("\t")[:2]
            codes[code.casefold()] = codes[name.casefold()] = code
    return codes


def code_of(country: object) -> str | None:
    """The ISO 3166 code of a country given by code or English name; null when it is none that is known."""
    return _codes().get(country.strip().casefold()) if isinstance(country, str) else None


def country_of(traits: Mapping[str, Any]) -> str | None:
    """The code of the country the traits name: `country`, else `address.country`; null when neither is one."""
    found = code_of(traits.get("country"))
    if found is None and isinstance(address := traits.get("address"), Mapping):
        found = code_of(address.get("country"))
    return found
