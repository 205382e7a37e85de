"""What every training run shares: its report, reading pages, who may be learned from, registering the result."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson

from opportune.decision.consent import Policies, Standing
from opportune.domain.events import Event
from opportune.domain.instants import format_instant
from opportune.learning import card, recipe
from opportune.learning import manifest as manifests
from opportune.learning.judge import as_text
from opportune.learning.spec import AnySpec
from opportune.playbook.load import Playbook
from opportune.ports import RunLog, UnitOfWork

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


def pages(uow: UnitOfWork, cursor: str) -> Iterator[list[tuple[Event, str]]]:
    """The ledger's events after a cursor, a page at a time."""
    while True:
        page, cursor = uow.events.after(cursor, PAGE)
        if not page:
            return
        yield page


def barred(customer_ids: Sequence[str], uow: UnitOfWork, playbook: Playbook) -> set[str]:
    """Test customers, and those who refuse profiling: never learned from."""
    policies, found = Policies(playbook.spec.consent), set[str]()
    for start in range(0, len(customer_ids), 1000):
        chunk = customer_ids[start : start + 1000]
        customers, consents = uow.customers.get(chunk), uow.consents.of(chunk)
        found |= {c for c in chunk if c in customers and customers[c].is_test}
        for c in chunk:
            policy = policies.of(customers[c].traits if c in customers else {})
            if not Standing(consents.get(c, [])).may_profile(policy):
                found.add(c)
    return found


def rival_of(name: str, runlog: RunLog) -> recipe.Rival | None:
    version = runlog.champion(name)
    if version is None:
        return None
    files = runlog.fetch(name, version)
    return recipe.Rival(
        label=f"{name}/{version}",
        manifest=manifests.parse(files[manifests.MANIFEST]),
        judged_text=files.get(manifests.JUDGED, b"").decode(),
    )


def why_not_promoted(judged: recipe.Judged, rival: recipe.Rival | None, as_of: datetime) -> list[str]:
    why = list(judged.why_not)
    if rival is None:
        return why
    if judged.too_thin and rival.manifest["kind"] != "prior":
        why.append(f"{rival.label} was trained on data, a prior does not replace it")
    known = datetime.fromisoformat(str(rival.manifest["as_of"]))
    if known > as_of + timedelta(seconds=1):
        why.append(f"{rival.label} knows more: it was trained as of {format_instant(known)}")
    return why


def register(
    judged: recipe.Judged,
    spec: AnySpec,
    params: Mapping[str, Any],
    runlog: RunLog,
    why_not: Sequence[str],
    as_of: datetime,
) -> TrainReport:
    """Log the run, register the version, and promote it unless there is a reason not to."""
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
        "params": dict(params),
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
