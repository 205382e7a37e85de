"""Idempotency-Key: the same key and body get the stored answer for 24 h; another body 422; in flight 409."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

import orjson
from starlette.responses import Response

from opportune.api.problems import Refusal, bad
from opportune.ports import Clock, Ledger, Unavailable

log = logging.getLogger("opportune.api")

KEPT_FOR = timedelta(hours=24)
#: A request whose process died leaves its key open; after this long it may be tried again.
GIVEN_UP_AFTER = timedelta(minutes=5)
MAX_KEY = 255


class Idempotent:
    """Answers at most once per key. Only successful answers are kept; a failed request may be tried again."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock

    async def answer(self, key: str, where: str, body: bytes, act: Callable[[], Awaitable[Response]]) -> Response:
        """The stored answer, or that of `act`, which is then stored. Raises Refusal 409 or 422."""
        if not 1 <= len(key) <= MAX_KEY or not (key.isascii() and key.isprintable()):
            raise bad(
                "Idempotency-Key", "bad_key", f"Idempotency-Key must be 1 to {MAX_KEY} printable ASCII characters"
            )
        name = f"{where}:{key}"
        kept = await asyncio.to_thread(self._open, name, body_hash(body))
        if kept is not None:
            return Response(kept, 200, {"Idempotent-Replayed": "true"}, "application/json")
        answer: bytes | None = None
        try:
            response = await act()
            answer = bytes(response.body)
        finally:
            await asyncio.shield(asyncio.to_thread(self._close, name, answer))
        return response

    def _open(self, name: str, digest: str) -> bytes | None:
        now = self._clock.now()
        with self._ledger.begin() as uow:
            found = uow.idempotency.get(name)
            if found is not None:
                age = now - found.created_at
                if age > KEPT_FOR or (found.body is None and age > GIVEN_UP_AFTER):
                    uow.idempotency.close(name, None)
                    found = None
            if found is None and uow.idempotency.open(name, digest, now):
                return None
            found = found or uow.idempotency.get(name)
        if found is not None and found.body_hash != digest:
            raise bad("Idempotency-Key", "key_reused", "this Idempotency-Key was used with another body; use a new key")
        if found is None or found.body is None:
            raise Refusal(
                409, "in_flight", "a request with this Idempotency-Key is still being answered; try again",
                headers={"Retry-After": "1"},
            )  # fmt: skip
        return found.body

    def _close(self, name: str, body: bytes | None) -> None:
        try:
            with self._ledger.begin() as uow:
                uow.idempotency.close(name, body)
        except Unavailable as problem:  # the answer itself stands; the key opens again by age
            log.warning("the answer of an Idempotency-Key could not be kept: %s", problem)


def body_hash(body: bytes) -> str:
    """What makes two bodies the same: their JSON, whatever its order and spacing; else their bytes."""
    try:
        body = orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, TypeError):
        return "raw:" + hashlib.sha256(body).hexdigest()
    return hashlib.sha256(body).hexdigest()
