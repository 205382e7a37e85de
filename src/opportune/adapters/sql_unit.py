"""One SQL transaction as `opportune.ports.UnitOfWork`."""

from contextlib import AbstractContextManager

from opportune.adapters.sql_decisions import SqlDecisions, SqlExposures, SqlPlaybooks
from opportune.adapters.sql_events import SqlDeadLetters, SqlEvents
from opportune.adapters.sql_items import SqlInterests, SqlItems, SqlSources
from opportune.adapters.sql_journeys import SqlJourneys
from opportune.adapters.sql_outbox import SqlCursors, SqlIdempotency, SqlOutbox
from opportune.adapters.sql_people import SqlConsents, SqlCustomers, SqlIdentities, SqlStates
from opportune.adapters.sql_sends import SqlOutcomes, SqlSends
from opportune.adapters.sql_timers import SqlTimers
from opportune.adapters.sql_watches import SqlWatches
from opportune.adapters.sql_work import SqlWork


class SqlUnit:
    """Hands out the ports; all of them run on the one transaction."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    @property
    def customers(self) -> SqlCustomers:
        """Traits and their stamps."""
        return SqlCustomers(self._work)

    @property
    def identities(self) -> SqlIdentities:
        """Claims, and who is who."""
        return SqlIdentities(self._work)

    @property
    def consents(self) -> SqlConsents:
        """Consent history."""
        return SqlConsents(self._work)

    @property
    def events(self) -> SqlEvents:
        """What customers did."""
        return SqlEvents(self._work)

    @property
    def dead_letters(self) -> SqlDeadLetters:
        """Refused envelopes."""
        return SqlDeadLetters(self._work)

    @property
    def states(self) -> SqlStates:
        """Packed feature states."""
        return SqlStates(self._work)

    @property
    def timers(self) -> SqlTimers:
        """Firings of triggers, due now or later."""
        return SqlTimers(self._work)

    @property
    def watches(self) -> SqlWatches:
        """Sides of crossings."""
        return SqlWatches(self._work)

    @property
    def journeys(self) -> SqlJourneys:
        """Who is on the way, and the steps they took."""
        return SqlJourneys(self._work)

    @property
    def sends(self) -> SqlSends:
        """Messages reserved or handed off."""
        return SqlSends(self._work)

    @property
    def decisions(self) -> SqlDecisions:
        """The decision log."""
        return SqlDecisions(self._work)

    @property
    def playbooks(self) -> SqlPlaybooks:
        """Playbook texts by hash."""
        return SqlPlaybooks(self._work)

    @property
    def exposures(self) -> SqlExposures:
        """First exposures of units to experiments."""
        return SqlExposures(self._work)

    @property
    def outcomes(self) -> SqlOutcomes:
        """What came of messages."""
        return SqlOutcomes(self._work)

    @property
    def outbox(self) -> SqlOutbox:
        """Work to do after the commit."""
        return SqlOutbox(self._work)

    @property
    def idempotency(self) -> SqlIdempotency:
        """Stored answers by idempotency key."""
        return SqlIdempotency(self._work)

    @property
    def cursors(self) -> SqlCursors:
        """Small named facts and leases."""
        return SqlCursors(self._work)

    @property
    def items(self) -> SqlItems:
        """The catalogue of items."""
        return SqlItems(self._work)

    @property
    def interests(self) -> SqlInterests:
        """Who did what with which item."""
        return SqlInterests(self._work)

    @property
    def sources(self) -> SqlSources:
        """Signs of life of sources."""
        return SqlSources(self._work)

    def savepoint(self) -> AbstractContextManager[None]:
        """A nested scope: an exception inside undoes only what was written inside, and goes on."""
        return self._work.savepoint()
