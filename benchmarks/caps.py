"""`python -m benchmarks.caps`: eight processes ask for 200 customers, one of them hot, for members of accounts that
share a cap, and for pairs that are merged meanwhile, on SQLite and on PostgreSQL. Exits 1 when any cap was exceeded, a
free place was not given, or anything failed."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.e2e.caps_load import Tally, attack

from benchmarks.stores import fresh_database

N_PROCESSES = 8


def main() -> None:
    """Attack both databases and print one row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=100_000, help="decisions asked for on each database")
    n_asks = max(1, parser.parse_args().attempts // N_PROCESSES)
    print(f"{'database':<12}{'asked':>9}{'granted':>9}{'merges':>8}{'asks/s':>9}{'wrong':>7}", flush=True)
    with tempfile.TemporaryDirectory(prefix="opportune-caps-") as folder, fresh_database() as postgres:
        urls = {"SQLite": f"sqlite:///{folder}/ledger.db", **({"PostgreSQL": postgres} if postgres else {})}
        found = [show(name, attack(url, Path(folder) / "playbook", N_PROCESSES, n_asks)) for name, url in urls.items()]
    sys.exit(0 if all(found) else 1)


def show(name: str, tally: Tally) -> bool:
    """One row, then what was wrong."""
    rate = tally.n_asked / tally.seconds
    wrong = len(tally.wrong)
    print(f"{name:<12}{tally.n_asked:>9,}{tally.n_granted:>9,}{tally.n_merged:>8}{rate:>9,.0f}{wrong:>7}", flush=True)
    for line in tally.wrong[:20]:
        print(f"  {line}")
    return not tally.wrong


if __name__ == "__main__":
    main()
