"""Letting go of what has served its time."""

from datetime import timedelta

from opportune.ports import Clock, Ledger

#: How long an answer is kept for its Idempotency-Key.
KEPT = timedelta(hours=24)


def forget_answers(ledger: Ledger, clock: Clock) -> int:
    """Drop stored answers of Idempotency-Keys older than a day. Returns 0: nothing is waiting afterwards."""
    with ledger.begin() as uow:
        uow.idempotency.forget_before(clock.now() - KEPT)
    return 0
