"""Publishing: new ledger rows go to the archive (events) and to MLflow (decisions), in batches, each once."""

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson

from opportune.domain.decisions import StoredDecision
from opportune.domain.instants import format_instant
from opportune.ports import Archive, Clock, Ledger, RunLog

LEASE = timedelta(seconds=120)
EVENTS_CURSOR = "archive_events"
DECISIONS_CURSOR = "publish_decisions"


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What one round moved, in rows."""

    n_events: int
    n_decisions: int


def archive_events(ledger: Ledger, archive: Archive, clock: Clock, owner: str, page: int = 20_000) -> int:
    """Move new events to the archive, page by page; returns how many. A crash repeats at most a page, to no effect."""
    n = 0
    while _leased(ledger, clock, "archiver", owner):
        with ledger.read() as uow:
            cursor = uow.cursors.get(EVENTS_CURSOR) or ""
            events, after = uow.events.after(cursor, page)
        if not events:
            return n
        archive.append(events, cursor)
        with ledger.begin() as uow:
            uow.cursors.put(EVENTS_CURSOR, after)
        n += len(events)
    return n


def publish_decisions(
    ledger: Ledger, runlog: RunLog, clock: Clock, owner: str, unit: Callable[[str], str], page: int = 10_000
) -> int:
    """Log new decisions to MLflow as one Parquet artifact per page; returns how many. Pseudonymous units only."""
    n = 0
    while _leased(ledger, clock, "publisher", owner):
        with ledger.read() as uow:
            cursor = uow.cursors.get(DECISIONS_CURSOR) or ""
            rows, after = uow.decisions.after(cursor, page)
        if not rows:
            return n
        table = [flat(row, unit(row.customer_id)) for row in rows]
        batch_id = hashlib.sha256(cursor.encode() + rows[0].decision_id.encode()).hexdigest()[:16]
        runlog.log_decisions("decisions", batch_id, parquet(table), metrics(table))
        with ledger.begin() as uow:
            uow.cursors.put(DECISIONS_CURSOR, after)
        n += len(rows)
    return n


def _leased(ledger: Ledger, clock: Clock, name: str, owner: str) -> bool:
    now = clock.now()
    with ledger.begin() as uow:
        return uow.cursors.lease(name, owner, now, now + LEASE)


def flat(row: StoredDecision, unit: str) -> dict[str, Any]:
    """One decision as a table row; nested parts are JSON text. No customer id, no content."""
    decision = orjson.loads(row.decision)
    messages = [{k: v for k, v in m.items() if k not in ("content", "headers")} for m in decision["messages"]]
    return {
        "decision_id": row.decision_id,
        "unit": unit,
        "decided_at": format_instant(row.decided_at),
        "playbook": row.playbook_hash,
        "code_version": decision["code_version"],
        "trigger": row.trigger,
        "mode": str(row.mode),
        "degraded": decision["degraded"],
        "n_messages": row.n_messages,
        "campaign": messages[0]["campaign"] if messages else None,
        "channel": messages[0]["channel"] if messages else None,
        "action_probability": messages[0]["action_probability"] if messages else None,
        "nothing_probability": decision["nothing_probability"],
        "messages": orjson.dumps(messages).decode(),
        "removed": orjson.dumps(decision["removed"]).decode(),
        "scores": orjson.dumps({n: {"p": s["p"], "model": s["model"]} for n, s in decision["scores"].items()}).decode(),
        "draws": orjson.dumps(decision["draws"]).decode(),
        "exposures": orjson.dumps(decision["exposures"]).decode(),
    }


def parquet(table: Sequence[dict[str, Any]]) -> bytes:
    """The rows as one Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(table)), sink)
    return sink.getvalue()


def metrics(table: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Counts of one page: decisions, messages, degraded and rules-only decisions, removals by reason."""
    reasons = Counter(r["reason"] for row in table for r in orjson.loads(row["removed"]))
    return {
        "decisions_n": float(len(table)),
        "messages_n": float(sum(row["n_messages"] for row in table)),
        "degraded_n": float(sum(bool(row["degraded"]) for row in table)),
        "rules_only_n": float(sum(row["mode"] == "rules_only" for row in table)),
        **{f"removed_{reason}_n": float(n) for reason, n in sorted(reasons.items())},
    }
