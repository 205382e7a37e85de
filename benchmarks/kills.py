"""`make bench-kills`: the worker is killed -9 fifty times during 100,000 timers and messages, on SQLite and PostgreSQL.

One row a database. Nothing may be lost, and nothing doubled: one firing, one decision, one send and one message id for
each timer. A worker killed between the courier and its commit has its messages handed over again under the same ids:
counted apart, at most what it had in hand. Exits 1 when that does not hold.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.e2e.kills import IN_HAND, Count, kill_workers

from benchmarks.stores import fresh_database

HEADS = ("database", "timers", "kills", "lost", "doubled", "handed over again", "at most", "seconds")
WIDTHS = (11, 8, 6, 5, 8, 18, 8, 8)


def row(*cells: object) -> None:
    """One row of the table."""
    shown = (f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells)
    print("  ".join(text.ljust(width) for text, width in zip(shown, WIDTHS, strict=True)).rstrip(), flush=True)


def tell(database: str, count: Count) -> bool:
    """Print a row; whether all is well."""
    most = count.n_kills * IN_HAND
    row(
        database,
        count.n_timers,
        count.n_kills,
        count.n_lost,
        count.n_doubled,
        count.n_again,
        most,
        f"{count.took_s:.0f}",
    )
    return count.is_well


def main() -> None:
    """Both databases, one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timers", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=50)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="opportune-kills-"))
    row(*HEADS)
    try:
        url = f"sqlite:///{folder / 'ledger.db'}"
        is_well = tell("SQLite", kill_workers(url, folder / "sqlite", options.timers, options.kills))
        with fresh_database() as postgres:
            if postgres:
                count = kill_workers(postgres, folder / "postgres", options.timers, options.kills)
                is_well &= tell("PostgreSQL", count)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("all is well" if is_well else "SOMETHING IS NOT WELL")
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
