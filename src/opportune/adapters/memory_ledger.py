"""The ledger in memory: the twin of the SQL one, with the same promises inside one process and none after it."""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager

from opportune.adapters.memory_decisions import MemoryDecisions, MemoryExposures, MemoryPlaybooks
from opportune.adapters.memory_events import MemoryDeadLetters, MemoryEvents
from opportune.adapters.memory_items import MemoryInterests, MemoryItems, MemorySources
from opportune.adapters.memory_journeys import MemoryJourneys
from opportune.adapters.memory_lock import FairLock
from opportune.adapters.memory_outbox import MemoryCursors, MemoryIdempotency, MemoryOutbox
from opportune.adapters.memory_people import MemoryConsents, MemoryCustomers, MemoryIdentities, MemoryStates
from opportune.adapters.memory_sends import MemoryOutcomes, MemorySends
from opportune.adapters.memory_timers import MemoryTimers
from opportune.adapters.memory_watches import MemoryWatches
from opportune.adapters.memory_work import MemoryWork, Tables
from opportune.ports import UnitOfWork


class MemoryLedger:
    """`opportune.ports.Ledger` in dicts. One lock covers every customer; readers never wait.

    `lock_timeout_s`: how long begin() waits before it raises Unavailable.
    """

    def __init__(self, *, lock_timeout_s: float = 30.0) -> None:
        self._lock_timeout_s = lock_timeout_s
        self._queue = FairLock()
        self._tables: Tables = {}

    @contextmanager
    def begin(self, customer_ids: Collection[str] = ()) -> Iterator[UnitOfWork]:
        """A writing transaction: see the port."""
        del customer_ids  # the one lock covers them all
        with self._queue.held(self._lock_timeout_s):
            work = MemoryWork(self._tables, is_writing=True)
            yield MemoryUnit(work)
            self._tables = work.tables

    @contextmanager
    def read(self) -> Iterator[UnitOfWork]:
        """A reading transaction on one snapshot: see the port."""
        yield MemoryUnit(MemoryWork(self._tables, is_writing=False))

    def close(self) -> None:
        """Nothing is held."""


class MemoryUnit:
    """Hands out the ports; all of them work on the one transaction."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work
        self.customers = MemoryCustomers(work)
        self.identities = MemoryIdentities(work)
        self.consents = MemoryConsents(work)
        self.events = MemoryEvents(work)
        self.dead_letters = MemoryDeadLetters(work)
        self.states = MemoryStates(work)
        self.timers = MemoryTimers(work)
        self.watches = MemoryWatches(work)
        self.journeys = MemoryJourneys(work)
        self.sends = MemorySends(work)
        self.decisions = MemoryDecisions(work)
        self.playbooks = MemoryPlaybooks(work)
        self.exposures = MemoryExposures(work)
        self.outcomes = MemoryOutcomes(work)
        self.outbox = MemoryOutbox(work)
        self.idempotency = MemoryIdempotency(work)
        self.cursors = MemoryCursors(work)
        self.items = MemoryItems(work)
        self.interests = MemoryInterests(work)
        self.sources = MemorySources(work)

    def savepoint(self) -> AbstractContextManager[None]:
        """A nested scope: an exception inside undoes only what was written inside, and goes on."""
        return self._work.savepoint()
