"""Training never sees what was not known: a planted leak is worth nothing, a later correction changes nothing."""

import random
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.desks import NOON
from tests.unit.features.naive import event
from tests.unit.learning.fakes import MemoryRunLog

from opportune.adapters.duckdb_offline import DuckDbOffline
from opportune.adapters.feast_features import FeastFeatures
from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.parquet_archive import ParquetArchive
from opportune.adapters.system_clock import FixedClock
from opportune.domain.customers import Claim
from opportune.domain.events import Event, EventKind
from opportune.features.catalog import FEATURES, NAMES
from opportune.features.state import finalise, rebuild
from opportune.flows.backfill import tail_of
from opportune.flows.ingest import ingest
from opportune.flows.publish import archive_events
from opportune.flows.train import train
from opportune.playbook.load import load_files
from opportune.ports import Ledger

DAY = timedelta(days=1)
PLAYBOOK = load_files({"playbook.yaml": b"goals: {order: {event: Order Completed, value: properties.revenue}}"})


def auc(reached: Any, score: Any) -> float:
    """Probability that one who reached it scores above one who did not, ties counting half."""
    ranks = pd.Series(score).rank().to_numpy()
    n = int(reached.sum())
    return float((ranks[reached].sum() - n * (n + 1) / 2) / (n * (len(ranks) - n)))


def leaky_shop(n_customers: int, days: int) -> list[Event]:
    """Orders come by chance alone, at one rate for all. Before each lie views, dated up to 25 days earlier, which
    nobody knows of until a minute after the order: whoever sorts by date alone sees the future in them."""
    draw = random.Random(4)
    found: list[Event] = []
    for c in range(n_customers):
        found.append(event(f"{c}-first", "Page Viewed", NOON - days * DAY, f"c{c}"))
        at = NOON - days * DAY
        while (at := at + timedelta(days=draw.expovariate(1 / 40))) < NOON:
            found.append(event(f"{c}-{at}", "Order Completed", at, f"c{c}", revenue=10))
            for i in range(3):
                seen_at = at - timedelta(days=draw.uniform(0, 25))
                views = event(f"{c}-{at}-{i}", "Product Viewed", seen_at, f"c{c}", known_at=at + timedelta(minutes=1))
                found.append(views)
    return found


class ByDateAlone:
    """Features as somebody would compute them who looks at when things happened and not at when they were known."""

    def __init__(self, events: list[Event]) -> None:
        self._of: dict[str, list[Event]] = {}
        for e in events:
            self._of.setdefault(e.user_id or "", []).append(e)

    def as_of(self, rows: Any, tail: object, claims: object, names: object = None) -> Any:
        """The rows with every feature."""
        values = [
            finalise(rebuild(e for e in self._of[c] if e.event_at <= at), at.to_pydatetime())
            for c, at in zip(rows["customer_id"], rows["at"], strict=True)
        ]
        return pd.concat([rows, pd.DataFrame(values, index=rows.index)], axis=1)

    training_set = as_of


