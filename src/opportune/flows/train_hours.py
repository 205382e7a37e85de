"""Training send times: letters and their answers -> what was known before -> judged off-policy -> registry."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from opportune.decision.zones import zone_of
from opportune.domain.customers import Claim
from opportune.domain.events import Event
from opportune.domain.instants import format_instant
from opportune.flows.publish import EVENTS_CURSOR
from opportune.flows.register import TrainReport, barred, pages, register, rival_of, why_not_promoted
from opportune.learning import dataset, hours_recipe
from opportune.learning.hours import Letters
from opportune.learning.hours_recipe import HoursData
from opportune.learning.labels import LabelRow, cut_offs
from opportune.learning.letters import Letter, LetterTally
from opportune.learning.spec import HoursSpec
from opportune.learning.timing import columns_of, histories
from opportune.playbook.load import Playbook
from opportune.ports import Ledger, OfflineFeatures, RunLog

#: A letter with the number of its cohort.
_Placed = tuple[Letter, int]


def train_hours(
    spec: HoursSpec,
    knowledge_at: datetime,
    now: datetime,
    ledger: Ledger,
    offline: OfflineFeatures,
    runlog: RunLog,
    playbook: Playbook,
    report: Callable[[str], None],
) -> TrainReport:
    """Train, judge and register the hours as known at `knowledge_at`. Too few letters of random hours: the prior.

    Only letters old enough to have been answered count, of customers with a known zone who may be learned from.
    """
    report("reading letters")
    cuts = cut_offs(
        knowledge_at - timedelta(days=spec.target.answer_within_days),
        spec.cohorts.every_days,
        spec.cohorts.every_days,
        spec.cohorts.at_most,
    )
    placed, zones, first_at, claims, tail = _read(spec, cuts, knowledge_at, ledger, playbook)
    data = None
    if placed and first_at is not None:
        report(f"computing histories of the readers of {len(placed)} letters")
        try:
            data = _assemble(spec, cuts, placed, zones, first_at, offline, tail, claims)
        except (RuntimeError, ValueError, KeyError) as problem:
            why = [f"no training set: {problem}"]
            return TrainReport(name=spec.name, verdict="failed", as_of=knowledge_at, reasons=why)
    thin = hours_recipe.too_thin(data, spec) if data else ["no letter of a customer with a known zone has matured"]
    if data is None or thin:
        judged = hours_recipe.prior(data, spec, knowledge_at, now, thin)
    else:
        report(f"fitting, and judging on the letters after {format_instant(cuts[-1])} whose hour chance chose")
        judged = hours_recipe.judge(data, spec, knowledge_at, now)
    why_not = why_not_promoted(judged, rival_of(spec.name, runlog), knowledge_at)
    report("registering")
    params = {"answer_within_days": spec.target.answer_within_days, "every_days": spec.cohorts.every_days}
    learnt = {k: judged.manifest[k] for k in ("own_weight", "level_weight") if k in judged.manifest}
    return register(judged, spec, params | learnt, runlog, why_not, knowledge_at)


def _read(
    spec: HoursSpec, cuts: Sequence[datetime], as_of: datetime, ledger: Ledger, playbook: Playbook
) -> tuple[list[_Placed], dict[str, str], datetime | None, list[Claim], list[tuple[Event, str]]]:
    """Letters with their cohorts, zones by customer, the first event's instant, claims, events not archived yet."""
    tally = LetterTally(as_of, spec.random_hours)
    with ledger.read() as uow:
        claims = uow.identities.all_claims()
        archived = uow.cursors.get(EVENTS_CURSOR) or ""
        for page in pages(uow, ""):
            for event, _ in page:
                tally.add(event)
        tail = [pair for page in pages(uow, archived) for pair in page]
        letters = tally.letters(claims, timedelta(days=spec.target.answer_within_days))
        ids = sorted({letter.customer_id for letter in letters})
        refused = barred(ids, uow, playbook)
        zones: dict[str, str] = {}
        for start in range(0, len(ids), 1000):
            for customer_id, customer in uow.customers.get(ids[start : start + 1000]).items():
                if customer.zone is not None and zone_of(customer.zone) is not None and customer_id not in refused:
                    zones[customer_id] = customer.zone
    placed = []
    for letter in letters:
        began = [i for i, at in enumerate(cuts) if at < letter.sent_at]
        if (
            began
            and letter.customer_id in zones
            and letter.sent_at <= cuts[-1] + timedelta(days=spec.cohorts.every_days)
        ):
            placed.append((letter, began[-1]))
    return placed[-spec.cohorts.at_most_letters :], zones, tally.first_at, claims, tail


def _assemble(
    spec: HoursSpec,
    cuts: Sequence[datetime],
    placed: Sequence[_Placed],
    zones: dict[str, str],
    first_at: datetime,
    offline: OfflineFeatures,
    tail: Sequence[tuple[Event, str]],
    claims: Sequence[Claim],
) -> HoursData:
    """Letters by local hour, and each reader's histograms where the letter's cohort began."""
    keys = sorted({(cohort, letter.customer_id) for letter, cohort in placed})
    number = {key: i for i, key in enumerate(keys)}
    rows = [LabelRow(customer_id=c, at=cuts[cohort], is_reached=False) for cohort, c in keys]
    frame: Any = offline.training_set(dataset.as_frame(rows), tail, claims, spec.features)
    if len(frame) != len(rows):
        raise RuntimeError(f"{len(rows)} rows were asked for, {len(frame)} came back")
    by_utc = columns_of(frame, spec.features)
    offsets = np.array([_offset_h(zones[row.customer_id], row.at) for row in rows])
    letters = Letters(
        row=np.array([number[cohort, letter.customer_id] for letter, cohort in placed], dtype=np.int64),
        hour=np.array(
            [letter.sent_at.astimezone(zone_of(zones[letter.customer_id])).hour for letter, _ in placed], dtype=np.int64
        ),
        opened=np.array([letter.is_opened for letter, _ in placed], dtype=np.float64),
        p_hour=np.array([letter.p_hour for letter, _ in placed], dtype=np.float64),
        cohort=np.array([cohort for _, cohort in placed], dtype=np.int64),
    )
    return HoursData(
        letters=letters,
        known=histories(by_utc, offsets),
        by_utc=np.hstack([by_utc[name] for name in spec.features]),
        cut_offs=tuple(cuts),
        n_customers=len({letter.customer_id for letter, _ in placed}),
        first_event_at=first_at,
    )


def _offset_h(zone_name: str, at: datetime) -> float:
    """Local time minus UTC in hours."""
    offset = at.astimezone(zone_of(zone_name)).utcoffset()
    return offset.total_seconds() / 3600 if offset is not None else 0.0
