"""`python -m benchmarks.timers`: how fast due timers come off the queue, and how long a sweep of all customers takes.

On SQLite and PostgreSQL, each in a database of its own: `--pending` timers wait, `--due` of them come due at once and
are claimed and finished (deciding apart); then `--customers` with a birthday and a last visit are swept for a date and
an inactivity trigger, with the memory the process grew by.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benchmarks.stores import fresh_database
from opportune.adapters.memory_features import MemoryFeatures
from opportune.adapters.sql_ledger import SqlLedger
from opportune.adapters.system_clock import FixedClock
from opportune.domain.customers import Customer
from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.timers import Timer, TimerFate
from opportune.flows.desk import Desk
from opportune.flows.scoring import Scorer
from opportune.flows.sweep import sweep
from opportune.playbook.load import load_files
from opportune.ports import Ledger, ModelFiles

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ZONES = ("Europe/London", "America/New_York", "Asia/Kolkata", None)
PLAYBOOK = b"""
topics: {t: {}}
activity: [Page Viewed]
triggers:
  birthday: {date: traits.birthday, every: year}
  miss_you: {inactive_for: 30d}
campaigns:
  a: {trigger: birthday, topic: t, channels: [inapp], content: {inapp: {body: x}}}
  b: {trigger: miss_you, topic: t, channels: [inapp], content: {inapp: {body: x}}}
"""


class NoModels:
    """Nothing was trained: these triggers read no score."""

    def stamp(self, name: str) -> str | None:
        """Null: none."""
        return None

    def load(self, name: str) -> ModelFiles:
        """Raises FileNotFoundError."""
        raise FileNotFoundError(name)


def chunks(n: int, size: int = 10_000) -> Iterator[range]:
    """Ranges that make up 0..n."""
    for start in range(0, n, size):
        yield range(start, min(n, start + size))


def timed(work: Callable[[], int]) -> tuple[float, int]:
    """How many seconds one call takes, and what it gives."""
    before = time.perf_counter()
    found = work()
    return time.perf_counter() - before, found


def fill(ledger: Ledger, n_pending: int, n_due: int) -> None:
    """Timers of as many customers: the first `n_due` are due, the rest wait."""
    for part in chunks(n_pending):
        timers = [
            Timer(
                rule="miss_you", customer_id=f"c{i:08}", key="", set_at=NOW, set_by=f"m{i}",
                due_at=NOW - timedelta(seconds=1) if i < n_due else NOW + timedelta(days=1, seconds=i % 86_400),
            )
            for i in part
        ]  # fmt: skip
        with ledger.begin() as uow:
            uow.timers.arm(timers)


def take_off(ledger: Ledger, batch: int) -> int:
    """Claim and finish until nothing is due; how many."""
    n = 0
    while True:
        with ledger.begin() as uow:
            due = uow.timers.claim(NOW, batch, NOW + timedelta(minutes=1), "bench")
            uow.timers.finish(due, TimerFate.FIRED, NOW)
        if not due:
            return n
        n += len(due)


def people(part: Sequence[int]) -> tuple[list[Customer], list[tuple[Event, str]]]:
    """Customers with a birthday, a zone and one visit each."""
    customers, events = [], []
    for i in part:
        at = NOW - timedelta(days=i % 60, minutes=i % 1440)
        born = date(1960, 1, 1) + timedelta(days=i * 7 % 16_000)
        zone = ZONES[i % len(ZONES)]
        traits = {"birthday": born.isoformat(), **({"timezone": zone} if zone else {})}
        name = f"c{i:08}"
        customers.append(Customer(customer_id=name, traits=traits, first_seen_at=at, last_seen_at=at))
        event = Event(
            message_id=f"e{i}", kind=EventKind.PAGE, name="Page Viewed", user_id=name, anonymous_id=None,
            original_at=at, sent_at=at, received_at=at, event_at=at, known_at=at, ingested_at=at, origin=Origin.LIVE,
        )  # fmt: skip
        events.append((event, name))
    return customers, events


def settle(ledger: Ledger, n_customers: int) -> None:
    """Store them."""
    for part in chunks(n_customers, 500):
        customers, events = people(part)
        with ledger.begin() as uow:
            uow.customers.put(customers)
            uow.events.append(events)


def swept(ledger: Ledger) -> int:
    """Sweep all; how many customers."""
    desk = Desk(
        ledger=ledger, features=MemoryFeatures(), scorer=Scorer(NoModels(), ()), playbook=load_files({"p": PLAYBOOK}),
        clock=FixedClock(NOW), secret=b"bench", code_version="bench", new_id=lambda: "d",
    )  # fmt: skip
    n = 0
    while done := sweep(desk, "bench"):
        n += done
    return n - 1  # the last chunk is empty and counts as one


def peak_mb() -> float:
    """The most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str, url: str, args: argparse.Namespace) -> None:
    """One database, two lines."""
    ledger = SqlLedger(url)
    fill(ledger, args.pending, args.due)
    took_s, n_taken = timed(lambda: take_off(ledger, args.batch))
    assert n_taken == args.due, n_taken
    print(f"{name:<12}{args.pending:>10,} pending  {args.due:>8,} taken off   {args.due / took_s:>10,.0f} timers/s")
    ledger.close()


def measure_sweep(name: str, url: str, args: argparse.Namespace) -> None:
    """One database: fill with customers, sweep once."""
    ledger = SqlLedger(url)
    settle(ledger, args.customers)
    before_mb = peak_mb()
    took_s, n_swept = timed(lambda: swept(ledger))
    assert n_swept == args.customers, n_swept
    with ledger.read() as uow:
        n_set = uow.timers.pending()
    print(
        f"{name:<12}{args.customers:>10,} customers swept in {took_s:>7.1f} s  {args.customers / took_s:>8,.0f}/s  "
        f"{n_set:>9,} timers set  memory +{peak_mb() - before_mb:.0f} MB"
    )
    ledger.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pending", type=int, default=1_000_000)
    parser.add_argument("--due", type=int, default=60_000)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=1000)
    args = parser.parse_args()
    for work in (measure, measure_sweep):
        with tempfile.TemporaryDirectory() as folder:
            work("SQLite", f"sqlite:///{Path(folder) / 'ledger.db'}", args)
        with fresh_database() as url:
            if url is not None:
                work("PostgreSQL", url, args)


if __name__ == "__main__":
    main()
