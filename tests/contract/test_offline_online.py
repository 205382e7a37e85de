"""Offline equals online: DuckDB over archive and tail gives what finalise gives, at every instant, for everybody."""

import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.features.naive import NOON, assert_same, event, events, recount

from opportune.adapters.duckdb_offline import DuckDbOffline
from opportune.adapters.parquet_archive import ParquetArchive
from opportune.domain.customers import Claim
from opportune.domain.events import Event, Origin
from opportune.domain.identity import customer_id_of, resolve
from opportune.features.catalog import NAMES
from opportune.features.state import finalise, rebuild

DATA = Path(os.environ.get("OPPORTUNE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
OWNERS = (("c1", None), ("c2", None), (None, "x"), (None, "y"))
KEYS = ("u:c1", "u:c2", "a:x", "a:y")


def pairs_of(log: list[Event]) -> list[tuple[Event, str]]:
    """Events with the customer each belongs to when nobody was ever merged."""
    return [(e, customer_id_of(e.id_key)) for e in log]


def frame(asked: list[tuple[str, datetime]]) -> pd.DataFrame:
    """Rows to ask for, in the shape of the port."""
    return pd.DataFrame({"customer_id": [c for c, _ in asked], "at": pd.to_datetime([a for _, a in asked], utc=True)})


def claims() -> st.SearchStrategy[list[Claim]]:
    """Links and aliases among four keys, happened and known at various instants of the last 60 days."""
    one = st.tuples(st.sampled_from(KEYS), st.sampled_from(KEYS[:2]), st.integers(0, 60 * 24), st.integers(0, 30 * 24))
    return st.lists(one, max_size=4).map(
        lambda drawn: [
            Claim(
                message_id=f"claim{i}",
                from_key=source,
                into_key=target,
                is_alias=source.startswith("u:"),
                event_at=NOON - timedelta(hours=ago),
                known_at=NOON - timedelta(hours=ago) + timedelta(hours=lag),
            )
            for i, (source, target, ago, lag) in enumerate(drawn)
            if source != target
        ]
    )


@given(events(OWNERS, late=True), claims(), st.lists(st.integers(0, 120 * 24 * 60), min_size=1, max_size=4), st.data())
@settings(max_examples=15, deadline=None)
def test_offline_equals_a_recount_with_late_events_and_merges(
    log: list[Event], merges: list[Claim], minutes_ago: list[int], data: st.DataObject
) -> None:
    """Any split into archive and tail, any overlap, any lateness, any merges: every value equals the naive recount."""
    instants = [NOON + timedelta(days=40) - timedelta(minutes=m) for m in minutes_ago]
    people = [customer_id_of(key) for key in KEYS]
    asked = [(c, at) for at in instants for c in people]
    final = resolve(merges)
    owned = [(e, customer_id_of(final.get(e.id_key, e.id_key))) for e in log]
    cut = data.draw(st.integers(0, len(log)))
    overlap = data.draw(st.integers(0, cut))
    with TemporaryDirectory() as folder:
        archive = ParquetArchive(Path(folder))
        archive.append(pairs_of(log[: cut // 2]), "one")  # archived before the merges were known
        archive.append(owned[cut // 2 : cut], "two")
        found = DuckDbOffline(Path(folder)).as_of(frame(asked), owned[overlap:], merges)
    for i, (customer_id, at) in enumerate(asked):
        roots = resolve(c for c in merges if c.known_at <= at)
        mine = [e for e in log if customer_id_of(roots.get(e.id_key, e.id_key)) == customer_id]
        expected = recount(mine, at)
        assert_same(found.iloc[i], expected)
        known = [e for e in mine if e.event_at <= at and e.known_at <= at]
        assert_same(finalise(rebuild(known), at), expected)


def test_values_as_of_an_instant_do_not_change_when_later_known_events_arrive(tmp_path: Path) -> None:
    """An event that happened before T but became known after T is not in the values as of T, however it is stored."""
    log = [event("m1", "Order Completed", NOON - timedelta(days=3), revenue=10)]
    rows = frame([("c1", NOON)])
    offline = DuckDbOffline(tmp_path)
    before = offline.as_of(rows, pairs_of(log), [])
    late = event("m2", "Order Completed", NOON - timedelta(days=1), known_at=NOON + timedelta(hours=1), revenue=99)
    after = offline.as_of(rows, pairs_of([*log, late]), [])
    ParquetArchive(tmp_path).append(pairs_of([*log, late]), "cursor")
    archived = offline.as_of(rows, [], [])
    pd.testing.assert_frame_equal(before, after)
    pd.testing.assert_frame_equal(before, archived)
    assert offline.as_of(frame([("c1", NOON + timedelta(hours=2))]), [], []).loc[0, "orders_n_30d"] == 2


def test_imported_history_counts_from_its_own_time(tmp_path: Path) -> None:
    """An import that came today is known when it happened: it is usable for training as of last year."""
    old = NOON - timedelta(days=365)
    imported = event("m", "Order Completed", old, origin=Origin.IMPORT, revenue=7)
    found = DuckDbOffline(tmp_path).as_of(
        frame([("c1", old), ("c1", old - timedelta(seconds=1))]), pairs_of([imported]), []
    )
    assert list(found["orders_n_all"]) == [1, 0]


def test_rows_keep_their_order_and_index_and_unknown_customers_have_no_history(tmp_path: Path) -> None:
    """As many rows come back as were asked, in the same order, repeated ones too; a stranger has zeros and nulls."""
    log = [event(f"m{i}", "Order Completed", NOON - timedelta(days=i), user=f"c{i % 7}", revenue=i) for i in range(30)]
    asked = [(f"c{i % 9}", NOON - timedelta(days=i % 4)) for i in range(40)]
    rows = frame(asked).set_index(pd.Index(range(100, 140)))
    found = DuckDbOffline(tmp_path).as_of(rows, pairs_of(log), [])
    assert list(found.index) == list(rows.index)
    assert list(found["customer_id"]) == [c for c, _ in asked]
    assert list(found.columns) == ["customer_id", "at", *NAMES]
    assert pd.isna(found.iloc[8]["last_order_age_days"])
    assert DuckDbOffline(tmp_path).as_of(rows.iloc[:0], pairs_of(log), []).empty


def test_naive_instants_are_refused(tmp_path: Path) -> None:
    """`at` without a zone is an error, not a guess."""
    rows = pd.DataFrame({"customer_id": ["c"], "at": [datetime(2026, 1, 1)]})  # noqa: DTZ001
    with pytest.raises(ValueError, match="aware"):
        DuckDbOffline(tmp_path).as_of(rows, [], [])


def test_appending_the_same_cursor_again_changes_nothing(tmp_path: Path) -> None:
    """The archive is idempotent per cursor, and a cut-off append is finished by appending again."""
    archive = ParquetArchive(tmp_path)
    pairs = pairs_of([event(f"m{i}", "Page Viewed", NOON, user=f"c{i}") for i in range(50)])

    def listing() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in (tmp_path / "archive").rglob("*") if p.is_file()}

    archive.append(pairs, "cursor")
    first = listing()
    archive.append(pairs, "cursor")
    assert listing() == first
    Path(next(iter(first))).unlink()
    archive.append(pairs, "cursor")
    assert listing() == first
    assert all(path.endswith(".parquet") for path in first)


@pytest.fixture(scope="module")
def retail() -> list[tuple[Event, str]]:
    """Orders, refunds and carts of the real retail file: one event per invoice, one per line of a sample of them."""
    path = DATA / "online_retail_dev.parquet"
    if not path.exists():
        pytest.skip(f"no {path.name} in OPPORTUNE_TEST_DATA: the real data is not here")
    lines = pd.read_parquet(path)
    lines = lines[lines["CustomerID"].astype(int) % 6 == 0].copy()  # 400 customers are enough, and quick
    lines["InvoiceDate"] = pd.to_datetime(lines["InvoiceDate"]).dt.tz_localize("UTC")
    lines["amount"] = (lines["Quantity"] * lines["UnitPrice"]).abs()
    pairs: list[tuple[Event, str]] = []
    by_invoice: Any = lines.groupby(["InvoiceNo", "CustomerID"], sort=True)
    for (invoice, customer), group in by_invoice:
        user, at = str(int(customer)), group["InvoiceDate"].iloc[0].to_pydatetime()
        name = "Order Refunded" if str(invoice).startswith("C") else "Order Completed"
        total = round(float(group["amount"].sum()), 2)
        pairs.append((event(f"r:{invoice}:{user}", name, at, user, origin=Origin.IMPORT, total=total), user))
        for i, line in enumerate(group.head(3).itertuples()):
            added = at - timedelta(minutes=5) if i else at + timedelta(hours=1)
            properties = {"product_id": str(line.StockCode), "price": line.UnitPrice, "quantity": abs(line.Quantity)}
            name = "Product Viewed" if i == 2 else "Product Added"
            pairs.append(
                (event(f"l:{invoice}:{user}:{i}", name, added, user, origin=Origin.IMPORT, **properties), user)
            )
    return pairs


@pytest.mark.data
def test_500_retail_customers_and_instants_are_served_as_they_were_trained(
    retail: list[tuple[Event, str]], tmp_path: Path
) -> None:
    """For 500 random (customer, instant) pairs of the real file the online values equal the offline ones."""
    rng = random.Random(20261101)
    logs: dict[str, list[Event]] = {}
    for e, customer_id in retail:
        logs.setdefault(customer_id, []).append(e)
    start = datetime(2010, 12, 1, tzinfo=UTC)
    moments: list[Callable[[str], datetime]] = [
        lambda _: start + timedelta(seconds=rng.randrange(300 * 86_400)),
        lambda c: rng.choice(logs[c]).event_at,  # exactly at an event
    ]
    asked = [(c := rng.choice(sorted(logs)), rng.choice(moments)(c)) for _ in range(500)]
    archive = ParquetArchive(tmp_path)
    half = len(retail) // 2
    archive.append(retail[:half], "first")
    found = DuckDbOffline(tmp_path).as_of(frame(asked), retail[half - 100 :], [])
    for i, (customer_id, at) in enumerate(asked):
        state = rebuild(e for e in logs[customer_id] if e.event_at <= at)
        assert_same(found.iloc[i], finalise(state, at))
    assert (found["cart_items_n"] > 0).any()
