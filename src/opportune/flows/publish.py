"""Publishing: new ledger rows go to the archive (events) and to MLflow (decisions), in batches, each once."""

import hashlib
import io
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import orjson

from opportune.domain.decisions import StoredDecision
from opportune.domain.instants import format_instant
from opportune.flows.traces import sampled, trace_of
from opportune.playbook.load import from_source
from opportune.ports import Archive, Clock, ExperimentLog, Ledger, RunLog, TraceRecord, UnitOfWork

log = logging.getLogger("opportune.publish")

LEASE = timedelta(seconds=120)
EVENTS_CURSOR = "archive_events"
DECISIONS_CURSOR = "publish_decisions"

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What one round moved, in rows."""

    n_events: int
    n_decisions: int


def archive_events(ledger: Ledger, archive: Archive, clock: Clock, owner: str, page: int = 20_000) -> int:
    """Move new events to the archive, page by page; returns how many. A crash repeats at most a page, to no effect."""
    n = 0
    while _leased(ledger, clock, "archiver", owner):
        cursor, events, after = _next_page(
            ledger, EVENTS_CURSOR, page, lambda uow, at, limit: uow.events.after(at, limit)
        )
        if not events:
            _let_go(ledger, clock, "archiver", owner)
            return n
        archive.append(events, cursor)
        _move_on(ledger, EVENTS_CURSOR, cursor, after)
        n += len(events)
    return n


def compact_archive(ledger: Ledger, archive: Archive, clock: Clock, owner: str, min_files: int = 2) -> dict[str, int]:
    """Merge the archive's small files; n_before, n_after (files) and n_events. Nothing while another process archives.

    The archiver's lease is held, so that no append is cut off and repeated meanwhile; the part of an append that was
    cut off before is left alone.
    """
    if not _leased(ledger, clock, "archiver", owner):
        return {"n_before": 0, "n_after": 0, "n_events": 0}
    with ledger.read() as uow:
        cursor = uow.cursors.get(EVENTS_CURSOR) or ""
    return dict(archive.compact(cursor, clock.now(), min_files))


def publish_decisions(
    ledger: Ledger,
    runlog: RunLog,
    clock: Clock,
    owner: str,
    unit: Callable[[str], str],
    page: int = 10_000,
    experiments: ExperimentLog | None = None,
    trace_share: float = 0.0,
) -> int:
    """Log new decisions to MLflow as one Parquet artifact per page; returns how many. Pseudonymous units only.

    With `experiments`: those exposed to a variation go to its run as well, and `trace_share` of all as traces.
    A crash repeats at most a page, to no effect.
    """
    n = 0
    while _leased(ledger, clock, "publisher", owner):
        cursor, rows, after = _next_page(
            ledger, DECISIONS_CURSOR, page, lambda uow, at, limit: uow.decisions.after(at, limit)
        )
        if not rows:
            _let_go(ledger, clock, "publisher", owner)
            return n
        table = [flat(row, unit(row.customer_id)) for row in rows]
        batch_id = hashlib.sha256(cursor.encode() + rows[0].decision_id.encode()).hexdigest()[:16]
        runlog.log_decisions("decisions", batch_id, parquet(table), metrics(table))
        if experiments is not None:
            publish_exposed(rows, table, batch_id, experiments)
            publish_traces(rows, trace_share, ledger, experiments)
        _move_on(ledger, DECISIONS_CURSOR, cursor, after)
        n += len(rows)
    return n


def _next_page(
    ledger: Ledger, name: str, page: int, after: Callable[[UnitOfWork, str, int], tuple[list[Row], str]]
) -> tuple[str, list[Row], str]:
    """The cursor, the rows after it, and the cursor behind them.

    How many rows a page has is noted before it is written, so that one cut off by a crash is repeated exactly: rows
    that have come since wait for the next page, which has a name of its own.
    """
    with ledger.read() as uow:
        cursor = uow.cursors.get(name) or ""
        begun_at, _, n_begun = (uow.cursors.get(f"{name}.page") or "").rpartition(" ")
        is_repeat = bool(n_begun) and begun_at == cursor
        rows, moved = after(uow, cursor, int(n_begun) if is_repeat else page)
    if rows and not is_repeat:
        with ledger.begin() as uow:
            uow.cursors.put(f"{name}.page", f"{cursor} {len(rows)}")
    return cursor, rows, moved


def _move_on(ledger: Ledger, name: str, cursor: str, after: str) -> None:
    """Move the cursor, unless another process did while our lease had run out: it never goes back."""
    with ledger.begin() as uow:
        if (uow.cursors.get(name) or "") == cursor:
            uow.cursors.put(name, after)


def _let_go(ledger: Ledger, clock: Clock, name: str, owner: str) -> None:
    """End the lease: a command beside a running worker need not wait for it."""
    now = clock.now()
    with ledger.begin() as uow:
        uow.cursors.lease(name, owner, now, now)


def publish_exposed(
    rows: Sequence[StoredDecision], table: Sequence[dict[str, Any]], batch_id: str, experiments: ExperimentLog
) -> None:
    """The decisions of a page to the runs of the variations they were exposed to, a Parquet artifact each."""
    by_variation: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row, flattened in zip(rows, table, strict=True):
        for experiment, variation in exposures_of(row):
            by_variation[experiment, variation].append(flattened)
    for (experiment, variation), mine in sorted(by_variation.items()):
        experiments.log_variation_decisions(experiment, variation, batch_id, parquet(mine))


def publish_traces(rows: Sequence[StoredDecision], share: float, ledger: Ledger, experiments: ExperimentLog) -> None:
    """A sample of a page as traces: in every experiment a decision was exposed to, else among the decisions."""
    chosen = sampled(rows, share)
    with ledger.read() as uow:
        sources = {h: uow.playbooks.get(h) for h in {row.playbook_hash for row in chosen}}
    playbooks = {h: from_source(source) for h, source in sources.items() if source is not None}
    traces: dict[str | None, list[TraceRecord]] = defaultdict(list)
    for row in chosen:
        if row.playbook_hash not in playbooks:
            log.error("decision %s has no trace: its playbook %s is not kept", row.decision_id, row.playbook_hash)
            continue
        met: list[tuple[str | None, str | None]] = [*exposures_of(row)] or [(None, None)]
        for experiment, variation in met:
            traces[experiment].append(trace_of(row, playbooks[row.playbook_hash], variation))
    for experiment, mine in sorted(traces.items(), key=lambda item: item[0] or ""):
        experiments.log_traces(experiment, mine)


def exposures_of(row: StoredDecision) -> list[tuple[str, str]]:
    """(experiment, variation) of everything a decision was exposed to."""
    return [(e["experiment"], e["variation"]) for e in orjson.loads(row.decision)["exposures"]]


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
