"""Killing the worker again and again while it fires timers and hands messages over, and counting what is left.

What is promised: every timer fires once, every firing is decided once, every message is sent once. A hand-off is at
least once: a worker killed between the courier and its commit hands the same message over again, under the same
message id (the webhook id), and only what one worker had in hand at that moment.
"""

import random
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.e2e.mortal import work

from opportune.adapters.sql_ledger import SqlLedger
from opportune.domain.messages import SendState
from opportune.domain.timers import Timer
from opportune.ports import Ledger

#: A lease is a minute: each new worker comes when those of the last have run out.
AFTER_S = 61.0
#: Messages one worker has in hand at once.
IN_HAND = 100
PLAYBOOK = """
topics: {offers: {}}
consent: {default: {"*": in}}
triggers:
  greeted: {on: {event: Signed Up}, expires_after: 30d}
campaigns:
  hello:
    trigger: greeted
    topic: offers
    channels: [inapp]
    expires_after: 30d
    content: {inapp: {body: Hello}}
"""


@dataclass(frozen=True, slots=True)
class Count:
    """What is left after it. `n_again`: message ids handed over more than once; `n_lost`: timers or messages that
    never happened; `n_doubled`: firings, decisions, sends or messages beyond the one that should be."""

    n_timers: int
    n_kills: int
    n_lost: int
    n_doubled: int
    n_again: int
    took_s: float

    @property
    def is_well(self) -> bool:
        """Nothing lost, nothing doubled, and no more handed over again than workers had in hand when they died."""
        return not self.n_lost and not self.n_doubled and self.n_again <= self.n_kills * IN_HAND


def kill_workers(url: str, folder: Path, n_timers: int, n_kills: int, seed: int = 1) -> Count:
    """Arm the timers, work, kill, work on, until all is done; count. `folder`: for playbook and hand-offs."""
    (folder / "playbook").mkdir(parents=True)
    (folder / "playbook" / "playbook.yaml").write_text(PLAYBOOK)
    ledger = SqlLedger(url)
    _arm(ledger, n_timers)
    draw = random.Random(seed)
    kill_at = sorted(draw.sample(range(1, 2 * n_timers), n_kills))
    started = time.monotonic()
    for n, at in enumerate([*kill_at, 2 * n_timers]):
        worker = _start(url, folder, n)
        try:
            while _progress(ledger, folder, n_timers) < at or (n == n_kills and _waiting(ledger)):
                if not worker.is_alive():
                    raise RuntimeError(f"the worker ended by itself with code {worker.exitcode}")
                time.sleep(0.01 + draw.random() * 0.02)
        finally:
            worker.kill()
            worker.join()
    found = _count(ledger, folder, n_timers, n_kills, time.monotonic() - started)
    ledger.close()
    return found


def _start(url: str, folder: Path, n: int) -> BaseProcess:
    # Forked off a process that has imported everything: a worker is up at once, and dies as any other.
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.e2e.mortal"])
    worker = context.Process(target=work, args=(url, folder, n * AFTER_S), daemon=True)
    worker.start()
    return worker


def _arm(ledger: Ledger, n_timers: int) -> None:
    now = datetime.now(UTC)
    for start in range(0, n_timers, 5000):
        with ledger.begin() as uow:
            uow.timers.arm(
                [
                    Timer(
                        rule="greeted", customer_id=f"c{i:06}", key="", due_at=now, set_at=now, set_by=f"m{i}",
                        expires_at=now + timedelta(days=30),
                    )
                    for i in range(start, min(start + 5000, n_timers))
                ]
            )  # fmt: skip


def _handed(folder: Path) -> list[str]:
    record = folder / "handed"
    return record.read_text().split() if record.exists() else []


def _progress(ledger: Ledger, folder: Path, n_timers: int) -> int:
    """Timers fired and hand-offs recorded so far."""
    record = folder / "handed"
    size = record.stat().st_size if record.exists() else 0
    with ledger.read() as uow:
        left = uow.timers.pending()
    return n_timers - left + (size // _LINE if size else 0)


def _waiting(ledger: Ledger) -> bool:
    with ledger.read() as uow:
        return uow.timers.pending() > 0 or uow.outbox.depth("deliver") > 0


#: Bytes of a message id and its line break.
_LINE = 35


def _count(ledger: Ledger, folder: Path, n_timers: int, n_kills: int, took_s: float) -> Count:
    everybody = [f"c{i:06}" for i in range(n_timers)]
    start = datetime.now(UTC) - timedelta(days=1)
    n_lost = n_doubled = 0
    sent: set[str] = set()
    for at in range(0, n_timers, 5000):
        page = everybody[at : at + 5000]
        with ledger.read() as uow:
            past, sends = uow.timers.past(page, start), uow.sends.log(page, start)
            histories = {s.message_id: uow.sends.history(s.message_id) for mine in sends.values() for s in mine}
        for customer in page:
            fates = [line.fate.value for line in past.get(customer, ())]
            mine = sends.get(customer, [])
            done = [s for s in mine if s.state is SendState.SENT]
            n_lost += (fates.count("fired") < 1) + (len(done) < 1)
            n_doubled += max(len(fates) - 1, 0) + max(len(mine) - 1, 0)
            n_doubled += sum(max([what for _, what, _ in histories[s.message_id]].count("sent") - 1, 0) for s in mine)
            sent.update(s.message_id for s in done)
    with ledger.read() as uow:
        n_decisions = len(uow.decisions.newest(None, n_timers + 1000))
    handed = Counter(_handed(folder))
    files = {file.stem for file in (folder / "sent").glob("*.json")}
    n_lost += max(n_timers - n_decisions, 0) + len(sent - set(handed)) + len(sent - files)
    n_doubled += max(n_decisions - n_timers, 0) + len(files - sent)
    return Count(n_timers, n_kills, n_lost, n_doubled, sum(n > 1 for n in handed.values()), took_s)
