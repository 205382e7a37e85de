"""A stored decision, decided again stage by stage, as a trace to look into. No customer id, no content."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from opportune.decision import record
from opportune.decision.pipeline import decide
from opportune.decision.trace import Step, Trace
from opportune.domain.decisions import Case, Decision, Reason, StoredDecision
from opportune.domain.instants import to_us
from opportune.experiments.assign import hash_v2
from opportune.playbook.load import Playbook
from opportune.ports import SpanRecord, TraceRecord

#: At most this many of one page of decisions, those with errors first: MLflow takes traces slowly.
MOST_TRACES = 100
DURATIONS = "how long each stage took when the stored case was decided again for this trace, not in the live request"


def sampled(rows: Sequence[StoredDecision], share: float) -> list[StoredDecision]:
    """Those to trace: every decision with an error, and a share of the rest by a hash of the decision id."""
    wrong = [row for row in rows if has_error(row)]
    chosen = {row.decision_id for row in wrong}
    drawn = [r for r in rows if r.decision_id not in chosen and hash_v2("trace", r.decision_id) < share]
    return [*wrong, *drawn][:MOST_TRACES]


def has_error(row: StoredDecision) -> bool:
    """A part was down, or a body could not be rendered."""
    decision = orjson.loads(row.decision)
    return decision["degraded"] or any(r["reason"] == Reason.RENDER_FAILED.value for r in decision["removed"])


def trace_of(
    row: StoredDecision,
    playbook: Playbook,
    variation: str | None = None,
    watch: Callable[[], int] = time.perf_counter_ns,
) -> TraceRecord:
    """The trace of a stored decision. `playbook`: the one it was decided with. `variation`: for its tags."""
    case = record.case_from_json(row.case)
    stored = record.decision_from_json(row.decision)
    trace = Trace(watch)
    began = watch()
    again = decide(case, playbook, trace)
    base = to_us(row.decided_at) * 1000
    spans, last = [], began
    for step in trace.steps:
        spans.append(
            SpanRecord(
                name=f"{step.stage} {step.rank}" if step.rank > 1 else step.stage,
                started_ns=base + last - began,
                ended_ns=base + step.ended_ns - began,
                attributes=told(step),
            )
        )
        last = step.ended_ns
    return TraceRecord(
        decision_id=row.decision_id,
        variation=variation,
        at=row.decided_at,
        inputs=inputs_of(case),
        outputs=outputs_of(stored),
        tags={
            "decision_id": row.decision_id,
            "unit": case.unit,
            "mode": stored.mode.value,
            "campaign": stored.messages[0].campaign if stored.messages else "none",
            "replays_to_the_same": str(again == stored).lower(),
            "durations": DURATIONS,
            **({"variation": variation} if variation else {}),
        },
        spans=spans,
        is_error=has_error(row),
    )


def told(step: Step) -> dict[str, Any]:
    """What a stage did: how many went on and which, how many did not and why."""
    kept = [f"{c.option.campaign}|{c.option.channel}|{c.variant or ''}" for c in step.kept]
    removed = [
        {
            "candidate": f"{r.campaign}|{r.channel or '*'}",
            "reason": r.reason.value,
            "rule": r.rule,
            **_numbers(r.detail),
        }
        for r in step.removed
    ]
    return {"n_kept": len(kept), "n_removed": len(removed), "kept": kept, "removed": removed}


def _numbers(detail: Mapping[str, Any]) -> dict[str, Any]:
    return {key: detail[key] for key in ("limit", "found", "by", "condition", "score") if key in detail}


def inputs_of(case: Case) -> dict[str, Any]:
    """What the decision was asked, as far as it names nobody."""
    return {
        "trigger": case.ask.trigger or "request",
        "channels": case.ask.channels,
        "assignments": dict(case.assignments),
        "scores": {name: round(score.p, 6) for name, score in case.scores.items()},
        "n_sends_before": len(case.sends),
        "degraded": case.degraded,
        "unit": case.unit,
    }


def outputs_of(decision: Decision) -> dict[str, Any]:
    """What it answered, without the words of its messages."""
    return {
        "summary": decision.summary,
        "messages": [
            {
                "campaign": m.campaign,
                "channel": m.channel,
                "variant": m.variant,
                "send_at": m.send_at.isoformat(),
                "value_minor": m.value_minor,
                "action_probability": m.action_probability,
                "withheld": m.is_virtual,
            }
            for m in decision.messages
        ],
        "nothing_probability": decision.nothing_probability,
        "n_removed": len(decision.removed),
    }
