"""Training one model: events -> labels -> features as of -> judged out of time -> registry, promoted or refused."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson

from opportune.decision.consent import Standing
from opportune.domain.customers import Claim
from opportune.domain.events import Event
from opportune.domain.instants import format_instant
from opportune.flows.publish import EVENTS_CURSOR
from opportune.learning import card, dataset, recipe
from opportune.learning import manifest as manifests
from opportune.learning import spec as specs
from opportune.learning.judge import as_text
from opportune.learning.labels import LabelRow, Tally, cut_offs
from opportune.learning.spec import ModelSpec
from opportune.playbook.load import Playbook
from opportune.playbook.schema import Goal
from opportune.ports import Clock, Ledger, OfflineFeatures, RunLog, UnitOfWork

PAGE = 20_000
Verdict = Literal["promoted", "refused", "prior", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What came of one training run. `version` null when nothing was registered. `reasons`: why it is not promoted."""

    name: str
    verdict: Verdict
    as_of: datetime
    version: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    table: Sequence[Mapping[str, object]] = ()
    reasons: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"as_of": format_instant(self.as_of)}

    def to_text(self) -> str:
        """For a terminal: a verdict sentence, the reasons, the table."""
        label = f"{self.name}/{self.version}" if self.version else self.name
        said = {
            "promoted": "is the champion now",
            "refused": "was registered and not promoted",
            "prior": "is a prior: the data is too thin to train on",
            "failed": "could not be trained",
        }[self.verdict]
        lines = [f"{label} {said} (as of {format_instant(self.as_of)})", *(f"- {reason}" for reason in self.reasons)]
        return "\n".join(lines + ([as_text(self.table)] if self.table else []))


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
    spec = specs.read(name)
    goal = playbook.spec.goals.get(spec.target.goal)
    if goal is None:
        why = f"the playbook has no goal '{spec.target.goal}', which {name} predicts: declare it under goals"
        return TrainReport(name=name, verdict="failed", as_of=knowledge_at, reasons=[why])
    report("reading events")
    labels, first_at, claims, tail = _read(spec, knowledge_at, ledger, playbook)
    rival = _rival(name, runlog)
    data, frame = None, None
    if labels and first_at is not None:
        report(f"computing features of {len(labels)} rows at {len({row.at for row in labels})} cut-offs")
        try:
            frame = offline.training_set(dataset.as_frame(labels), tail, claims)
            data = dataset.assemble(labels, frame, spec, first_at)
        except (RuntimeError, ValueError, KeyError) as problem:
            return TrainReport(name=name, verdict="failed", as_of=knowledge_at, reasons=[f"no training set: {problem}"])
    thin = recipe.too_thin(data, spec) if data else ["no cohort of customers has matured"]
    if data is None or thin:
        judged = recipe.prior(data, spec, knowledge_at, now, thin)
    else:
        report(f"fitting and judging on the cohort of {format_instant(data.cut_offs[-1])}")
        judged = recipe.judge(data, frame, spec, knowledge_at, now, rival)
    why_not = _why_not(judged, rival, knowledge_at)
    report("registering")
    return _register(judged, spec, runlog, why_not, knowledge_at)


def _read(
    spec: ModelSpec, as_of: datetime, ledger: Ledger, playbook: Playbook
) -> tuple[list[LabelRow], datetime | None, list[Claim], list[tuple[Event, str]]]:
    """Labelled rows, the first event's instant, identity claims, and the events the archive does not hold yet."""
    goal = playbook.spec.goals[spec.target.goal]
    tally = Tally(
        cut_offs=cut_offs(as_of, spec.target.horizon_days, spec.cohorts.every_days, spec.cohorts.at_most),
        as_of=as_of,
        active_within_days=spec.population.active_within_days,
        activity=frozenset(playbook.spec.activity),
        ignore=frozenset(spec.population.ignore),
    )
    with ledger.read() as uow:
        claims = uow.identities.all_claims()
        archived = uow.cursors.get(EVENTS_CURSOR) or ""
        for page in _pages(uow, ""):
            for event, _ in page:
                tally.add(event, _reaches(event, goal, playbook))
        tail = [pair for page in _pages(uow, archived) for pair in page]
        rows = tally.rows(claims, spec.target.horizon_days, spec.cohorts.history_days)
        barred = _barred(sorted({row.customer_id for row in rows}), uow, playbook)
    allowed = [row for row in rows if row.customer_id not in barred]
    return dataset.bounded(allowed, spec.cohorts.at_most_rows), tally.first_at, claims, tail


