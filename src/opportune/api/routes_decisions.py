"""Decisions and scores."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from opportune.api import models
from opportune.api.asks import MAX_BATCH, read_ask, read_asks, read_flag, read_id, read_past, unknown_fields
from opportune.api.batcher import Batcher
from opportune.api.endpoint import LARGE, SMALL, Endpoint, body_of, json_response, parse_object, refusal_of
from opportune.api.idempotency import Idempotent
from opportune.api.keys import Scope
from opportune.api.metrics import Metrics
from opportune.api.parts import Parts
from opportune.api.problems import Refusal, bad
from opportune.decision.record import decision_to_dict
from opportune.domain.decisions import Ask, Decision
from opportune.flows.decide import AskRefused
from opportune.flows.links import linked_decision
from opportune.playbook.load import SCORES
from opportune.ports import Unavailable

#: One commit holds at most this many asks.
MAX_ASKS, MAX_ASKS_WAITING = 64, 4096

Asked = Sequence[Ask]
Answered = list[bytes | Refusal]

EXAMPLE = {"customer_id": "c42", "channels": ["email", "push"], "max_messages": 1, "dry_run": True}


class DecisionRoutes:
    """POST /v1/decisions, /v1/decisions/batch, /v1/scores and GET /v1/decisions/{id}."""

    def __init__(self, parts: Parts, metrics: Metrics) -> None:
        self.parts, self.metrics = parts, metrics
        self.batcher: Batcher[Asked, Answered] = Batcher(
            "decide",
            self.decide,
            max_weight=MAX_ASKS,
            max_waiting=MAX_ASKS_WAITING,
            on_batch=metrics.batches("decide", lambda: self.batcher.waiting),
        )
        self.idempotent = Idempotent(parts.ledger, parts.clock)

    def decide(self, groups: Sequence[Asked]) -> list[Answered]:
        """Decide several requests' asks in one call of the flow; JSON bytes or a refusal per ask, per request."""
        try:
            told = iter(self.told([ask for group in groups for ask in group]))
        except Unavailable:
            raise
        except Exception:
            if len(groups) != 1 or len(groups[0]) == 1:
                raise
            told = iter([self.alone(ask) for ask in groups[0]])
        return [[next(told) for _ in group] for group in groups]

    def told(self, asks: Sequence[Ask]) -> Answered:
        """One call of the flow, in words for the wire."""
        answers = self.parts.flows.decide(asks, self.parts.desk)
        if len(answers) != len(asks):
            raise RuntimeError(f"{len(answers)} decisions for {len(asks)} asks")
        self.metrics.decided([a for a in answers if isinstance(a, Decision)])
        secret = self.parts.desk.secret
        return [tell(linked_decision(a, secret) if isinstance(a, Decision) else a) for a in answers]

    def alone(self, ask: Ask) -> bytes | Refusal:
        """One ask of a batch that failed as a whole; its error is its own."""
        try:
            return self.told([ask])[0]
        except Exception as problem:  # noqa: BLE001 - it becomes this item's error
            return refusal_of(problem)

    async def one(self, request: Request) -> Response:
        """POST /v1/decisions."""
        body = await body_of(request, SMALL)
        key = request.headers.get("idempotency-key")
        if key is not None:
            return await self.idempotent.answer(key, "decisions", body, lambda: self.one_of(body))
        return await self.one_of(body)

    async def one_of(self, body: bytes) -> Response:
        """The answer to one ask."""
        ask = read_ask(parse_object(body), self.parts.playbook, self.parts.clock.now())
        (answer,) = await self.batcher.submit((ask,), 1, "explain" if ask.explain else "")
        if isinstance(answer, Refusal):
            raise answer
        return Response(answer, 200, None, "application/json")

    async def batch(self, request: Request) -> Response:
        """POST /v1/decisions/batch."""
        body = await body_of(request, LARGE)
        key = request.headers.get("idempotency-key")
        if key is not None:
            return await self.idempotent.answer(key, "batch", body, lambda: self.batch_of(body))
        return await self.batch_of(body)

    async def batch_of(self, body: bytes) -> Response:
        """The answers to a batch, in order."""
        data = parse_object(body)
        read = read_asks(data, self.parts.playbook, self.parts.clock.now())
        asks = [ask for ask in read if isinstance(ask, Ask)]
        lane = "explain" if any(a.explain for a in asks) else ""
        answers = iter(await self.in_chunks(asks, lane))
        told = [next(answers) if isinstance(ask, Ask) else ask for ask in read]
        items = [
            orjson.dumps({"customer_id": id_of(item), "error": a.as_item()}) if isinstance(a, Refusal) else a
            for a, item in zip(told, data["customers"], strict=True)
        ]
        return Response(b'{"decisions":[' + b",".join(items) + b"]}", 200, None, "application/json")

    async def in_chunks(self, asks: Sequence[Ask], lane: str) -> Answered:
        """All answers in order, one chunk after the other, so that single asks get in between.

        When a chunk fails, it and what follows carry its error; when it is the first, that error is raised.
        """
        answers: Answered = []
        for start in range(0, len(asks), MAX_ASKS):
            chunk = asks[start : start + MAX_ASKS]
            try:
                answers += await self.batcher.submit(chunk, len(chunk), lane)
            except Exception as problem:
                if not answers:
                    raise
                return answers + [refusal_of(problem)] * (len(asks) - len(answers))
        return answers

    async def get(self, request: Request) -> Response:
        """GET /v1/decisions/{decision_id}."""
        explain = flag_of(request, "explain")
        decision_id = request.path_params["decision_id"]
        stored, parts = self.parts.flows.stored, self.parts
        found = await asyncio.to_thread(stored, decision_id, parts.ledger, explain, secret=parts.desk.secret)
        if found is None:
            raise Refusal(404, "decision_not_found", "there is no decision with this id (dry runs are not stored)")
        return json_response(found)

    async def scores(self, request: Request) -> Response:
        """POST /v1/scores."""
        data = parse_object(await body_of(request, LARGE))
        known = frozenset(models.ScoresBody.model_fields)
        if not data.keys() <= known:
            raise unknown_fields(data, known, "")
        ids = data.get("customer_ids")
        if not isinstance(ids, list) or not 1 <= len(ids) <= MAX_BATCH:
            raise bad("customer_ids", "wrong_type", f"customer_ids must be a list of 1 to {MAX_BATCH} customer ids")
        customer_ids = [read_id(v, f"customer_ids[{i}]") for i, v in enumerate(ids)]
        names = data.get("models")
        if names is not None and (
            not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names)
        ):
            raise bad("models", "wrong_type", 'models must be a list of names like ["purchase"]; leave it out for all')
        unknown = sorted(set(names or ()) - SCORES)
        if unknown:
            known_names = ", ".join(sorted(SCORES))
            raise bad("models", "unknown_model", f"there is no model {unknown[0]!r}; there are: {known_names}")
        at = read_past(data.get("at"), self.parts.clock.now(), "at")
        explain = read_flag(data.get("explain"), "explain")
        score = self.parts.flows.score
        return json_response(
            {"scores": await asyncio.to_thread(score, customer_ids, names, at, self.parts.desk, explain)}
        )

    def endpoints(self) -> list[Endpoint]:
        """What this file serves."""
        tag, decide = "decisions", Scope.DECIDE
        retry = {"Idempotency-Key": "1 to 255 characters. The same key and body get the stored answer for 24 h."}
        return [
            Endpoint(
                method="POST",
                path="/v1/decisions",
                answer=self.one,
                scope=decide,
                tag=tag,
                is_hot=True,
                summary="Decide what to say to one customer now",
                headers=retry,
                description="An unknown customer is a customer without history. "
                "Every candidate that was not chosen is in `removed` with its reason.",
                request=models.AskBody,
                response=models.DecisionOut,
                errors=(400, 401, 403, 409, 413, 422, 503),
                examples={
                    "dry run": EXAMPLE,
                    "ask": {"customer_id": "c42", "context": {"cart_value": 80}},
                    "named trigger": {"customer_id": "c42", "trigger": "cart_abandoned", "explain": True},
                },
            ),
            Endpoint(
                method="POST",
                path="/v1/decisions/batch",
                answer=self.batch,
                scope=decide,
                tag=tag,
                is_hot=True,
                summary="Decide for up to 1,000 customers",
                headers=retry,
                description="Answers in the order asked; an item that cannot be decided carries `error` "
                "and does not fail the rest.",
                request=models.BatchBody,
                response=models.BatchOut,
                errors=(400, 401, 403, 409, 413, 422, 503),
                examples={"dry run": {"customers": [{"customer_id": "c42"}, {"customer_id": "c43"}], "dry_run": True}},
            ),
            Endpoint(
                method="GET",
                path="/v1/decisions/{decision_id}",
                answer=self.get,
                scope=decide,
                tag=tag,
                summary="A stored decision",
                response=models.DecisionOut,
                errors=(401, 403, 404, 422, 503),
                query={"explain": ({"type": "boolean", "default": False}, "With the whole trace: case and draws.")},
            ),
            Endpoint(
                method="POST",
                path="/v1/scores",
                answer=self.scores,
                scope=decide,
                tag=tag,
                summary="Scores of up to 1,000 customers",
                description="A customer without a trained model, or without consent to profiling, has no scores.",
                request=models.ScoresBody,
                response=models.ScoresOut,
                errors=(400, 401, 403, 413, 422, 503),
                examples={"one": {"customer_ids": ["c42"], "models": ["purchase"], "explain": True}},
            ),
        ]


def tell(answer: object) -> bytes | Refusal:
    """One answer of the flow as JSON bytes, or as the refusal it is."""
    if isinstance(answer, Decision):
        return orjson.dumps(decision_to_dict(answer))
    if isinstance(answer, AskRefused):
        return bad(answer.field, answer.code, answer.message)
    raise TypeError(f"a decision was asked for, the flow answered {type(answer).__name__}")


def id_of(item: object) -> Any:
    """The customer id an item of a batch named, as it came; null when it named none that can be repeated."""
    value = item.get("customer_id") if isinstance(item, dict) else None
    return value if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def flag_of(request: Request, name: str) -> bool:
    """A boolean of the query string: true/1 or false/0; absent: false."""
    value = request.query_params.get(name)
    if value is None or value.lower() in ("false", "0"):
        return False
    if value.lower() in ("true", "1"):
        return True
    raise bad(name, "wrong_type", f"{name} must be true or false")
