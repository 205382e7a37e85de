"""The unit of work: every part of the ledger in one transaction, and the ledger that opens it."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Protocol

from opportune.ports.items import Catalogued
from opportune.ports.journeys import Journeys
from opportune.ports.ledger import (
    Consents,
    Cursors,
    Customers,
    DeadLetters,
    Decisions,
    Events,
    Exposures,
    Idempotency,
    Identities,
    Outbox,
    Outcomes,
    Playbooks,
    Sends,
    States,
    Timers,
)
from opportune.ports.watches import Watches


class UnitOfWork(Catalogued, Protocol):
    """One transaction. Everything read is consistent; everything written commits together or not at all."""

    @property
    def customers(self) -> Customers: ...
    @property
    def identities(self) -> Identities: ...
    @property
    def consents(self) -> Consents: ...
    @property
    def events(self) -> Events: ...
    @property
    def dead_letters(self) -> DeadLetters: ...
    @property
    def states(self) -> States: ...
    @property
    def timers(self) -> Timers: ...
    @property
    def watches(self) -> Watches: ...
    @property
    def journeys(self) -> Journeys: ...
    @property
    def sends(self) -> Sends: ...
    @property
    def decisions(self) -> Decisions: ...
    @property
    def playbooks(self) -> Playbooks: ...
    @property
    def exposures(self) -> Exposures: ...
    @property
    def outcomes(self) -> Outcomes: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def idempotency(self) -> Idempotency: ...
    @property
    def cursors(self) -> Cursors: ...

    def savepoint(self) -> AbstractContextManager[None]:
        """A nested scope: an exception inside undoes only what was written inside, and goes on to the caller."""
        ...


class Ledger(Protocol):
    """Opens units of work. Raises Unavailable when the database cannot be reached or stays locked."""

    def begin(self, customer_ids: Collection[str] = ()) -> AbstractContextManager[UnitOfWork]:
        """A writing transaction that holds one lock per customer id, taken in sorted order. Not re-entrant.

        Commits on clean exit; an exception rolls all back and is raised on.
        """
        ...

    def read(self) -> AbstractContextManager[UnitOfWork]:
        """A reading transaction on one snapshot; writing in it is an error."""
        ...

    def close(self) -> None: ...
