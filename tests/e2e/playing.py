"""A playbook test played through the HTTP door, as a client would: what the steps do, on a clock moved by request."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from opportune.domain.instants import parse_instant
from opportune.playbook.cases import Case, Step

#: method, path, body -> status and JSON of the answer.
Call = Callable[[str, str, Any], tuple[int, Any]]
#: When, to whom, why, by which channel, at which step, what.
Told = tuple[datetime, str, str, str, str | None, dict[str, Any]]


class Player:
    """One case on one running service. `home` holds the file sink; what models say is written into `scores`."""

    def __init__(self, call: Call, home: Path, case: Case, scores: dict[str, float] | None = None) -> None:
        self._call, self._home, self._case, self._scores = call, home, case, scores
        self._asked: list[dict[str, Any]] = []
        self._now = case.start

    def play(self) -> list[Told]:
        """Everything in order, the clock up to the end of the case; what was said."""
        self._move(self._case.start)
        if self._case.scores:
            self._set_scores(self._case.scores)
        for customer, traits in self._case.customers.items():
            self._send({"type": "identify", "userId": customer, "traits": traits})
            self._move(self._now)
        for step in self._case.steps:
            self._move(self._case.instant(step.at))
            self._act(step)
            self._move(self._now)
        self._move(self._case.instant(self._case.until))
        return sorted(((*_told(m), m["content"]) for m in [*self._handed(), *self._asked]), key=lambda t: t[:2])

    def _act(self, step: Step) -> None:
        who = step.customer
        if step.event is not None:
            self._send({"type": "track", "userId": who, "event": step.event, "properties": step.properties})
        elif step.page is not None:
            self._send({"type": "page", "userId": who, "name": step.page, "properties": step.properties})
        elif step.identify is not None:
            self._send({"type": "identify", "userId": who, "traits": step.identify})
        elif step.alias is not None:
            self._send({"type": "alias", "userId": who, "previousId": step.alias})
        elif step.envelope is not None:
            self._send(dict(step.envelope))
        elif step.item is not None:
            body = {name: value for name, value in step.item.items() if name != "item_id"}
            self._fine("PUT", f"/v1/items/{step.item['item_id']}", body)
        elif step.consent is not None:
            for scope, state in step.consent.items():
                channel, _, topic = scope.partition("/")
                said = {"channel": channel, "topic": topic or "*", "state": state, "source": "a test"}
                self._fine("PUT", f"/v1/customers/{who}/consent", said)
        elif step.scores is not None:
            self._set_scores(step.scores)
        elif step.status is not None:
            mine = [m for m in [*self._handed(), *self._asked] if m["customer_id"] == who]
            newest = max(mine, key=lambda m: _told(m)[0])
            self._fine("POST", f"/v1/messages/{newest['message_id']}/status", {"status": step.status})
        elif step.ask is not None:
            asked = {name: value for name, value in step.ask.model_dump().items() if value is not None}
            answer = self._fine("POST", "/v1/decisions", {"customer_id": who, **asked})
            self._asked += [{**m, "customer_id": who} for m in answer["messages"]]

    def _set_scores(self, scores: dict[str, float]) -> None:
        assert self._scores is not None, "this service has models of its own"
        self._scores.update(scores)

    def _send(self, item: dict[str, Any]) -> None:
        answer = self._fine("POST", "/v1/batch", {"batch": [{"timestamp": self._now.isoformat(), **item}]})
        assert (answer["accepted"], answer["rejected"]) == (1, [])

    def _move(self, to: datetime) -> None:
        """To an instant; what is due on the way, or there, happens."""
        self._fine("POST", "/v1/clock", {"now": to.isoformat()})
        self._now = to

    def _fine(self, method: str, path: str, body: Any) -> Any:
        status, answer = self._call(method, path, body)
        assert status == 200, (method, path, body, status, answer)
        return answer

    def _handed(self) -> list[dict[str, Any]]:
        folder = self._home / "sent"
        return [json.loads(file.read_text()) for file in folder.glob("*.json")] if folder.exists() else []


def _told(message: dict[str, Any]) -> tuple[datetime, str, str, str, str | None]:
    at = parse_instant(message.get("handed_off_at") or message["send_at"])
    return at, message["customer_id"], message["campaign"], message["channel"], message.get("step")
