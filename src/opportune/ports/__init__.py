"""The sockets: what flows ask of the outside, as Protocols. Adapters fill them; `wiring` plugs them together.

Every method takes and returns batches. Mappings by customer id leave out customers that have nothing.
"""

from opportune.ports.errors import LockLost, Unavailable
from opportune.ports.items import Interest, Interests, Items, Sources
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
    IdempotentAnswer,
    Identities,
    Outbox,
    OutboxItem,
    Outcomes,
    Playbooks,
    Sends,
    States,
    Timers,
)
from opportune.ports.stores import (
    Archive,
    Clock,
    Courier,
    ExperimentLog,
    FeatureStore,
    ModelFiles,
    ModelShelf,
    ModelStock,
    MovableClock,
    OfflineFeatures,
    Point,
    RunLog,
    SpanRecord,
    TraceRecord,
    VariationRun,
)
from opportune.ports.suppressions import Suppressions
from opportune.ports.unit import Ledger, UnitOfWork
from opportune.ports.watches import Watches
from opportune.ports.worth import Budgets, Records

__all__ = [
    "Archive",
    "Budgets",
    "Clock",
    "Consents",
    "Courier",
    "Cursors",
    "Customers",
    "DeadLetters",
    "Decisions",
    "Events",
    "ExperimentLog",
    "Exposures",
    "FeatureStore",
    "Idempotency",
    "IdempotentAnswer",
    "Identities",
    "Interest",
    "Interests",
    "Items",
    "Journeys",
    "Ledger",
    "LockLost",
    "ModelFiles",
    "ModelShelf",
    "ModelStock",
    "MovableClock",
    "OfflineFeatures",
    "Outbox",
    "OutboxItem",
    "Outcomes",
    "Playbooks",
    "Point",
    "Records",
    "RunLog",
    "Sends",
    "Sources",
    "SpanRecord",
    "States",
    "Suppressions",
    "Timers",
    "TraceRecord",
    "Unavailable",
    "UnitOfWork",
    "VariationRun",
    "Watches",
]