def test_a_leak_that_is_there_by_date_is_worth_nothing_on_the_honest_path(tmp_path: Path) -> None:
    """Trained by date alone the planted views tell who will order; through our training they are a coin, and so is
    every single feature of the catalogue: AUC 0.5, and the gate refuses the model."""
    log = leaky_shop(320, 130)
    ledger, clock = MemoryLedger(), FixedClock(NOON)
    ingest(log[: len(log) // 2], [], ledger, PLAYBOOK, clock)
    archive_events(ledger, ParquetArchive(tmp_path), clock, "test")
    ingest(log[len(log) // 2 :], [], ledger, PLAYBOOK, clock)
    offline = Watched(tmp_path)
    parts: dict[str, Any] = {"ledger": ledger, "runlog": MemoryRunLog(), "clock": clock, "playbook": PLAYBOOK}
    peeking = train("purchase", None, offline=ByDateAlone(log), **parts)
    honest = train("purchase", None, offline=offline, **parts)
    assert peeking.metrics["auc"] > 0.75
    assert abs(honest.metrics["auc"] - 0.5) < 0.1, honest.metrics
    assert honest.verdict == "refused"
    ordered = {(e.user_id, e.event_at) for e in log if e.name == "Order Completed"}
    newest = offline.frame[offline.frame["at"] == offline.frame["at"].max()]
    at = newest["at"].iloc[0].to_pydatetime()
    soon = {c for c, when in ordered if at < when <= at + 30 * DAY}
    reached = newest["customer_id"].isin(soon).to_numpy()
    for f in FEATURES:
        if f.dtype in ("int", "float"):
            score = auc(reached, newest[f.name].astype(float).fillna(-1.0).to_numpy())
            assert abs(score - 0.5) < 0.15, (f.name, score)


class Watched(DuckDbOffline):
    """The real thing; keeps the last training set."""

    frame: Any = None

    def training_set(self, rows: Any, tail: Any, claims: Any, names: object = None) -> Any:
        """As the port says, but with every feature of the catalogue."""
        self.frame = super().training_set(rows, tail, claims)
        return self.frame


CUT = NOON - 10 * DAY
KNOWN = NOON - 2 * DAY
BEFORE = [
    event("a", "Order Completed", CUT - 9 * DAY, "c1", revenue=80),
    event("b", "Product Added", CUT - DAY, "c1", product_id="p", price=9, cart_id="k"),
    event("c", "Order Completed", CUT - 3 * DAY, None, "x", revenue=5),
]
#: Happened before the cut-off and is known only after it: a refund, a lost order, an unsubscribe, a link, a rename.
CORRECTIONS = [
    event("d", "Order Refunded", CUT - 8 * DAY, "c1", known_at=KNOWN, revenue=80),
    event("e", "Order Completed", CUT - 2 * DAY, "c2", known_at=KNOWN, revenue=7),
    event("f", "Unsubscribed", CUT - DAY, "c1", known_at=KNOWN),
    replace(event("g", "Identified", CUT - 2 * DAY, "c1", "x", known_at=KNOWN), kind=EventKind.IDENTIFY),
    replace(event("h", "Aliased", CUT - DAY, "c1", known_at=KNOWN), kind=EventKind.ALIAS, previous_id="c2"),
]


def known(ledger: Ledger) -> tuple[list[tuple[Event, str]], list[Claim]]:
    """What the archive lacks, and the claims."""
    with ledger.read() as uow:
        claims = uow.identities.all_claims()
        return tail_of(uow, None, claims), claims


def rows_at(*instants: datetime) -> pd.DataFrame:
    """Everybody at these instants."""
    asked = [(c, at) for at in instants for c in ("c1", "c2", "anon:x")]
    return pd.DataFrame({"customer_id": [c for c, _ in asked], "at": pd.to_datetime([a for _, a in asked], utc=True)})


@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")  # stock Feast calls ibis, which warns
@pytest.mark.parametrize("is_archived", [False, True])
def test_a_correction_known_later_leaves_earlier_training_rows_byte_for_byte(tmp_path: Path, is_archived: bool) -> None:
    """Refunds, lost orders and merges that came to light after the cut-off: the training set up to it is the same
    file, and so is what stock Feast joins from it; a row at a later cut-off sees them."""
    from feast import FeatureStore

    ledger, clock, archive = MemoryLedger(), FixedClock(NOON), ParquetArchive(tmp_path)
    offline, features = DuckDbOffline(tmp_path), FeastFeatures(tmp_path)
    features.serve_model("purchase/1", {"features": list(NAMES), "target": "order within 30 d"})
    stock = FeatureStore(repo_path=str(features.place.repo))
    source = tmp_path / "feast" / "offline" / "customer_features.parquet"

    def training_set() -> tuple[pd.DataFrame, bytes, pd.DataFrame]:
        frame = offline.training_set(rows_at(CUT - 5 * DAY, CUT, KNOWN - timedelta(microseconds=1)), *known(ledger))
        joined = stock.get_historical_features(
            entity_df=frame[["customer_id", "at"]].rename(columns={"at": "event_timestamp"}),
            features=stock.get_feature_service("purchase_v1_training"),
        ).to_df()
        ordered = joined.sort_values(["event_timestamp", "customer_id"]).reset_index(drop=True)
        return frame, source.read_bytes(), ordered

    ingest(BEFORE, [], ledger, PLAYBOOK, clock)
    was = training_set()
    later_was = offline.training_set(rows_at(KNOWN), *known(ledger))
    ingest(CORRECTIONS, [], ledger, PLAYBOOK, clock)
    if is_archived:
        archive_events(ledger, archive, clock, "test")
    now = training_set()
    pd.testing.assert_frame_equal(was[0], now[0], check_exact=True)
    assert was[1] == now[1]
    pd.testing.assert_frame_equal(was[2], now[2], check_exact=True)
    assert np.array_equal(now[2]["orders_n_all"], [0, 1, 0, 1, 1, 0, 1, 1, 0])
    later = offline.training_set(rows_at(KNOWN), *known(ledger))
    assert list(later_was["orders_n_all"]) == [1, 0, 1]
    assert list(later["orders_n_all"]) == [3, 0, 0]
