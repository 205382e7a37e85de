"""The pulse of ingestion: while this process takes events in and can write, it says so in the ledger, every minute.

Absence triggers conclude from silence; without this they could not tell a quiet shop from an ingestion that is down.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from opportune.flows.health import beat_ingestion
from opportune.ports import Clock, Ledger

log = logging.getLogger("opportune.api")

#: Four signs a minute, so that a slow one or a restart leaves none out.
EVERY_S = 15.0


async def pulse(
    through: Callable[[], Awaitable[object]], ledger: Ledger, clock: Clock, every_s: float = EVERY_S
) -> None:
    """For ever: an empty parcel goes the way of all events (`through`), then a sign is written. A failure: no sign."""
    while True:
        try:
            await through()
            await asyncio.to_thread(beat_ingestion, ledger, clock)
        except Exception as problem:  # noqa: BLE001 - whatever it is: no sign, and on to the next
            log.warning("no sign of life of ingestion: %s", problem)
        await asyncio.sleep(every_s)
