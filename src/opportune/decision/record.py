"""Cases and decisions as JSON, both ways and exactly; the API's shape of a decision; the send of a message.

Writing is the JSON of the nouns themselves (field names are the keys); reading knows each noun. Instants are ISO 8601
in UTC. What JSON cannot tell apart is restored: tuples, instants, enums, vectors among feature values.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from opportune.decision.hours import SEND_TIME
from opportune.domain.customers import Consent, ConsentState, Customer
from opportune.domain.decisions import (
    Ask,
    Case,
    Decision,
    Firing,
    Message,
    Mode,
    RankDraw,
    Reason,
    Removal,
    Score,
    ScoreReason,
    Stage,
    Value,
)
from opportune.domain.messages import AccountSend, Deliver, Send, SendState

_Json = Mapping[str, Any]


def case_to_json(case: Case) -> bytes:
    """The case as JSON bytes. Raises TypeError for a value that JSON has no form for."""
    return orjson.dumps(case, default=_plain)


def case_from_json(data: bytes) -> Case:
    """The very case that `case_to_json` wrote."""
    row = orjson.loads(data)
    row["ask"] = _ask(row["ask"])
    row["customer"] = _customer(row["customer"])
    row["now"] = _at(row["now"])
    row["features"] = {name: _value(value) for name, value in row["features"].items()}
    row["scores"] = _scores(row["scores"])
    row["consents"] = tuple(_consent(line) for line in row["consents"])
    row["sends"] = tuple(_send(send) for send in row["sends"])
    row["account_sends"] = tuple(_account_send(send) for send in row.get("account_sends", ()))
    return Case(**row)


def decision_to_json(decision: Decision) -> bytes:
    """The decision as JSON bytes. Raises TypeError for a value that JSON has no form for."""
    return orjson.dumps(decision, default=_plain)


def decision_from_json(data: bytes) -> Decision:
    """The very decision that `decision_to_json` wrote."""
    row = orjson.loads(data)
    row["decided_at"] = _at(row["decided_at"])
    row["mode"] = Mode(row["mode"])
    row["scores"] = _scores(row["scores"])
    row["messages"] = tuple(_message(message) for message in row["messages"])
    row["removed"] = tuple(_removal(removal) for removal in row["removed"])
    row["draws"] = tuple(RankDraw(**draw) for draw in row["draws"])
    row["exposures"] = tuple(row["exposures"])
    return Decision(**row)


def decision_to_dict(decision: Decision, case: Case | None = None) -> dict[str, Any]:
    """The answer of the API, ready for JSON. Withheld messages are not among `messages`: they must not be sent.

    `case`: adds `trace` with the draws of each rank and everything the decision was made from.
    """
    answer: dict[str, Any] = {
        "decision_id": decision.decision_id,
        "customer_id": decision.customer_id,
        "decided_at": decision.decided_at.isoformat(),
        "playbook": decision.playbook_hash,
        "mode": decision.mode.value,
        "degraded": decision.degraded,
        "currency": decision.currency,
        "summary": decision.summary,
        "scores": {name: score_to_dict(score) for name, score in decision.scores.items()},
        "messages": [_message_to_dict(message) for message in decision.messages if not message.is_virtual],
        "removed": [_removal_to_dict(removal) for removal in decision.removed],
        "nothing_probability": decision.nothing_probability,
        "exposures": [dict(exposure) for exposure in decision.exposures],
    }
    if case is not None:
        draws = [{"rank": d.rank, "chosen": d.chosen, "probabilities": dict(d.probabilities)} for d in decision.draws]
        answer["trace"] = {"draws": draws, "case": orjson.loads(case_to_json(case))}
    return answer


def score_to_dict(score: Score) -> dict[str, Any]:
    """One score in the shape of the API. Send time has `best_at` and `best_hour_local` beside."""
    best_at = None if score.best_at is None else score.best_at.isoformat()
    timed = {"best_at": best_at, "best_hour_local": score.best_hour_local} if score.name == SEND_TIME else {}
    return {
        **timed,
        "p": score.p,
        "target": score.target,
        "model": score.model,
        "reasons": [
            {"feature": r.feature, "value": r.value, "effect": r.effect, "text": r.text} for r in score.reasons
        ],
    }


def send_of(decision: Decision, message: Message, case: Case, limits: Mapping[str, int] | None = None) -> Send:
    """The reservation of a chosen message, with all a courier needs in its payload, and what its hand-off must know
    again: the customer's assignments when there are any (the same variation's caps and quiet hours are asked), and the
    `limits` of caps that adapt, by name."""
    ask, firing, assignments = case.ask, case.ask.firing, case.assignments
    return Send(
        message_id=message.message_id,
        customer_id=decision.customer_id,
        decision_id=decision.decision_id,
        rank=message.rank,
        campaign=message.campaign,
        trigger=message.trigger,
        channel=message.channel,
        topic=message.topic,
        purpose=message.purpose,
        variant=message.variant,
        tags=message.tags,
        state=SendState.RESERVED,
        deliver=ask.deliver,
        send_at=message.send_at,
        expires_at=message.expires_at,
        reserved_at=decision.decided_at,
        obeys_caps=message.obeys_caps,
        counts=message.counts,
        is_virtual=message.is_virtual,
        payload={
            "content": dict(message.content),
            "headers": dict(message.headers),
            "value_minor": message.value_minor,
            "currency": decision.currency,
            "action_probability": message.action_probability,
            "slot_probability": message.slot_probability,
            "reasons": list(message.reasons),
            "summary": decision.summary,
            "event": dict(firing.properties) if firing is not None else {},
            "context": dict(ask.context),
            **({"assignments": dict(assignments)} if assignments else {}),
            **({"step": message.step} if message.step is not None else {}),
            **({"limits": dict(limits)} if limits else {}),
        },
        trigger_key=firing.key if firing is not None else None,
        account_id=case.customer.account_id,
    )


def _message_to_dict(m: Message) -> dict[str, Any]:
    return {
        "message_id": m.message_id,
        "rank": m.rank,
        "campaign": m.campaign,
        "trigger": m.trigger,
        "step": m.step,
        "channel": m.channel,
        "variant": m.variant,
        "send_at": m.send_at.isoformat(),
        "expires_at": m.expires_at.isoformat(),
        "value_minor": m.value_minor,
        "action_probability": m.action_probability,
        "content": dict(m.content),
        "headers": dict(m.headers),
        "reasons": list(m.reasons),
    }


def _removal_to_dict(r: Removal) -> dict[str, Any]:
    return {
        "campaign": r.campaign,
        "channel": r.channel,
        "variant": r.variant,
        "stage": r.stage.value,
        "reason": r.reason.value,
        "rule": r.rule,
        "detail": dict(r.detail),
        "would_pass_at": None if r.would_pass_at is None else r.would_pass_at.isoformat(),
    }


def _plain(value: object) -> object:
    """What orjson does not write by itself: mappings that are no dict."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


