"""Reading, rebuilding and compacting features: `python -m benchmarks.features_operate [customers] [events each]`.

Online reads are measured against the stock SDK in the same run, on every store that is reachable.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from benchmarks.stores import fresh_database, redis_database
from opportune.adapters.feast_features import FeastFeatures
from opportune.adapters.parquet_archive import ParquetArchive
from opportune.adapters.sql_ledger import SqlLedger
from opportune.adapters.system_clock import WallClock
from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.instants import to_us
from opportune.domain.states import StateRow
from opportune.features.catalog import NAMES
from opportune.features.state import finalise, unpack
from opportune.flows.ingest import ingest
from opportune.flows.publish import archive_events, compact_archive
from opportune.flows.rebuild import rebuild
from opportune.playbook.load import load


def best(work: Callable[[], object], times: int) -> float:
    """Seconds of the fastest of a few runs."""
    took = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return min(took)


def history(n_customers: int, n_each: int) -> list[Event]:
    """Events of the last 90 days, the same at every run but for when it is."""
    draw, now = random.Random(3), datetime.now(UTC)
    found = []
    for i in range(n_customers * n_each):
        at = now - timedelta(seconds=draw.randrange(60, 90 * 86_400))
        name = draw.choice(("Product Viewed", "Product Added", "Order Completed", "Page Viewed"))
        found.append(
            Event(
                message_id=f"m{i}",
                kind=EventKind.TRACK,
                name=name,
                user_id=f"c{i % n_customers}",
                anonymous_id=None,
                original_at=at,
                sent_at=at,
                received_at=at,
                event_at=at,
                known_at=at,
                ingested_at=at,
                origin=Origin.LIVE,
                properties={"product_id": f"p{i % 50}", "price": 9.5, "revenue": i % 90},
            )
        )
    return found


def compare(name: str, store: FeastFeatures, rows: list[StateRow], now: datetime) -> None:
    """One store: writing through Feast, and reading finished values directly and by the stock SDK."""
    started = time.perf_counter()
    store.apply()
    applied = time.perf_counter() - started
    started = time.perf_counter()
    store.project(rows)
    print(f"{name}: apply {applied:.1f} s, write {len(rows) / (time.perf_counter() - started):,.0f} rows/s")
    view = [f"customer_features_now:{feature}" for feature in NAMES]

    def direct(ids: list[str]) -> object:
        return [finalise(unpack(row.state), now) for row in store.read(ids).values()]

    def stock(ids: list[str]) -> object:
        entities = [{"customer_id": c, "at_us": to_us(now)} for c in ids]
        return store.store().get_online_features(features=view, entity_rows=entities).to_dict()

    for n in (1, 100, 1000):
        asked = [row.customer_id for row in rows[:n]]
        mine, theirs = best(partial(direct, asked), 7), best(partial(stock, asked), 3)
        words = f"direct {mine * 1e3:>8.2f} ms   stock SDK {theirs * 1e3:>9.2f} ms   {theirs / mine:>6.1f}x"
        print(f"  {len(asked):>5} customers  {words}")
    store.close()


def main(n_customers: int = 1000, n_each: int = 20) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        ledger, clock, archive = SqlLedger(f"sqlite:///{home}/ledger.db"), WallClock(), ParquetArchive(home)
        events, playbook = history(n_customers, n_each), load(None)
        took = 0.0
        for at in range(0, len(events), 5000):
            started = time.perf_counter()
            ingest(events[at : at + 5000], [], ledger, playbook, clock)
            took += time.perf_counter() - started
            archive_events(ledger, archive, clock, "bench")
        print(f"ingest                     {len(events) / took:>10,.0f} events/s")
        started = time.perf_counter()
        done = compact_archive(ledger, archive, clock, "bench")
        took = time.perf_counter() - started
        files = f"{done['n_before']} files to {done['n_after']}"
        print(f"compact                    {done['n_events'] / took:>10,.0f} events/s, {files}")
        started = time.perf_counter()
        n = rebuild(ledger, archive, clock).n_customers
        took = time.perf_counter() - started
        print(f"rebuild                    {n / took:>10,.0f} customers/s, {n_each} events each")
        with ledger.read() as uow:
            ids = uow.customers.all_ids("", 1000)
            rows = list(uow.states.get(ids).values())
        with redis_database() as redis, fresh_database() as database:
            stores = [("sqlite", FeastFeatures(home))]
            if redis:
                stores.append(("redis", FeastFeatures(home, redis.url)))
            if database:
                stores.append(("postgres", FeastFeatures(home, database_url=database, online="postgres")))
            for name, store in stores:
                compare(name, store, rows, clock.now())
        ledger.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
