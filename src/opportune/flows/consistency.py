"""Consistency as a metric: a sample of what decisions were served is recomputed offline as of the same instants."""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

import orjson

from opportune.decision import record
from opportune.domain import identity
from opportune.domain.decisions import Case, StoredDecision
from opportune.domain.events import Event
from opportune.domain.instants import EPOCH, format_instant, parse_instant
from opportune.features.catalog import definition_hash
from opportune.features.consistency import ALARM_SHARE, Consistency, differences
from opportune.features.state import finalise, rebuild
from opportune.flows.backfill import tail_of, values_of
from opportune.flows.people import canonical_ids
from opportune.flows.publish import parquet
from opportune.ports import Clock, Ledger, OfflineFeatures, RunLog, UnitOfWork

EXPERIMENT = "features/consistency"
CURSOR = "consistency_decisions"
DEFINITION_CURSOR = "features_definition_since"
LAST = "consistency_last"
LEASE = timedelta(seconds=600)
PAGE = 2_000
#: An event this close to the decision's instant may or may not have been committed when the decision read.
RACE = timedelta(seconds=1)
#: Up to so many events of one second every choice among them is tried, above it only the orders of arrival.
MOST_RACING = 6


@dataclass(slots=True)
class ConsistencyReport:
    """What one check found. `n_seen` decisions, of them `n_sampled`; the rest of the rows were compared.

    `n_superseded`: differ, but history came in since that counts as known earlier (an import). `n_raced`: differ, but
    an event was being committed at that very second. Neither is skew, and neither is in `consistency`.
    """

    checked_at: datetime
    n_seen: int = 0
    n_sampled: int = 0
    n_superseded: int = 0
    n_raced: int = 0
    consistency: Consistency = field(default_factory=Consistency)
    #: decision ids that differ, with the names of the features; at most 20.
    examples: list[dict[str, Any]] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        """One row per feature, the worst first."""
        tallies = sorted(self.consistency.features.items(), key=lambda it: (-it[1].share, it[0]))
        return [
            {
                "feature": name,
                "rows": t.n,
                "mismatch": t.n_mismatch,
                "missing": t.n_missing,
                "extra": t.n_extra,
                "share": t.share,
                "max_relative_error": t.max_relative_error,
            }
            for name, t in tallies
        ]

    def metrics(self) -> dict[str, float]:
        """For MLflow: totals, and the share of rows that differ per feature."""
        return {
            "rows_n": float(self.consistency.n_rows),
            "superseded_n": float(self.n_superseded),
            "raced_n": float(self.n_raced),
            "share": self.consistency.share,
            "worst_share": self.consistency.worst[1],
            **{f"share/{row['feature']}": row["share"] for row in self.rows()},
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        worst, share = self.consistency.worst
        return {
            "checked_at": format_instant(self.checked_at),
            "seen": self.n_seen,
            "sampled": self.n_sampled,
            "rows": self.consistency.n_rows,
            "superseded": self.n_superseded,
            "raced": self.n_raced,
            "share": self.consistency.share,
            "worst": {"feature": worst, "share": share} if share else None,
            "alarm": self.consistency.is_alarming,
            "features": self.rows(),
            "examples": self.examples,
        }

    def to_text(self) -> str:
        """A verdict sentence, and a line per feature that differs."""
        c = self.consistency
        worst, share = c.worst
        if not c.n_rows:
            return f"nothing to compare among {self.n_seen:,} decisions"
        said = f"{c.n_rows:,} served vectors recomputed offline, {'differences found' if share else 'no difference'}"
        lines = [
            f"{said} ({self.n_seen:,} decisions seen, {self.n_superseded} superseded by later imports, "
            f"{self.n_raced} raced by an event of the same second)"
        ]
        for row in self.rows():
            if row["share"]:
                lines.append(
                    f"  {row['feature']:<28} {row['share']:.2%} of rows: {row['mismatch']} mismatch, "
                    f"{row['missing']} missing, {row['extra']} extra, "
                    f"relative error up to {row['max_relative_error']:.3g}"
                )
        if c.is_alarming:
            lines.append(
                f"ALARM: {worst} differs in {share:.2%} of the rows, above {ALARM_SHARE:.1%}: "
                "run `opportune features rebuild`, then check again"
            )
        return "\n".join(lines)


def check(
    ledger: Ledger,
    offline: OfflineFeatures,
    clock: Clock,
    rate: float = 1.0,
    sample: int = 1000,
    since: datetime | None = None,
) -> ConsistencyReport:
    """Compare a sample of the decisions since an instant (null: all under the present feature definitions)."""
    begin = max(_definition_since(ledger, clock), since or EPOCH)
    report = ConsistencyReport(checked_at=clock.now())
    picked: list[tuple[float, str, bytes]] = []
    for page, _ in _pages(ledger, ""):
        _draw((row for row in page if row.decided_at >= begin), picked, rate, sample, report)
    return _compare(picked, ledger, offline, report)


def check_new(
    ledger: Ledger,
    offline: OfflineFeatures,
    runlog: RunLog,
    clock: Clock,
    owner: str,
    rate: float,
    sample: int = 1000,
) -> ConsistencyReport | None:
    """The worker's check: decisions since its last one, logged to MLflow. Null when another worker is at it."""
    now = clock.now()
    begin = _definition_since(ledger, clock)
    with ledger.begin() as uow:
        if not uow.cursors.lease("consistency", owner, now, now + LEASE):
            return None
        start = uow.cursors.get(CURSOR) or ""
    report, after = ConsistencyReport(checked_at=now), start
    picked: list[tuple[float, str, bytes]] = []
    for page, after in _pages(ledger, start):  # noqa: B007 - the last cursor is put below
        _draw((row for row in page if row.decided_at >= begin), picked, rate, sample, report)
    _compare(picked, ledger, offline, report)
    if report.consistency.n_rows:
        log_report(report, runlog, start)
    with ledger.begin() as uow:
        uow.cursors.put(CURSOR, after)
    remember(report, ledger)
    return report


def log_report(report: ConsistencyReport, runlog: RunLog, start: str) -> None:
    """One MLflow run: metrics, and a table per feature. The same start and sample again changes nothing."""
    batch = hashlib.sha256(f"{start}|{report.n_seen}|{format_instant(report.checked_at)}".encode()).hexdigest()[:16]
    runlog.log_decisions(EXPERIMENT, batch, parquet(report.rows()), report.metrics())


def remember(report: ConsistencyReport, ledger: Ledger) -> None:
    """Keep the outcome where /metrics finds it; a check that compared nothing keeps the earlier one."""
    if report.consistency.n_rows:
        worst, share = report.consistency.worst
        kept = {"checked_at": format_instant(report.checked_at), "rows": report.consistency.n_rows}
        with ledger.begin() as uow:
            uow.cursors.put(LAST, orjson.dumps({**kept, "worst": worst, "worst_share": share}).decode())


def _pages(ledger: Ledger, cursor: str) -> Iterator[tuple[list[StoredDecision], str]]:
    while True:
        with ledger.read() as uow:
            page, cursor = uow.decisions.after(cursor, PAGE)
        if not page:
            return
        yield page, cursor


def _draw(
    rows: Iterator[StoredDecision],
    picked: list[tuple[float, str, bytes]],
    rate: float,
    sample: int,
    report: ConsistencyReport,
) -> None:
    """Keep the `sample` decisions with the smallest hashes below `rate`: a uniform sample in bounded memory."""
    for row in rows:
        report.n_seen += 1
        u = int.from_bytes(hashlib.sha256(row.decision_id.encode()).digest()[:6], "big") / 2**48
        if u >= rate:
            continue
        heapq.heappush(picked, (-u, row.decision_id, row.case))
        if len(picked) > sample:
            heapq.heappop(picked)
    report.n_sampled = len(picked)


def _compare(
    picked: Sequence[tuple[float, str, bytes]], ledger: Ledger, offline: OfflineFeatures, report: ConsistencyReport
) -> ConsistencyReport:
    cases = [record.case_from_json(case) for _, _, case in sorted(picked, reverse=True)]
    if not cases:
        return report
    with ledger.read() as uow:
        claims = uow.identities.all_claims()
        tail = tail_of(uow, {case.customer.customer_id for case in cases}, claims)
    asked = [(case.customer.customer_id, case.now) for case in cases]
    for case, values in zip(cases, values_of(asked, offline, tail, claims), strict=True):
        found = differences(case.features, values)
        if found:
            with ledger.read() as uow:
                excused = _excuse(case, uow)
            if excused:
                report.n_superseded += excused == "superseded"
                report.n_raced += excused == "raced"
                continue
            if len(report.examples) < 20:
                report.examples.append({"decision_id": case.decision_id, "features": sorted(found)})
        report.consistency.add(case.features, found)
    return report


def _excuse(case: Case, uow: UnitOfWork) -> str | None:
    """Why a difference is no skew: what the offline value rests on was not there yet, or only just."""
    holder = canonical_ids([case.customer.customer_id], uow)[case.customer.customer_id]
    keys = uow.identities.keys_of([holder]).get(holder, [])
    roots = identity.resolve(c for c in uow.identities.claims_touching(keys) if c.known_at <= case.now)
    theirs = {k for k in keys if identity.customer_id_of(roots.get(k, k)) == case.customer.customer_id}
    events = [e for e in uow.events.of([holder]).get(holder, ()) if e.id_key in theirs]
    if _raced(case, events):
        return "raced"
    came_later = any(e.known_at <= case.now and e.event_at <= case.now < e.ingested_at - RACE for e in events)
    return "superseded" if came_later else None


def _raced(case: Case, events: Sequence[Event]) -> bool:
    """Whether what was served is what some of the events of that very second, and all before, make: no more excuse
    than that, for most decisions are asked for right after an event."""
    racing = [e for e in events if abs(e.ingested_at - case.now) <= RACE]
    if not racing:
        return False
    first = min(e.ingested_at for e in racing)
    settled = [e for e in events if e.ingested_at < first and e.event_at <= case.now and e.known_at <= case.now]
    racing.sort(key=lambda e: (e.ingested_at, e.message_id))
    some = _subsets(racing) if len(racing) <= MOST_RACING else (racing[:n] for n in range(len(racing) + 1))
    return any(not differences(case.features, finalise(rebuild([*settled, *seen]), case.now)) for seen in some)


def _subsets(events: Sequence[Event]) -> Iterator[list[Event]]:
    for n in range(len(events) + 1):
        yield from map(list, combinations(events, n))


def _definition_since(ledger: Ledger, clock: Clock) -> datetime:
    """Since when this catalogue's definitions serve; a catalogue seen for the first time on used ground: since now."""
    mine = definition_hash()
    with ledger.read() as uow:
        kept = uow.cursors.get(DEFINITION_CURSOR)
    if kept is not None and kept.partition(" ")[0] == mine:
        return parse_instant(kept.partition(" ")[2])
    since = EPOCH if kept is None else clock.now()
    with ledger.begin() as uow:
        uow.cursors.put(DEFINITION_CURSOR, f"{mine} {format_instant(since)}")
    return since
