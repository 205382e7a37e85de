"""Reading the decision log and scores: the stored decision, its replay, and scores on request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from opportune.decision import record
from opportune.decision.consent import Standing
from opportune.decision.pipeline import decide as choose
from opportune.domain.decisions import Decision
from opportune.features.state import empty, finalise, rebuild
from opportune.flows.desk import Desk
from opportune.flows.past import past_of
from opportune.flows.people import canonical_ids
from opportune.flows.readings import Reading, read_features, readings_from, readings_of, tell_hours
from opportune.flows.states import ledger_states
from opportune.playbook.load import from_source
from opportune.ports import Ledger


def stored(decision_id: str, ledger: Ledger, explain: bool = False) -> dict[str, Any] | None:
    """The stored decision in the shape of the API; null when there is none. `explain` adds case and draws."""
    with ledger.read() as uow:
        row = uow.decisions.get(decision_id)
    if row is None:
        return None
    answer = record.decision_to_dict(record.decision_from_json(row.decision))
    if explain:
        answer["case"] = orjson.loads(row.case)
        answer["draws"] = orjson.loads(row.decision).get("draws", [])
    return answer


@dataclass(frozen=True, slots=True)
class Replay:
    """A stored decision, decided again from its case and its playbook."""

    stored: Decision
    again: Decision

    @property
    def is_same(self) -> bool:
        """True when nothing differs."""
        return self.stored == self.again


def replay(decision_id: str, ledger: Ledger) -> Replay | None:
    """Decide a stored case again under the playbook it was decided with; null when there is no such decision."""
    with ledger.read() as uow:
        row = uow.decisions.get(decision_id)
        source = uow.playbooks.get(row.playbook_hash) if row else None
    if row is None:
        return None
    if source is None:
        raise LookupError(f"the playbook {row.playbook_hash} of decision {decision_id} is not in the ledger")
    again = choose(record.case_from_json(row.case), from_source(source))
    return Replay(record.decision_from_json(row.decision), again)


def score(
    customer_ids: Sequence[str], models: Sequence[str] | None, at: datetime | None, desk: Desk, explain: bool = False
) -> list[dict[str, Any]]:
    """Scores per customer in order: `{"customer_id", "<model>": {"p", "target", "model", "reasons"}}`.

    Without consent to profiling, or without a trained model, a customer has no scores. `at` null: now.
    """
    now = desk.clock.now() if at is None else at
    with desk.ledger.read() as uow:
        whose = canonical_ids(customer_ids, uow)
        consents = uow.consents.of(set(whose.values()))
        stamps = uow.states.stamps(set(whose.values()))
        if at is not None:
            pasts = {c: past_of(c, at, desk.playbook, uow) for c in whose.values()}
            people = {c: past.customer for c, past in pasts.items()}
            values = {c: finalise(rebuild(past.events), at) for c, past in pasts.items()}
            readings: Mapping[str, Reading] = readings_from(values, {}, desk, values if explain else ())
        else:
            ids = set(whose.values())
            people = uow.customers.get(ids)
            fresh, _ = read_features(ids, now, desk, ids if explain else ())
            behind = [c for c in ids if c not in fresh or not fresh[c].is_of(stamps.get(c))]
            states, found = ledger_states(behind, uow)
            fresh = {c: reading for c, reading in fresh.items() if c not in behind}
            fresh.update(readings_of(states, found, now, desk, ids if explain else ()))
            blank = {c: finalise(empty(), now) for c in ids if c not in fresh}
            readings = {**fresh, **readings_from(blank, {}, desk, blank if explain else ())}
    tell_hours(readings, people, now, desk, readings if explain else ())
    answers = []
    for asked in customer_ids:
        customer = whose[asked]
        allowed = Standing(consents.get(customer, ())).may_profile(desk.playbook.spec.consent)
        scores = readings[customer].scores if allowed else {}
        wanted = {n: s for n, s in scores.items() if models is None or n in models}
        answers.append({"customer_id": asked, **{n: record.score_to_dict(s) for n, s in wanted.items()}})
    return answers
