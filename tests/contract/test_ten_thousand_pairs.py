"""Online equals offline for 10,000 random customers and instants, on real orders and on a sample world."""

import os
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.contract.test_offline_online import frame
from tests.unit.features.naive import assert_same, event, recount

from opportune.adapters.duckdb_offline import DuckDbOffline
from opportune.adapters.parquet_archive import ParquetArchive
from opportune.domain.decisions import Value
from opportune.domain.events import Event, Origin
from opportune.domain.identity import customer_id_of
from opportune.features.catalog import FEATURES, NAMES
from opportune.features.state import empty, finalise, update
from opportune.world import World, WorldConfig

DATA = Path(os.environ.get("OPPORTUNE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
N_PAIRS = 10_000
#: What the real orders cannot show, for they are orders and nothing else: told by the sample world.
END = datetime(2026, 4, 2, 15, 30, tzinfo=UTC)
Log = list[tuple[Event, str]]
Asked = list[tuple[str, datetime]]


@pytest.fixture(scope="module")
def retail() -> Log:
    """Orders, refunds and carts of the real retail file: one event per invoice, one per line of a sample of them."""
    path = DATA / "online_retail_dev.parquet"
    if not path.exists():
        pytest.skip(f"no {path.name} in OPPORTUNE_TEST_DATA: the real data is not here")
    lines = pd.read_parquet(path)
    lines = lines[lines["CustomerID"].astype(int) % 6 == 0].copy()  # 400 customers are enough, and quick
    lines["InvoiceDate"] = pd.to_datetime(lines["InvoiceDate"]).dt.tz_localize("UTC")
    lines["amount"] = (lines["Quantity"] * lines["UnitPrice"]).abs()
    pairs: Log = []
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


@pytest.fixture(scope="module")
def world() -> Log:
    """A sample world of 60 days, and what does not happen in it: accounts, reviews, coupons, pushes, opt-outs."""
    told = World(WorldConfig(n_customers=150, n_days=60), seed=11, end=END).domain_events(ingested_at=END)
    pairs = [(e, customer_id_of(e.id_key)) for e in told]
    draw = random.Random(5)
    people = sorted({c for _, c in pairs if not c.startswith("anon:")})
    for i in range(1500):
        name, extra = draw.choice(EXTRAS)
        at, who = END - timedelta(seconds=draw.randrange(60 * 86_400)), draw.choice(people)
        origin = Origin.OWN if name in ("Message Sent", "Consent Changed") else Origin.IMPORT
        pairs.append((event(f"extra{i}", name, at, who, origin=origin, **extra), who))
    return pairs


EXTRAS: Sequence[tuple[str, dict[str, Any]]] = (
    ("Grouped", {"group": "g1", "traits": {"plan": "pro", "employees": 12, "createdAt": "2025-05-01T00:00:00Z"}}),
    ("Grouped", {"group": "g2"}),
    ("Product Reviewed", {}),
    ("Order Completed", {"total": 12.5, "coupon": "X", "category": "toys"}),
    ("Order Refunded", {"total": 12.5}),
    ("Message Sent", {"channel": "email", "email_id": "l1"}),
    ("Message Sent", {"channel": "push", "email_id": "l2"}),
    ("Message Sent", {"channel": "sms", "email_id": "l3"}),
    ("Email Opened", {"email_id": "l1"}),
    ("Email Opened", {"email_id": "l1", "is_machine": True}),
    ("Email Link Clicked", {"email_id": "l1"}),
    ("Push Notification Tapped", {}),
    ("Unsubscribed", {"channel": "sms"}),
    ("Email Bounced", {"bounce_type": "hard"}),
    ("Consent Changed", {"channel": "push", "topic": "*", "state": "out"}),
    ("Consent Changed", {"channel": "profiling", "topic": "*", "state": "out"}),
    ("Consent Changed", {"channel": "email", "topic": "*", "state": "in"}),
)


def by_customer(pairs: Log) -> dict[str, list[Event]]:
    """Each customer's log, in order."""
    logs: dict[str, list[Event]] = {}
    for e, customer_id in sorted(pairs, key=lambda pair: (pair[0].event_at, pair[0].message_id)):
        logs.setdefault(customer_id, []).append(e)
    return logs


def asked_of(logs: dict[str, list[Event]], seed: int) -> Asked:
    """Random customers at random instants, between events and exactly at them, before the first and after the last."""
    draw, people = random.Random(seed), sorted(logs)
    first, last = (pick(log[i].event_at for log in logs.values()) for pick, i in ((min, 0), (max, -1)))
    span_s = int((last - first).total_seconds()) + 20 * 86_400
    asked = []
    for _ in range(N_PAIRS):
        customer_id = draw.choice(people)
        at = first + timedelta(seconds=draw.randrange(-86_400, span_s))
        asked.append((customer_id, draw.choice(logs[customer_id]).event_at if draw.random() < 0.3 else at))
    return sorted(asked)


def online(logs: dict[str, list[Event]], asked: Asked) -> Iterator[dict[str, Value]]:
    """What is served: each customer's state carried along event by event, finished at every instant asked for."""
    before, state, n = "", empty(), 0
    for customer_id, at in asked:
        if customer_id != before:
            before, state, n = customer_id, empty(), 0
        log, start = logs[customer_id], n
        while n < len(log) and log[n].event_at <= at:
            n += 1
        if n > start:
            state = update(state, log[start:n])
        yield finalise(state, at)


def assert_columns_same(found: pd.DataFrame, served: list[dict[str, Value]], asked: Asked) -> set[str]:
    """Whole numbers, texts and truths alike; floats within 1e-9. Returns the features that said something somewhere."""
    told = set()
    for feature in FEATURES:
        mine, theirs = [values[feature.name] for values in served], found[feature.name]
        if feature.dtype in ("float", "vector"):
            blank = [np.nan] * feature.size if feature.dtype == "vector" else np.nan
            a = np.array([blank if v is None else v for v in mine], dtype=float)
            b = np.array(theirs.tolist(), dtype=float)
            assert (np.isnan(a) == np.isnan(b)).all(), feature.name
            worst = np.nanmax(np.abs(a - b) / np.maximum(1.0, np.abs(b)), initial=0.0)
            assert worst <= 1e-9, (feature.name, worst)
            is_told = np.nansum(np.abs(a)) > 0
        else:
            wrong = [i for i, (x, y) in enumerate(zip(mine, theirs.tolist(), strict=True)) if x != y]
            assert not wrong, (
                feature.name,
                mine[wrong[0]],
                theirs[wrong[0]],
                asked[wrong[0]],
            )
            is_told = any(mine)
        if is_told:
            told.add(feature.name)
    return told


def compare(pairs: Log, home: Path, seed: int) -> set[str]:
    """Online against offline, half of it archived; a naive recount of some; which features were seen at work."""
    logs = by_customer(pairs)
    asked = asked_of(logs, seed)
    half = len(pairs) // 2
    ParquetArchive(home).append(pairs[:half], "first")
    found = DuckDbOffline(home).as_of(frame(asked), pairs[half - 100 :], [])
    served = list(online(logs, asked))
    told = assert_columns_same(found, served, asked)
    for i in random.Random(seed).sample(range(N_PAIRS), 60):
        assert_same(served[i], recount(logs[asked[i][0]], asked[i][1]))
    return told


#: What only the sample world and its additions show: there is nothing but orders and carts in the real file.
NOT_IN_RETAIL = {
    name
    for name in NAMES
    if name.startswith(("emails_", "email_", "pushes_", "sms_", "sends_", "last_send", "letters_", "is_", "account_"))
    or "categor" in name
    or name in ("zone", "advocacy_n_all", "discount_share_365d")
} - {"is_weekend"}


@pytest.mark.data
def test_10000_retail_customers_and_instants_are_served_as_they_were_trained(retail: Log, tmp_path: Path) -> None:
    """On the real orders every feature they can show is the same online and offline, between events too."""
    assert compare(retail, tmp_path, 20261101) >= set(NAMES) - NOT_IN_RETAIL


def test_10000_customers_and_instants_of_a_sample_world_are_served_as_they_were_trained(
    world: Log, tmp_path: Path
) -> None:
    """Every feature of the catalogue is at work, and is the same online and offline."""
    assert compare(world, tmp_path, 7) == set(NAMES)
