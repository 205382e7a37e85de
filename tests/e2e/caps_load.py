"""Many processes against few caps: customers who stay alone, one of them hot, pairs that are merged meanwhile, and
accounts whose members share a cap. What was granted is judged from the ledger alone."""

import os
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from tests.desks import playbook_of
from tests.unit.flows.ingesting import event

from opportune.adapters.sql_ledger import SqlLedger
from opportune.adapters.system_clock import WallClock
from opportune.decision import record
from opportune.domain.decisions import StoredDecision
from opportune.domain.events import Event, EventKind
from opportune.flows.ingest import ingest

ROOT = Path(__file__).parents[2]
AT_MOST, AT_MOST_IN_ACCOUNT = 3, 5
N_ALONE, N_PAIRS, N_ACCOUNTS, N_MEMBERS = 200, 24, 5, 8
PLAYBOOK = f"""
topics: {{offers: {{purpose: marketing}}}}
consent: {{default: {{"*": in}}}}
caps:
  per_week: {{counts: {{purpose: marketing}}, at_most: {AT_MOST}, in: 7d}}
  company: {{per: account, at_most: {AT_MOST_IN_ACCOUNT}, in: 7d}}
triggers: {{asked: {{kind: request}}}}
campaigns:
  offer: {{trigger: asked, topic: offers, channels: [inapp], expires_after: 10m, content: {{inapp: {{body: Hello}}}}}}
"""


@dataclass(frozen=True)
class Tally:
    """What came of one attack. `wrong`: everything that should not be, in words."""

    n_asked: int
    n_granted: int
    n_merged: int
    seconds: float
    wrong: tuple[str, ...]


def who(draw: random.Random) -> str:
    """The next one to ask for: mostly one of the customers who stay alone, often the hot one."""
    kind = draw.random()
    if kind < 0.1:
        return "c0"
    if kind < 0.7:
        return f"c{draw.randrange(N_ALONE)}"
    if kind < 0.85:
        return f"pair{draw.randrange(N_PAIRS)}{draw.choice('ab')}"
    return f"member{draw.randrange(N_ACCOUNTS)}-{draw.randrange(N_MEMBERS)}"


def alias(pair: int, now: datetime) -> Event:
    """The two of a pair turn out to be one."""
    made = event(EventKind.ALIAS, 0, f"pair{pair}b", previous=f"pair{pair}a", mid=f"alias-{pair}")
    return replace(made, event_at=now, received_at=now, known_at=now, ingested_at=now)


def attack(url: str, folder: Path, n_processes: int, n_asks: int) -> Tally:
    """Let the processes ask, `n_asks` each, and judge. The database is empty before."""
    playbook, ledger = playbook_of(folder, PLAYBOOK), SqlLedger(url)
    joins = [
        replace(event(EventKind.GROUP, 0, f"member{a}-{m}", mid=f"join-{a}-{m}"), group_id=f"account{a}")
        for a in range(N_ACCOUNTS)
        for m in range(N_MEMBERS)
    ]
    ingest(joins, [], ledger, playbook, WallClock())
    run = [sys.executable, "-m", "tests.e2e.asker", url, str(folder), str(n_asks), str(n_processes)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    started_at = time.monotonic()
    processes = [
        subprocess.Popen([*run, str(n)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for n in range(n_processes)
    ]
    said = [p.communicate(timeout=3600) for p in processes]
    seconds = time.monotonic() - started_at
    failed = [err[-600:] for p, (_, err) in zip(processes, said, strict=True) if p.returncode]
    try:
        if failed:
            return Tally(n_processes * n_asks, 0, 0, seconds, tuple(failed))
        return _judge(ledger, n_processes * n_asks, sum(int(out) for out, _ in said), seconds)
    finally:
        ledger.close()


def _judge(ledger: SqlLedger, n_asked: int, n_granted: int, seconds: float) -> Tally:
    """Read all decisions and sends once more."""
    decisions: list[StoredDecision] = []
    with ledger.read() as uow:
        cursor = ""
        while True:
            page, cursor = uow.decisions.after(cursor, 5000)
            if not page:
                break
            decisions += page
        since = datetime.now(UTC) - timedelta(days=8)
        # who was asked for as the first of a pair alone has their send as the second one by now
        names = sorted({*(d.customer_id for d in decisions), *(f"pair{pair}b" for pair in range(N_PAIRS))})
        sends = {c: len(log) for c, log in uow.sends.log(names, since).items()}
        n_merged = sum(c.is_alias for c in uow.identities.all_claims())
    asked = Counter(d.customer_id for d in decisions)
    wrong = [f"{len(decisions)} decisions of {n_asked} are in the log"] if len(decisions) != n_asked else []
    if sum(sends.values()) != n_granted:
        wrong.append(f"{n_granted} were told they may send and {sum(sends.values())} sends are in the log")
    for c in (f"c{i}" for i in range(N_ALONE)):
        if sends.get(c, 0) != min(AT_MOST, asked[c]):
            wrong.append(f"{c} asked {asked[c]} times and got {sends.get(c, 0)}")
    for account in range(N_ACCOUNTS):
        members = [f"member{account}-{m}" for m in range(N_MEMBERS)]
        open_to = sum(min(AT_MOST, asked[c]) for c in members)
        got = sum(sends.get(c, 0) for c in members)
        if got != min(AT_MOST_IN_ACCOUNT, open_to):
            wrong.append(f"account{account} could have {open_to} and got {got}")
    return Tally(n_asked, n_granted, n_merged, seconds, (*wrong, *_pairs_wrong(decisions, sends, asked)))


def _pairs_wrong(decisions: list[StoredDecision], sends: dict[str, int], asked: Counter[str]) -> list[str]:
    """Before and after the merge each grant found room, each refusal none, and each grant knew of those before it.

    A merge joins two histories that may fill the cap twice over; from then on nothing may be granted beyond it.
    """
    wrong: list[str] = []
    grants: dict[str, list[tuple[set[str], set[str]]]] = defaultdict(list)
    for stored in decisions:
        if not stored.customer_id.startswith("pair"):
            continue
        case, decision = record.case_from_json(stored.case), record.decision_from_json(stored.decision)
        seen = {s.message_id for s in case.sends}
        if bool(decision.messages) != (len(seen) < AT_MOST):
            wrong.append(f"{stored.customer_id}: {len(decision.messages)} granted with {len(seen)} in the log")
        if decision.messages:
            grants[stored.customer_id].append((seen, {m.message_id for m in decision.messages}))
    for customer, found in grants.items():
        found.sort(key=lambda grant: len(grant[0]))
        for (before, got), (after, _) in pairwise(found):
            if not before | got <= after:
                wrong.append(f"{customer}: a grant did not know of {(before | got) - after}")
    for pair in range(N_PAIRS):
        n, both = sends.get(f"pair{pair}b", 0), asked[f"pair{pair}a"] + asked[f"pair{pair}b"]
        if not min(AT_MOST, both) <= n <= 2 * AT_MOST or sends.get(f"pair{pair}a"):
            wrong.append(f"pair {pair}: {n} sends of {both} asked for, {sends.get(f'pair{pair}a', 0)} left behind")
    return wrong
