"""Assignment is GrowthBook's, salted, even, independent between experiments and exclusive within a layer."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from tests.unit.decision.making import playbook

from opportune.experiments.assign import assign, hash_v2

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
UNITS = [sha256(f"unit {n}".encode()).hexdigest()[:24] for n in range(20_000)]
#: 99.9 % points of chi-square by degrees of freedom.
CHI2_999 = {1: 10.83, 2: 13.82, 3: 16.27}


def experiment(name: str, path: str = "campaigns.big.priority", more: str = "") -> str:
    return f"""
  {name}:
    variations:
      control: {{}}
      treatment: {{override: {{{path}: 9}}}}
    {more}
"""


def assigned(text: str, now: datetime = NOW) -> dict[str, dict[str, str]]:
    book = playbook(text)
    return {unit: assign(unit, now, False, {"features": {}, "traits": {}}, book) for unit in UNITS}


def chi_square(observed: Counter[object], expected: dict[object, float]) -> float:
    total = sum(observed.values())
    return sum((observed[key] - total * share) ** 2 / (total * share) for key, share in expected.items())


@pytest.mark.parametrize(
    ("seed", "value", "expected"),
    [
        ("seed", "a", 0.0505),
        ("seed", "b", 0.2696),
        ("foo", "ab", 0.2575),
        ("foo", "def", 0.2019),
        ("89123klj", "8952klfjas09ujkasdf", 0.124),
        ("90850943850283058242805", "123", 0.7516),
        ("()**(%$##$%#$#", '___)((*":&', 0.0128),
    ],
)
def test_the_hash_is_growthbooks_version_2(seed: str, value: str, expected: float) -> None:
    """The published cases of the SDK specification come out."""
    assert hash_v2(seed, value) == expected


def test_variations_get_the_declared_shares() -> None:
    """Weights 1, 2 and 1 of 20,000 units: no sample ratio mismatch at 0.1 %."""
    text = """
experiments:
  three:
    variations:
      a: {}
      b: {weight: 2, override: {campaigns.big.priority: 1}}
      c: {override: {campaigns.big.priority: 2}}
"""
    arms = Counter(found["three"] for found in assigned(text).values())
    assert chi_square(arms, {"a": 0.25, "b": 0.5, "c": 0.25}) < CHI2_999[2]


def test_experiments_are_independent_of_each_other_and_of_who_takes_part() -> None:
    """Two experiments cross evenly, and who takes part says nothing of the rest: chi-square of 2 x 2 tables."""
    text = "experiments:" + experiment("one") + experiment("two", "campaigns.small.priority", "share: 0.5")
    found = assigned(text)
    table = Counter((a["one"], a["two"]) for a in found.values() if "two" in a)
    assert (
        chi_square(table, {(x, y): 0.25 for x in ("control", "treatment") for y in ("control", "treatment")})
        < (CHI2_999[3])
    )
    takes_part = Counter(("two" in a, a["one"]) for a in found.values())
    even = {(part, arm): 0.25 for part in (True, False) for arm in ("control", "treatment")}
    assert chi_square(takes_part, even) < CHI2_999[3]


def test_one_layer_never_gives_a_customer_two_of_its_experiments() -> None:
    """Parts of a layer are disjoint; together they cover what they declare."""
    more = "layer: ranking\n    share: {part}"
    text = (
        "experiments:"
        + experiment("one", more=more.format(part="[0, 0.4]"))
        + experiment("two", more=more.format(part="[0.4, 1]"))
    )
    found = assigned(text)
    assert all(len(a) == 1 for a in found.values())
    assert chi_square(Counter(next(iter(a)) for a in found.values()), {"one": 0.4, "two": 0.6}) < CHI2_999[1]
    for name in ("one", "two"):
        arms = Counter(a[name] for a in found.values() if name in a)
        assert chi_square(arms, {"control": 0.5, "treatment": 0.5}) < CHI2_999[1]


def test_the_salt_decides_and_the_name_is_the_default() -> None:
    """The same salt gives the same split under another name; another salt another one."""
    same = assigned("experiments:" + experiment("one") + experiment("uno", "campaigns.small.priority", "salt: one"))
    assert all(a["one"] == a["uno"] for a in same.values())
    other = assigned("experiments:" + experiment("one", more="salt: other"))
    moved = sum(other[u]["one"] != same[u]["one"] for u in UNITS) / len(UNITS)
    assert 0.47 < moved < 0.53


def test_the_global_holdout_takes_part_in_nothing_else_and_its_share_holds() -> None:
    """Held units are in no experiment; everybody else is `open`; a campaign's own holdout is drawn apart."""
    text = "holdout: {share: 0.1}\nexperiments:" + experiment("one")
    found = assigned(text)
    held = [a for a in found.values() if a["global_holdout"] == "holdout"]
    assert all(a == {"global_holdout": "holdout"} for a in held)
    assert (
        chi_square(Counter(a["global_holdout"] for a in found.values()), {"holdout": 0.1, "open": 0.9}) < (CHI2_999[1])
    )
    arms = Counter(a["one"] for a in found.values() if "one" in a)
    assert chi_square(arms, {"control": 0.5, "treatment": 0.5}) < CHI2_999[1]


def test_dates_audience_and_test_customers_are_respected() -> None:
    """Nobody before the start or from the end on, nobody outside the audience, no test customer ever."""
    dated = "starts_at: 2026-03-01\n    ends_at: 2026-03-10\n    when: traits.country == 'GB'"
    book = playbook("holdout: {share: 0.5}\nexperiments:" + experiment("one", more=dated))
    open_unit = next(u for u in UNITS if hash_v2("holdout", u) >= 0.5)
    here = {"features": {}, "traits": {"country": "GB"}}
    assert "one" in assign(open_unit, NOW, False, here, book)
    for now, is_test, country in (
        (NOW - timedelta(days=30), False, "GB"),
        (datetime(2026, 3, 10, tzinfo=UTC), False, "GB"),
        (NOW, False, "IE"),
        (NOW, True, "GB"),
    ):
        env = {"features": {}, "traits": {"country": country}}
        assert "one" not in assign(open_unit, now, is_test, env, book)
    assert assign(open_unit, NOW, True, here, book) == {}