def _pages(uow: UnitOfWork, cursor: str) -> Iterator[list[tuple[Event, str]]]:
    """The ledger's events after a cursor, a page at a time."""
    while True:
        page, cursor = uow.events.after(cursor, PAGE)
        if not page:
            return
        yield page


def _reaches(event: Event, goal: Goal, playbook: Playbook) -> bool:
    return event.name == goal.event and playbook.holds(goal.when, {"event": event.properties})


def _barred(customer_ids: Sequence[str], uow: UnitOfWork, playbook: Playbook) -> set[str]:
    """Test customers, and those who refuse profiling: never learned from."""
    policy, barred = playbook.spec.consent, set[str]()
    for start in range(0, len(customer_ids), 1000):
        chunk = customer_ids[start : start + 1000]
        customers, consents = uow.customers.get(chunk), uow.consents.of(chunk)
        barred |= {c for c in chunk if c in customers and customers[c].is_test}
        barred |= {c for c in chunk if not Standing(consents.get(c, [])).may_profile(policy)}
    return barred


def _rival(name: str, runlog: RunLog) -> recipe.Rival | None:
    version = runlog.champion(name)
    if version is None:
        return None
    files = runlog.fetch(name, version)
    return recipe.Rival(
        label=f"{name}/{version}",
        manifest=manifests.parse(files[manifests.MANIFEST]),
        judged_text=files.get(manifests.JUDGED, b"").decode(),
    )


def _why_not(judged: recipe.Judged, rival: recipe.Rival | None, as_of: datetime) -> list[str]:
    why = list(judged.why_not)
    if rival is None:
        return why
    if judged.too_thin and rival.manifest["kind"] != "prior":
        why.append(f"{rival.label} was trained on data, a prior does not replace it")
    known = datetime.fromisoformat(str(rival.manifest["as_of"]))
    if known > as_of + timedelta(seconds=1):
        why.append(f"{rival.label} knows more: it was trained as of {format_instant(known)}")
    return why


def _register(
    judged: recipe.Judged, spec: ModelSpec, runlog: RunLog, why_not: Sequence[str], as_of: datetime
) -> TrainReport:
    verdict: Verdict = "prior" if judged.too_thin else "refused" if why_not else "promoted"
    reasons = [*judged.too_thin, *why_not, *judged.notes]
    written = card.written_part(spec.name)
    text = card.write(spec, judged.manifest, judged.table, judged.gains, verdict, reasons, written)
    files = {
        manifests.MANIFEST: manifests.dump(judged.manifest),
        manifests.MODEL: judged.text.encode(),
        manifests.CARD: text.encode(),
        manifests.TABLE: orjson.dumps(list(judged.table), option=orjson.OPT_INDENT_2),
    }
    if judged.judged_text:
        files[manifests.JUDGED] = judged.judged_text.encode()
    metrics = {
        k: v for who, m in judged.metrics.items() for k, v in m.flat("" if who == "model" else f"{who}_").items()
    }
    window = judged.manifest["data"]
    run = {
        "params": {
            **spec.parameters,
            "rounds": spec.rounds,
            "seed": spec.seed,
            "horizon_days": spec.target.horizon_days,
        },
        "metrics": metrics or {"p": judged.manifest["p"]},
        "tags": {
            "verdict": verdict,
            "reasons": "; ".join(reasons),
            "kind": judged.manifest["kind"],
            "target": spec.target.words,
            "as_of": judged.manifest["as_of"],
            "cohort": window["cut_offs"][-1] if window["cut_offs"] else "",
            "data_window": f"{window['first_event_at']} to {judged.manifest['as_of']}",
            "fingerprint": window["fingerprint"] or "",
            "definition_hash": judged.manifest["definition_hash"],
        },
    }
    version = runlog.log_training(spec.name, run, files)
    if not why_not:
        runlog.promote(spec.name, version)
    return TrainReport(
        name=spec.name,
        verdict=verdict,
        as_of=as_of,
        version=version,
        metrics=metrics,
        table=judged.table,
        reasons=reasons,
    )
