"""The same envelopes, whatever the order they come in: the same features, identities and eligibility."""

import pytest
from benchmarks import arrival
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.adapters.memory_ledger import MemoryLedger
from opportune.domain.events import Event, EventKind
from opportune.domain.identity import claims_of, customer_id_of, resolve
from opportune.features.state import pack, rebuild

BOOK = arrival.playbook()
SHOP = 2_000
ORDERS = 5


def expected(log: list[Event]) -> tuple[dict[str, str], dict[str, str]]:
    """Identity and feature states straight from the definitions: all claims at once, then each one's events."""
    roots = resolve(claim for event in log for claim in claims_of(event))
    whose = {e.id_key: customer_id_of(roots.get(e.id_key, e.id_key)) for e in log}
    owned: dict[str, list[Event]] = {}
    for e in log:
        owned.setdefault(whose[e.id_key], []).append(e)
    return whose, {c: pack(rebuild(mine)).hex() for c, mine in owned.items()}


@pytest.mark.parametrize("half", [0, 1])
def test_50000_envelopes_in_five_orders_give_one_picture(half: int) -> None:
    """As received, and four times shuffled, duplicated and up to 48 h late: equal hashes, and what the definitions say.

    25 shops of 2,000 envelopes; merges, renamed users, shared browsers, refunds, opt-outs and carts in each.
    """
    seen = dict.fromkeys(("identity", "features", "consents", "timers"), 0)
    for shop in range(half, 25, 2):
        log = arrival.envelopes(SHOP, shop, n_each=80)
        pictures = [arrival.deliver(MemoryLedger(), log, BOOK, order) for order in range(ORDERS)]
        for got in pictures[1:]:
            assert got.hashes == pictures[0].hashes, differing(pictures[0], got)
        whose, states = expected(log)
        assert pictures[0].parts["identity"] == whose
        assert pictures[0].parts["features"] == states
        seen = {name: n + pictures[0].sizes[name] for name, n in seen.items()}
    assert min(seen.values()) > 150, seen  # there was something to compare


def differing(one: arrival.Picture, other: arrival.Picture) -> list[object]:
    """The first customer that differs in each part, for the message of a failing test."""
    found: list[object] = []
    for name, mine in one.parts.items():
        theirs = other.parts[name]
        odd = [c for c in sorted({*mine, *theirs}) if mine.get(c) != theirs.get(c)]
        found += [(name, c, mine.get(c), theirs.get(c)) for c in odd[:1]]
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 1_000), st.integers(4, 60))
def test_a_handful_of_people_who_share_everything_in_any_order(seed: int, order: int, n: int) -> None:
    """Two or three people, one browser after another, every envelope late: as in the order of receipt."""
    log = arrival.envelopes(n, seed)
    assert len({e.user_id for e in log if e.kind is not EventKind.PAGE}) <= 8
    as_received = arrival.deliver(MemoryLedger(), log, BOOK, 0)
    late = arrival.deliver(MemoryLedger(), log, BOOK, order)
    assert late.hashes == as_received.hashes, differing(as_received, late)


def test_the_benchmark_of_a_million_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m benchmarks.arrival` in memory and on SQLite at a small size: every line says `same`."""
    assert arrival.main(400, 2, 200, 400) == 0
    out = capsys.readouterr().out
    assert out.count(" same\n") == 4
    assert "DIFFERENT" not in out
