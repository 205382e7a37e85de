"""Training one model: events -> labels -> features as of -> judged out of time -> registry, promoted or refused."""

from collections.abc import Callable
from datetime import datetime

from opportune.domain.customers import Claim
from opportune.domain.events import Event
from opportune.domain.instants import format_instant
from opportune.features.catalog import BY_NAME
from opportune.flows.publish import EVENTS_CURSOR
from opportune.flows.register import TrainReport, barred, pages, register, rival_of, why_not_promoted
from opportune.flows.train_hours import train_hours
from opportune.learning import dataset, recipe
from opportune.learning import spec as specs
from opportune.learning.labels import LabelRow, Tally, cut_offs
from opportune.learning.spec import ModelSpec
from opportune.playbook.load import Playbook
from opportune.playbook.schema import Goal
from opportune.ports import Clock, Ledger, OfflineFeatures, RunLog

__all__ = ["TrainReport", "train"]


def train(
    name: str,
    as_of: datetime | None,
    *,
    ledger: Ledger,
    offline: OfflineFeatures,
    runlog: RunLog,
    clock: Clock,
    playbook: Playbook,
    report: Callable[[str], None] = lambda line: None,
) -> TrainReport:
    """Train, judge and register model `name` as of `as_of` (null: now); promote it when it passes its gates.

    Only what had happened and was known at `as_of` is used: features end at cut-offs no later than `as_of` minus the
    horizon, labels have matured by `as_of`. Too little data registers the prior, which never replaces trained trees.
    A failure of the data (a lost row, a goal the playbook lacks) is the verdict `failed`; Unavailable is raised.
    """
    now = clock.now()
    knowledge_at = min(as_of or now, now)
    spec = specs.read_any(name)
    if isinstance(spec, specs.HoursSpec):
        return train_hours(spec, knowledge_at, now, ledger, offline, runlog, playbook, report)
    if spec.target.goal is not None and spec.target.goal not in playbook.spec.goals:
        why = f"the playbook has no goal '{spec.target.goal}', which {name} predicts: declare it under goals"
        return TrainReport(name=name, verdict="failed", as_of=knowledge_at, reasons=[why])
    report("reading events")
    labels, first_at, claims, tail = _read(spec, knowledge_at, ledger, playbook)
    rival = rival_of(name, runlog)
    data, frame = None, None
    if labels and first_at is not None:
        report(f"computing features of {len(labels)} rows at {len({row.at for row in labels})} cut-offs")
        try:
            theirs = rival.manifest.get("features", ()) if rival else ()
            names = dict.fromkeys((*spec.columns, *(n for n in theirs if n in BY_NAME)))
            frame = offline.training_set(dataset.as_frame(labels), tail, claims, tuple(names))
            data = dataset.assemble(labels, frame, spec, first_at)
        except (RuntimeError, ValueError, KeyError) as problem:
            return TrainReport(name=name, verdict="failed", as_of=knowledge_at, reasons=[f"no training set: {problem}"])
    thin = recipe.too_thin(data, spec) if data else ["no cohort of customers has matured"]
    if data is None or thin:
        judged = recipe.prior(data, spec, knowledge_at, now, thin)
    else:
        report(f"fitting and judging on the cohort of {format_instant(data.cut_offs[-1])}")
        judged = recipe.judge(data, frame, spec, knowledge_at, now, rival)
    why_not = why_not_promoted(judged, rival, knowledge_at)
    report("registering")
    params = {**spec.parameters, "rounds": spec.rounds, "seed": spec.seed, "horizon_days": spec.target.horizon_days}
    return register(judged, spec, params, runlog, why_not, knowledge_at)


def _read(
    spec: ModelSpec, as_of: datetime, ledger: Ledger, playbook: Playbook
) -> tuple[list[LabelRow], datetime | None, list[Claim], list[tuple[Event, str]]]:
    """Labelled rows, the first event's instant, identity claims, and the events the archive does not hold yet."""
    goal = playbook.spec.goals[spec.target.goal] if spec.target.goal is not None else None
    tally = Tally(
        cut_offs=cut_offs(as_of, spec.target.horizon_days, spec.cohorts.every_days, spec.cohorts.at_most),
        as_of=as_of,
        horizon_days=spec.target.horizon_days,
        active_within_days=spec.population.active_within_days,
        activity=frozenset(playbook.spec.activity),
        ignore=frozenset(spec.population.ignore),
    )
    with ledger.read() as uow:
        claims = uow.identities.all_claims()
        archived = uow.cursors.get(EVENTS_CURSOR) or ""
        for page in pages(uow, ""):
            for event, _ in page:
                tally.add(event, None if goal is None else _reaches(event, goal, playbook))
        tail = [pair for page in pages(uow, archived) for pair in page]
        rows = tally.rows(claims, spec.cohorts.history_days, spec.target.happens)
        refused = barred(sorted({row.customer_id for row in rows}), uow, playbook)
    allowed = [row for row in rows if row.customer_id not in refused]
    return dataset.bounded(allowed, spec.cohorts.at_most_rows), tally.first_at, claims, tail


def _reaches(event: Event, goal: Goal, playbook: Playbook) -> bool:
    return event.name == goal.event and playbook.holds(goal.when, {"event": event.properties})
