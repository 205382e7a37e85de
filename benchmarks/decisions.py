"""`python -m benchmarks.decisions`: what deciding costs with the default playbook and with one of 50 campaigns, 10 caps
and 5 audiences, for one customer (median of many) and for everybody at once, as of now, on one core.

Everybody: scores of all models, the pipeline and the row with every removal's reason, SHAP not; beside it the same with
the features by DuckDB over the archive, whose cost is mostly fixed per bucket. CPU time is counted, so that other work
on the machine does not show. Memory is the peak of the process after a tenth of the customers and after all: it must
not grow with them.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from opportune.ports import OfflineFeatures

BIN = Path(sys.executable).parent
AUDIENCES = (
    "features.orders_n_90d >= 1",
    "features.views_n_7d > 3 and scores.purchase > 0.05",
    "traits.country == 'GB'",
    "features.last_order_age_days > 60 or scores.churn > 0.5",
    "features.cart_value >= 20",
)
CAPS = (
    "counts: {purpose: marketing}, at_most: 4, in: 7d",
    "counts: {purpose: marketing}, at_most: 1, in: calendar day",
    "counts: {purpose: marketing}, at_most: 12, in: 30d",
    "counts: {channel: email}, at_most: 2, in: 3d",
    "counts: {channel: push}, at_most: 2, in: 1d",
    "counts: {topic: topic0}, at_most: 1, in: 7d",
    "counts: {topic: topic1}, at_most: 2, in: calendar month",
    "counts: {tag: a}, at_least_apart: 20h",
    "counts: {tag: b}, at_most: 1, in: calendar week",
    "counts: {campaign: campaign3}, at_least_apart: 5d",
)
#: Features and customers of this many at a time, as the command does.
PAGE = 5000


def large_playbook() -> str:
    """50 campaigns on two channels each, on request; 10 caps; 5 audiences."""
    lines = ["currency: GBP", "goals: {order: {event: Order Completed, value_minor: 2500}}", "topics:"]
    lines += [f"  topic{i}: {{}}" for i in range(5)]
    lines += ["consent: {default: {'*': in}}", "quiet_hours: {start: '21:00', end: '08:00'}"]
    lines += ["triggers: {asked: {kind: request}}", "caps:"]
    lines += [f"  cap{i}: {{{cap}}}" for i, cap in enumerate(CAPS)]
    lines += ["campaigns:"]
    for i in range(50):
        first, second = ("email", "inapp") if i % 2 else ("email", "push")
        lines += [
            f"  campaign{i}:",
            f"    trigger: asked\n    topic: topic{i % 5}\n    channels: [{first}, {second}]\n    goal: order",
            f"    cost_minor: {i % 7}\n    lift: {0.05 + i / 500}\n    tags: [{'ab'[i % 2]}]\n    expires_after: 2d",
            f'    when: "{AUDIENCES[i % 5]}"\n    content:',
            f"      {first}: {{subject: 'Hello {{{{ traits.first_name | default: \"you\" }}}}', body: Text {i}}}",
            f"      {second}: {{body: Short {i}}}",
        ]
    return "\n".join(lines)


class Reading:
    """The offline features, with the CPU seconds their queries take: the same for any playbook, and ever less for each
    customer the more there are."""

    def __init__(self, offline: OfflineFeatures) -> None:
        self._offline = offline
        self.cpu_s = 0.0

    def as_of(self, *arguments: Any) -> Any:
        """Passed on, and timed."""
        before = time.process_time()
        try:
            return self._offline.as_of(*arguments)
        finally:
            self.cpu_s += time.process_time() - before

    def training_set(self, *arguments: Any) -> Any:
        """Passed on."""
        return self._offline.training_set(*arguments)


def peak_mb() -> float:
    """Most memory this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def prepare(home: Path, n_customers: int) -> None:
    """A home with a history and trained models."""
    from benchmarks.shop import write_shop

    shop = home.parent / "shop.jsonl"
    write_shop(shop, n_customers)
    environment = {**os.environ, "OPPORTUNE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    for arguments in (["ingest", str(shop), "--format", "segment"], ["train", "all"], ["work", "--once"]):
        done = subprocess.run([str(BIN / "opportune"), *arguments], env=environment, stdout=sys.stderr)
        if done.returncode not in (0, 3):
            raise SystemExit(f"opportune {arguments[0]} failed")


def measure(home: Path, playbook: str | None, page: int) -> Iterator[str]:
    """One customer, then everybody: the cells of one row. In a process of its own, for its memory."""
    from opportune.decision.pipeline import decide
    from opportune.flows.decide_all import decide_all
    from opportune.flows.publish import archive_events
    from opportune.settings import Settings
    from opportune.wiring import Installation

    given = {"home": home, **({"playbook": Path(playbook)} if playbook else {})}
    i = Installation(Settings().model_copy(update=given))
    archive_events(i.ledger, i.archive, i.clock, i.owner)
    desk, now = i.desk, i.clock.now()
    i.scorer.refresh()
    cases = []
    taken: list[float] = []

    def noted(case: object, *arguments: object) -> object:
        cases.append(case)
        return decide(case, *arguments)  # type: ignore[arg-type]

    import opportune.flows.decide_all as flow

    flow.choose = noted  # type: ignore[assignment]
    next(decide_all(now, desk, i.offline, page=200))
    flow.choose = decide
    for _ in range(5):
        for case in cases:
            before = time.perf_counter()
            decide(case, desk.playbook)  # type: ignore[arg-type]
            taken.append(time.perf_counter() - before)
    yield f"{median(taken) * 1e6:.0f}"
    reading = Reading(i.offline)
    cpu = time.process_time()
    n = n_messages = n_removed = 0
    early = 0.0
    for rows in decide_all(now, desk, reading, page=page):
        early = early or peak_mb()
        n += len(rows)
        n_messages += sum(row["n_messages"] for row in rows)
        n_removed += sum(row["removed"].count('"reason"') for row in rows)
    cpu = time.process_time() - cpu
    i.close()
    yield from (
        f"{n:,}",
        f"{n / (cpu - reading.cpu_s):,.0f}",
        f"{n / cpu:,.0f}",
        f"{n_messages / n:.2f}",
        f"{n_removed / n:.1f}",
        f"{early:.0f}",
        f"{peak_mb():.0f}",
    )


def main() -> None:
    """Prepare once, measure both playbooks, print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=5000)
    parser.add_argument("--page", type=int, default=0, help="customers at a time; 0: a tenth of all")
    parser.add_argument("--home", type=Path, default=None, help="a prepared home to use again")
    parser.add_argument("--one", nargs=2, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    page = options.page or min(PAGE, options.customers // 10)
    if options.one:
        print("\t".join(measure(options.home, options.one[0] or None, page)))
        return
    with tempfile.TemporaryDirectory(prefix="opportune-decisions-") as folder:
        home = options.home or Path(folder) / "home"
        if not home.exists():
            prepare(home, options.customers)
        large = Path(folder) / "large"
        large.mkdir()
        (large / "playbook.yaml").write_text(large_playbook())
        heads = (
            "one, us",
            "customers",
            "a s and core",
            "with features",
            "messages",
            "removed",
            "MB early",
            "MB at end",
        )
        print(f"{'playbook':<34}" + "".join(f"{head:>14}" for head in heads), flush=True)
        for name, path in (("default", ""), ("50 campaigns, 10 caps, 5 audiences", str(large))):
            command = [sys.executable, "-m", "benchmarks.decisions", "--home", str(home), "--page", str(page)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            told = subprocess.run([*command, "--one", path, ""], env=environment, stdout=subprocess.PIPE, check=True)
            print(
                f"{name:<34}" + "".join(f"{cell:>14}" for cell in told.stdout.decode().split("\t")).rstrip(), flush=True
            )


if __name__ == "__main__":
    main()