_at = datetime.fromisoformat


def _maybe_at(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _value(value: Any) -> Value:
    return tuple(value) if isinstance(value, list) else value


def _scores(rows: _Json) -> dict[str, Score]:
    return {name: _score(row) for name, row in rows.items()}


def _score(row: dict[str, Any]) -> Score:
    row["reasons"] = tuple(ScoreReason(**{**r, "value": _value(r["value"])}) for r in row["reasons"])
    row["hours"] = tuple(row.get("hours", ()))
    row["best_at"] = _maybe_at(row.get("best_at"))
    return Score(**row)


def _customer(row: dict[str, Any]) -> Customer:
    row["trait_stamps"] = {name: (us, message_id) for name, (us, message_id) in row["trait_stamps"].items()}
    row["first_seen_at"] = _maybe_at(row["first_seen_at"])
    row["last_seen_at"] = _maybe_at(row["last_seen_at"])
    return Customer(**row)


def _ask(row: dict[str, Any]) -> Ask:
    row["at"] = _maybe_at(row["at"])
    row["channels"] = None if row["channels"] is None else tuple(row["channels"])
    row["deliver"] = Deliver(row["deliver"])
    firing = row["firing"]
    row["firing"] = None if firing is None else Firing(**{**firing, "due_at": _at(firing["due_at"])})
    return Ask(**row)


def _consent(row: dict[str, Any]) -> Consent:
    row["state"] = ConsentState(row["state"])
    row["at"] = _at(row["at"])
    row["recorded_at"] = _at(row["recorded_at"])
    return Consent(**row)


def _send(row: dict[str, Any]) -> Send:
    row["tags"] = tuple(row["tags"])
    row["state"] = SendState(row["state"])
    row["deliver"] = Deliver(row["deliver"])
    for name in ("send_at", "expires_at", "reserved_at"):
        row[name] = _at(row[name])
    row["handed_off_at"] = _maybe_at(row["handed_off_at"])
    row["leaving_at"] = _maybe_at(row.get("leaving_at"))
    return Send(**row)


def _account_send(row: dict[str, Any]) -> AccountSend:
    row["tags"] = tuple(row["tags"])
    row["state"] = SendState(row["state"])
    row["deliver"] = Deliver(row["deliver"])
    row["send_at"], row["reserved_at"] = _at(row["send_at"]), _at(row["reserved_at"])
    return AccountSend(**row)


def _message(row: dict[str, Any]) -> Message:
    row["tags"] = tuple(row["tags"])
    row["reasons"] = tuple(row["reasons"])
    row["send_at"] = _at(row["send_at"])
    row["expires_at"] = _at(row["expires_at"])
    return Message(**row)


def _removal(row: dict[str, Any]) -> Removal:
    row["stage"] = Stage(row["stage"])
    row["reason"] = Reason(row["reason"])
    row["would_pass_at"] = _maybe_at(row["would_pass_at"])
    return Removal(**row)
