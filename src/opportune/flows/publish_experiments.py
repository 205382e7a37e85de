"""Experiments go to MLflow: one run per variation, its days as metrics, its meaning as notes; each time only news."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import orjson

from opportune.domain.instants import format_instant
from opportune.experiments.attribute import hits_of
from opportune.experiments.metrics import METRICS, Exposed, Sums, day_of, start_of
from opportune.experiments.trial import Trial, trials_of, windows_in_words
from opportune.flows.people import canonical_ids
from opportune.playbook.load import Playbook
from opportune.ports import Clock, ExperimentLog, Ledger, Point, UnitOfWork, VariationRun

LEASE = timedelta(seconds=120)
#: A day is published once it has been over for this long: late events are mostly in by then.
GRACE = timedelta(hours=1)
_LEASE_NAME = "experiments"
_CURSOR = "ab:"

Unit = Callable[[str], str]


def publish_experiments(
    ledger: Ledger,
    playbook: Playbook,
    log: ExperimentLog,
    clock: Clock,
    owner: str,
    unit: Unit,
    *,
    is_forced: bool = False,
    page: int = 1000,
) -> int:
    """Bring the runs of every trial up to the last complete UTC day; returns how many metric points were written.

    Days are counted again as a whole, so a late event corrects its day: the corrected value is written beside the old
    one, with a later instant. A trial that was published up to that day already is skipped unless `is_forced`.
    Memory is bounded by `page` and the number of days. Raises Unavailable; what was not published then is next time.
    """
    now = clock.now()
    until = start_of(day_of(now - GRACE))
    n = 0
    for trial in trials_of(playbook):
        with ledger.begin() as uow:
            if not uow.cursors.lease(_LEASE_NAME, owner, now, clock.now() + LEASE):
                return n
            mark = f"{format_instant(until)}|{playbook.hash}|{trial.status(now)}"
            if uow.cursors.get(_CURSOR + trial.name) == mark and not is_forced:
                continue
        first = first_day(trial, ledger)
        sums = count(trial, min(until, settled_day(trial) or until), ledger, playbook, unit, page)
        for variation in trial.shares:
            points = (
                points_of(sums, variation, first, now) if first is not None and start_of(first) < sums.until else []
            )
            n += log.log_variation(run_of(trial, variation, sums, first, now, playbook), points)
        with ledger.begin() as uow:
            uow.cursors.put(_CURSOR + trial.name, mark)
    with ledger.begin() as uow:  # a command beside a running worker need not wait for the lease to run out
        uow.cursors.lease(_LEASE_NAME, owner, clock.now(), clock.now())
    return n


def settled_day(trial: Trial) -> datetime | None:
    """The first midnight (UTC) by which every goal of a trial has counted; null when it has no end."""
    at = trial.settled_at
    return None if at is None else start_of(day_of(at - timedelta(microseconds=1))) + timedelta(days=1)


def first_day(trial: Trial, ledger: Ledger) -> date | None:
    """Day 1: that of the declared start, else of the first exposure; null before there is any."""
    with ledger.read() as uow:
        firsts = [row["first_at"] for row in uow.exposures.counts() if row["experiment"] == trial.name]
    if not firsts:
        return None
    return day_of(min([*firsts, trial.starts_at] if trial.starts_at else firsts))


def count(trial: Trial, until: datetime, ledger: Ledger, playbook: Playbook, unit: Unit, page: int = 1000) -> Sums:
    """The sums of one trial before `until`, a page of units at a time."""
    sums, after = Sums(until), ""
    while True:
        with ledger.read() as uow:
            rows = uow.exposures.page(trial.name, after, page)
            if not rows:
                return sums
            after = str(rows[-1]["unit"])
            exposed = exposed_of(rows, trial.name, unit, uow)
            holders = {e.holder for e in exposed}
            since = min(e.at for e in exposed) if exposed else until
            names = {playbook.spec.goals[goal].event for goal in trial.windows}
            events = uow.events.named(holders, names, since)
            sends = uow.sends.log(holders, since)
            outcomes = uow.outcomes.of([s.message_id for mine in sends.values() for s in mine])
        for e in exposed:
            hits = hits_of(events.get(e.holder, ()), trial.windows, playbook)
            sums.add(e, sends.get(e.holder, ()), outcomes, hits, trial.windows, trial.ends_at)


def exposed_of(rows: Sequence[Mapping[str, Any]], experiment: str, unit: Unit, uow: UnitOfWork) -> list[Exposed]:
    """Exposures with who owns their history now; who was merged into a customer exposed too is counted there."""
    holders = canonical_ids({str(row["customer_id"]) for row in rows}, uow)
    moved = {c: unit(holder) for c, holder in holders.items() if holder != c}
    counted_there = uow.exposures.known(experiment, set(moved.values())) if moved else set()
    return [
        Exposed(row["unit"], row["variation"], row["at"], holders[row["customer_id"]])
        for row in rows
        if moved.get(row["customer_id"]) not in counted_there
    ]


def points_of(sums: Sums, variation: str, first: date, now: datetime) -> list[Point]:
    """Each metric of each complete day, and its running total under `total/`; each stands for the end of its day."""
    points: list[Point] = []
    running = dict.fromkeys(METRICS, 0)
    for number, day, found in sums.daily(variation, first):
        at = min(now, start_of(day) + timedelta(days=1))
        for metric in METRICS:
            running[metric] += found[metric]
            points.append(Point(metric, number, float(found[metric]), at))
            points.append(Point(f"total/{metric}", number, float(running[metric]), at))
    return points


def run_of(
    trial: Trial, variation: str, sums: Sums, first: date | None, now: datetime, playbook: Playbook
) -> VariationRun:
    """How one variation presents itself."""
    overrides = trial.overrides[variation]
    totals = sums.totals(variation)
    settled = settled_day(trial)
    return VariationRun(
        experiment=trial.name,
        variation=variation,
        experiment_note=experiment_note(trial, now),
        note=variation_note(trial, variation, totals, sums.until),
        params={
            "share": f"{trial.shares[variation]:.4g}",
            **{k: orjson.dumps(v).decode() for k, v in overrides.items()},
        },
        tags={
            "experiment": trial.name,
            "status": trial.status(now),
            "published_until": format_instant(sums.until),
            "playbook": playbook.hash,
        },
        started_at=trial.starts_at or (start_of(first) if first is not None else now),
        ended_at=settled if settled is not None and sums.until >= settled else None,
    )


def experiment_note(trial: Trial, now: datetime) -> str:
    """The description of the MLflow experiment, in Markdown."""
    low, high = trial.share
    starts = format_instant(trial.starts_at) if trial.starts_at else "no start declared"
    ends = format_instant(trial.ends_at) if trial.ends_at else "no end declared"
    lines = [
        f"{trial.description or 'No description is declared.'}\n",
        f"- status: **{trial.status(now)}** ({starts} - {ends})",
        f"- takes part: {high - low:.0%} of customers"
        + (f", part [{low:g}, {high:g}] of layer `{trial.layer}`" if trial.layer else "")
        + (f", audience `{trial.audience}`" if trial.audience else ""),
        f"- goals: {windows_in_words(trial)} of first exposure",
        "",
        "One run per variation. Metrics: per UTC day, step = day number (1 is the first day); `total/...` adds them "
        "up. Only complete days are here. `units` are newly exposed customers, known by pseudonymous ids only; "
        "money is in minor units. `decisions/` holds every exposed decision as Parquet; Traces show a sample of them, "
        "stage by stage.",
    ]
    return "\n".join(lines)


def variation_note(trial: Trial, variation: str, totals: Mapping[str, int], until: datetime) -> str:
    """The description of the run, in Markdown: what this variation changes, and its totals."""
    changes = [f"- `{path}` = `{orjson.dumps(value).decode()}`" for path, value in trial.overrides[variation].items()]
    told = "\n".join(changes) or ("" if trial.is_holdout else "Business as usual: changes nothing.")
    head, line = " | ".join(METRICS), " | ".join(str(totals[m]) for m in METRICS)
    table = f"| {head} |\n|{' --- |' * len(METRICS)}\n| {line} |"
    return f"{told}\n\nTotals before {until:%Y-%m-%d} (UTC):\n\n{table}".strip()
